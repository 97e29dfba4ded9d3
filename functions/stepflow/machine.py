"""Figures of the machine that this process runs on."""

import os
import shutil
import time
from pathlib import Path

STARTED = time.monotonic()
_PROC = Path("/proc")

_last: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)  # when, all time, idle time, what came of it


def uptime_seconds() -> int:
    """Since this process began to serve."""
    return int(time.monotonic() - STARTED)


def cpu_percent() -> float:
    """How busy all cores were since the last measure, a second ago or longer; at first since the machine's start."""
    global _last
    if not (_PROC / "stat").exists():  # no Linux: the load of the last minute stands for it
        return round(min(100.0, 100 * os.getloadavg()[0] / (os.cpu_count() or 1)), 1)
    times = [float(value) for value in (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]]
    now, total, idle = time.monotonic(), sum(times), times[3] + times[4]
    when, last_total, last_idle, percent = _last
    if now - when >= 1 and total > last_total:
        percent = round(min(100.0, max(0.0, 100 * (1 - (idle - last_idle) / (total - last_total)))), 1)
        _last = (now, total, idle, percent)
    return percent


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
