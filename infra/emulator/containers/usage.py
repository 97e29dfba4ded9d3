"""What a container uses: memory that several processes may share, files on the disk, and files that have no name."""

# The supervisor imports this module and must start fast, so pathlib is not used.
# ruff: noqa: PTH116, PTH123

from __future__ import annotations

import errno
import os
import stat
import time

from infra.emulator.containers.process import private_memory

FILES = 1_000_000
"""Files and folders that a container may have."""
LOOK = 30
"""Seconds after which files are counted again even if the disk seems to have as much space as before."""


class MemoryUse:
    """The memory of one container in bytes."""

    def __init__(self) -> None:
        self.before = shared_memory()

    def of(self, pids: list[int], limit: int) -> int:
        """The memory of these processes; what they share counts once, but is looked for only if there is much of it."""
        private = sum(map(private_memory, pids))
        grown = shared_memory() - self.before
        if grown < limit / 8:
            return private
        shared = sum(shared_pages(pid) for pid in pids) + nameless(pids)
        return private + min(grown, shared)


class DiskUse:
    """The files of one container in some folders."""

    def __init__(self, folders: list[str], limit: int):
        self.folders, self.limit = folders, limit
        self.bytes, self.files, self.counted_at = 0, 0, time.monotonic()
        self.before = used(folders[0])

    def full(self, pids: list[int]) -> bool:
        """Whether the container exceeds its limits; counts only when the file system's use makes that possible."""
        size, files = (now - then for now, then in zip(used(self.folders[0]), self.before, strict=True))
        possible = self.bytes + size > self.limit or self.files + files > FILES
        if possible or time.monotonic() - self.counted_at > LOOK:
            self.before = used(self.folders[0])
            self.bytes, self.files = size_of(self.folders)
            self.bytes += nameless(pids, os.stat(self.folders[0]).st_dev)
            self.counted_at = time.monotonic()
        return self.bytes > self.limit or self.files > FILES


def used(folder: str) -> tuple[int, int]:
    """The bytes and the files on the file system of a folder."""
    system = os.statvfs(folder)
    return (system.f_blocks - system.f_bfree) * system.f_frsize, system.f_files - system.f_ffree


def size_of(folders: list[str]) -> tuple[int, int]:
    """The bytes and the number of the files below these folders."""
    size, count, waiting = 0, 0, list(folders)
    while waiting:
        try:
            for one in os.scandir(waiting.pop()):
                count += 1
                size += one.stat(follow_symlinks=False).st_blocks * 512
                if one.is_dir(follow_symlinks=False):
                    waiting.append(one.path)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:  # a way to hide files
                return size, FILES + 1
    return size, count


def shared_memory() -> int:
    """The memory of this machine that processes share and that is no file on a disk, in bytes."""
    try:
        with open("/proc/meminfo") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Shmem:"))
    except (FileNotFoundError, StopIteration):
        return 0


def shared_pages(pid: int) -> int:
    """The bytes of such memory that a process has mapped."""
    try:
        with open(f"/proc/{pid}/status") as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith("RssShmem:")), 0)
    except (FileNotFoundError, ProcessLookupError):
        return 0


def nameless(pids: list[int], device: int | None = None) -> int:
    """The bytes of open files without a name on this device; without one, of those in memory."""
    found: dict[tuple[int, int], int] = {}
    for pid in pids:
        folder = f"/proc/{pid}/fd"
        try:
            numbers = os.listdir(folder)  # noqa: PTH208
        except OSError:  # it has ended
            continue
        for number in numbers:
            try:
                about = os.stat(f"{folder}/{number}")
            except OSError:  # it has closed the file
                continue
            if about.st_nlink == 0 and stat.S_ISREG(about.st_mode):
                found[about.st_dev, about.st_ino] = about.st_blocks * 512
    # The file system of memory has no device, which is the major number 0.
    return sum(size for (where, _), size in found.items() if where == device or (not device and not os.major(where)))
