"""Maintenance: the timers that run what the slices declare, and the queues of deferred work, rebuilds and new seals."""

from functions.maintenance import deferred, rebuild, reseal, timers
from shared.slices import Slice

SLICE = Slice(
    blueprints=[timers.bp, rebuild.bp, reseal.bp, deferred.bp],
    every_hour=[
        timers.make_tables, timers.purge_idempotency_keys, timers.purge_rate_windows, timers.look_at_failed_work,
    ],
    every_night=[timers.sweep_long_texts, timers.purge_deferred_items, timers.purge_histories],
)  # fmt: skip
