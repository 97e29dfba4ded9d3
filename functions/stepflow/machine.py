"""Figures of the machine that this process runs on."""

import os
import shutil
import time
from pathlib import Path

STARTED = time.monotonic()
_PROC = Path("/proc")

_last: tuple[float, float] = (0.0, 0.0)


def uptime_seconds() -> int:
    """Since this process began to serve."""
    return int(time.monotonic() - STARTED)


def cpu_percent() -> float:
    """How busy all cores were since the last call; since the machine's start at the first."""
    global _last
    if not (_PROC / "stat").exists():  # no Linux: the load of the last minute stands for it
        return round(min(100.0, 100 * os.getloadavg()[0] / (os.cpu_count() or 1)), 1)
    times = [float(value) for value in (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]]
    total, idle = sum(times), times[3] + times[4]
    (last_total, last_idle), _last = _last, (total, idle)
    if total <= last_total:
        return 0.0
    return round(min(100.0, max(0.0, 100 * (1 - (idle - last_idle) / (total - last_total)))), 1)


def memory_percent() -> float:
    """How much of the memory is in use; 0 where the system does not say."""
    if not (_PROC / "meminfo").exists():
        return 0.0
    lines = (line.split(":", 1) for line in (_PROC / "meminfo").read_text().splitlines())
    size = {name: int(value.split()[0]) for name, value in lines}
    return round(100 * (1 - size["MemAvailable"] / size["MemTotal"]), 1)


def disk_usage_percent() -> float:
    """How full the disk of the working directory is."""
    usage = shutil.disk_usage(".")
    return round(100 * usage.used / usage.total, 1)


def load_average() -> list[float]:
    """Of the last 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]
