"""What requests about the data say, and what they are answered."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from functions.ownpilot.core.database_operations import DatabaseOperation, MaintenanceKind
from functions.ownpilot.core.entry import Given, Moment, Shown
from shared.http.bodies import example

FORMAT = "jsonl"
"""What a backup is: JSON lines in gzip archives."""

NOT_MEASURED = "not measured yet"
LEFT_OUT: Any = Field(default=None, exclude_if=lambda value: value is None)
"""A member that an answer has only when it has a value."""


class NewBackup(Given):
    """A backup to make; the format is `jsonl` whatever is asked for."""

    model_config = example(format="jsonl")

    format: Literal["jsonl", "sql", "custom"] = FORMAT


class RestoreOrder(Given):
    """The backup to restore, as `filename` or as `name`."""

    model_config = example(filename="backup-0190f7a2-0000-7000-8000-000000000000.jsonl.gz")

    filename: Annotated[str, Field(max_length=200)] = ""
    name: Annotated[str, Field(max_length=200)] = ""


class MaintenanceOrder(Given):
    """`vacuum` removes what is too old or lost, `analyze` counts records and their bytes, `full` does both."""

    model_config = example(type="full")

    type: MaintenanceKind = "vacuum"


class BackupStarted(Shown):
    """The backup that is being made."""

    message: str
    filename: str
    format: str = FORMAT


class RestoreStarted(Shown):
    """The backup that is being restored, and what it does not hold."""

    message: str
    filename: str


class MaintenanceStarted(Shown):
    """What is being done."""

    message: str
    type: MaintenanceKind


class Backup(Shown):
    """A backup; `size` in bytes."""

    name: str
    size: int
    created: Moment


class Backups(Shown):
    """Part of the backups, the newest first; `count` is the number of all of them."""

    backups: list[Backup]
    count: int


class BackupDeleted(Shown):
    """A backup that was deleted."""

    message: str
    name: str
    deleted: bool = True


class OperationState(Shown):
    """The last operation, and how the last one that has ended did; `output` are the lines that it has to say."""

    is_running: bool
    operation: str | None = LEFT_OUT
    last_run: Moment | None = LEFT_OUT
    last_result: Literal["success", "failure"] | None = LEFT_OUT
    last_error: str | None = LEFT_OUT
    output: list[str] | None = LEFT_OUT


class DatabaseFigures(Shown):
    """The size as it was when the last backup or analysis counted it."""

    database_size: str
    table_count: int


class DatabaseStatus(Shown):
    """Where the data is, its backups, and what is being done with it; some of it under two names."""

    type: str = "azure-tables"
    connected: bool = True
    host: str
    port: int
    database: str
    database_size: str
    table_count: int
    has_legacy_data: bool = False
    legacy_data: None = None
    backups: list[Backup]
    operation_status: OperationState
    operation: OperationState
    stats: DatabaseFigures


class SizeShown(Shown):
    """A size in words and in bytes, as the last backup or analysis counted it, and when that was."""

    size: str
    size_bytes: int
    measured_at: Moment | None


class TableFigures(Shown):
    """A collection; what lies apart for each conversation or habit is counted by backups and analyses only."""

    name: str
    row_count: int
    size: str


class TableConnections(Shown):
    """Always 0: records are reached by HTTP, without a pool of connections that could be counted."""

    active: int = 0
    max: int = 0


class DatabaseStats(Shown):
    """The collections in numbers."""

    database: SizeShown
    tables: list[TableFigures]
    connections: TableConnections = TableConnections()
    version: str


def in_words(size: int) -> str:
    """Return a size in bytes, kB, MB or GB."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


def backup_shown(operation: DatabaseOperation) -> Backup:
    """Return a backup as it is shown."""
    return Backup(name=operation.name or "", size=operation.size, created=operation.created_at)


def state_of(found: Sequence[DatabaseOperation]) -> OperationState:
    """Return the state of the operations of a person, given the newest first."""
    last, ended = next(iter(found), None), next((each for each in found if each.running is None), None)
    return OperationState(
        is_running=last is not None and last.running is not None, operation=last and last.operation,
        last_run=last and last.created_at, last_result=ended and ended.result, last_error=ended and ended.error,
        output=last and last.output,
    )  # fmt: skip


def name_of(at: datetime) -> str:
    """Return the name of a backup that begins now."""
    return f"backup-{at:%Y-%m-%dT%H-%M-%S}-{at.microsecond // 1000:03d}Z.jsonl.gz"
