"""Load, memory and disk usage of the machine that this process runs on."""

import os
import shutil
import time
from pathlib import Path

STARTED = time.monotonic()
_PROC = Path("/proc")

# The previous measurement: when, the total and the idle processor time until then, and the result in percent.
_previous: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


def uptime_seconds() -> int:
    """Seconds since this process started."""
    return int(time.monotonic() - STARTED)


def cpu_percent() -> float:
    """Processor time used since the previous measurement, in percent of all cores; measured at most once a second.

    The first measurement is the average since the machine's start.
    """
    global _previous
    if not (_PROC / "stat").exists():  # not Linux: use the load average of the last minute instead
        return round(min(100.0, 100 * os.getloadavg()[0] / (os.cpu_count() or 1)), 1)
    times = [float(value) for value in (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]]
    now, total, idle = time.monotonic(), sum(times), times[3] + times[4]
    when, last_total, last_idle, percent = _previous
    if now - when >= 1 and total > last_total:
        percent = round(min(100.0, max(0.0, 100 * (1 - (idle - last_idle) / (total - last_total)))), 1)
        _previous = (now, total, idle, percent)
    return percent


def memory_percent() -> float:
    """Memory in use, in percent; 0 where the system does not report it."""
    if not (_PROC / "meminfo").exists():
        return 0.0
    lines = (line.split(":", 1) for line in (_PROC / "meminfo").read_text().splitlines())
    size = {name: int(value.split()[0]) for name, value in lines}
    return round(100 * (1 - size["MemAvailable"] / size["MemTotal"]), 1)


def disk_usage_percent() -> float:
    """Used space on the disk of the working directory, in percent."""
    usage = shutil.disk_usage(".")
    return round(100 * usage.used / usage.total, 1)


def load_average() -> list[float]:
    """Load averages of the last 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]
