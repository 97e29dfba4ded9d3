"""Maintenance: the timers that run what the slices declare, and the rebuild of a collection's indexes and counters."""

from functions.maintenance import deferred, rebuild, timers
from shared.slices import Slice

SLICE = Slice(
    blueprints=[timers.bp, rebuild.bp, deferred.bp],
    every_hour=[timers.make_tables, timers.purge_idempotency_keys, timers.purge_rate_windows],
    every_night=[timers.sweep_long_texts, timers.purge_deferred_items],
)
