"""Maintenance: the timers that run what the slices declare, the repair of a collection's indexes, and new seals."""

from functions.maintenance import rebuild, reseal, timers
from shared.slices import Slice

SLICE = Slice(
    blueprints=[timers.bp, rebuild.bp, reseal.bp],
    every_hour=[timers.make_tables, timers.purge_kept_answers, timers.purge_rate_windows],
    every_night=[timers.sweep_long_texts],
)
