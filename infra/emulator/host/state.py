"""What the host remembers from one start to the next: when each monitored timer ran last."""

import json
from datetime import UTC, datetime
from pathlib import Path


class TimerRecord:
    """The JSON file in `folder` that holds the last run of one timer function."""

    def __init__(self, folder: Path, function: str):
        self._file = folder / f"{function}.json"

    def read(self) -> dict[str, str]:
        """`Last`, `Next` and `LastUpdated` as ISO times; empty before the first `write`."""
        return json.loads(self._file.read_text()) if self._file.exists() else {}

    def write(self, *, last: datetime, due: datetime) -> None:
        """Record that the function ran at `last` and is due again at `due`; the file is replaced as a whole."""
        times = {"Last": last, "Next": due, "LastUpdated": datetime.now(UTC)}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._file.with_suffix(".new")
        temporary.write_text(json.dumps({name: time.isoformat() for name, time in times.items()}))
        temporary.replace(self._file)
