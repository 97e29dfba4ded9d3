"""How much memory a process uses."""

from pathlib import Path

GROWTH = 64 * 1024 * 1024
"""Bytes by which the host may grow while it moves something large."""


class Peak:
    """The most memory that a process has used since a reset."""

    def __init__(self, pid: int):
        self._folder = Path(f"/proc/{pid}")

    def reset(self) -> int:
        """Forget the peak; return the bytes in use now."""
        (self._folder / "clear_refs").write_text("5")
        return self._read("VmRSS")

    def bytes(self) -> int:
        """Return the peak in bytes."""
        return self._read("VmHWM")

    def _read(self, name: str) -> int:
        lines = (self._folder / "status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
