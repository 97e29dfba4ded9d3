"""What a part of the benchmarks returns: figures with their unit and goal, and how time and memory are measured."""

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

Call = Callable[[], Awaitable[Any]]

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Figure:
    """One figure; `at_most` or `at_least` is its goal, `load` the machine's load average when it was measured."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    load: float = field(default_factory=lambda: round(os.getloadavg()[0], 2))

    def __post_init__(self) -> None:
        self.value = round(self.value, 3)

    @property
    def goal(self) -> str:
        """The goal in words, empty without one."""
        if self.at_most is not None:
            return f"<= {self.at_most:g}"
        return f">= {self.at_least:g}" if self.at_least is not None else ""

    @property
    def is_reached(self) -> bool:
        """Whether the value is within its goal; true without one."""
        low, high = self.at_least, self.at_most
        return (low is None or self.value >= low) and (high is None or self.value <= high)


def times(name: str, seconds: Sequence[float], *, at_most: float | None = None) -> list[Figure]:
    """The median and the 95th percentile in milliseconds; the goal is the median's."""
    ordered = sorted(seconds)
    high = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    return [
        Figure(f"{name}: p50", 1000 * statistics.median(ordered), "ms", at_most),
        Figure(f"{name}: p95", 1000 * high, "ms"),
    ]


async def timed(operation: Call, count: int) -> list[float]:
    """The seconds that each of `count` calls takes, one after the other."""
    seconds: list[float] = []
    for _ in range(count):
        start = time.perf_counter()
        await operation()
        seconds.append(time.perf_counter() - start)
    return seconds


async def processor_times(rounds: int, repeat: int, **calls: Call) -> dict[str, list[float]]:
    """The seconds of this process's processor time that one call of each kind takes, a figure of each round.

    The kinds take turns, so that other load on the machine affects all of them.
    """
    taken: dict[str, list[float]] = {kind: [] for kind in calls}
    for _ in range(rounds):
        for kind, call in calls.items():
            start = time.process_time()
            for _ in range(repeat):
                await call()
            taken[kind].append((time.process_time() - start) / repeat)
    return taken


def processor_seconds(pid: int) -> float:
    """The processor time that another process has used so far, its own and the system's for it."""
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


async def memory(pid: int) -> float:
    """The resident memory of a process in MiB."""
    ps = await asyncio.create_subprocess_exec("ps", "-o", "rss=", "-p", str(pid), stdout=asyncio.subprocess.PIPE)
    output, _ = await ps.communicate()
    return int(output) / 1024
