"""What is done with all data of a person: backups, restores and maintenance, one at a time, and how they ended."""

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from pydantic import BaseModel

from functions.ownpilot.core.entry import Entry, Moment
from shared import blobs, tables
from shared.http.errors import BadRequest, Conflict, NotFound
from shared.tables import Collection
from shared.workflows import ACTIVE, WorkflowClient

CONTAINER = "backups"
"""The blob container of backups: `<hash of the user>/<id of the operation>/<number and random digits>`."""

WORKFLOW = "ownpilot_database"
"""The workflow of an operation; its instance id is the operation's id."""

EXTENSION = ".jsonl.gz"
MAX_BACKUPS = 50
"""Backups that a person may keep."""

START = timedelta(minutes=1)
"""How long the workflow of an operation that was stored may take to exist."""

REMEMBERED = timedelta(days=1)
"""How long a restore is remembered at least: no deferred work is older."""

INTERRUPTED = "It was interrupted: start it again"

_RUNNING = "running"

OperationKind = Literal["backup", "restore", "maintenance"]
MaintenanceKind = Literal["vacuum", "analyze", "full"]


class Position(NamedTuple):
    """A place in the order of all records: the number of the collection, the partition as it is stored, the key."""

    table: int
    partition: str
    key: str


class BackupPart(BaseModel):
    """A file of a backup: a gzip archive of at most some thousand lines. `size` in bytes, `last` the last record."""

    blob: str
    size: int
    records: int
    last: Position | None


class DatabaseOperation(Entry, prefix="op_"):
    """A backup, a restore or maintenance.

    `running` is there until it has ended, and unique: a person has one operation at a time. `name` is that of the
    backup which it makes or reads. `order` are the collections of a backup, `figures` the number and the bytes of the
    records of each. `parts` are the files of a backup; a restore has checked and put back so many of those of
    the backup `source`. `position` is how far an analysis is, `removed` what maintenance has removed so far.
    """

    operation: OperationKind
    name: str | None = None
    maintenance: MaintenanceKind | None = None
    source: str | None = None
    running: str | None = _RUNNING
    ended_at: Moment | None = None
    result: Literal["success", "failure"] | None = None
    error: str | None = None
    output: list[str] = []
    order: list[str] = []
    figures: dict[str, tuple[int, int]] = {}
    parts: list[BackupPart] = []
    checked: int = 0
    restored: int = 0
    left_out: int = 0
    position: Position | None = None
    is_cleaned: bool = False
    removed: dict[str, int] = {}
    is_deleted: bool = False

    @property
    def records(self) -> int:
        """How many records were counted."""
        return sum(records for records, _ in self.figures.values())

    @property
    def bytes(self) -> int:
        """The bytes of all records that were counted."""
        return sum(size for _, size in self.figures.values())

    @property
    def size(self) -> int:
        """The bytes of all files of a backup."""
        return sum(part.size for part in self.parts)

    @property
    def is_measured(self) -> bool:
        """Whether it has counted all records."""
        return self.result == "success" and (self.operation == "backup" or self.maintenance in ("analyze", "full"))

    @property
    def is_backup(self) -> bool:
        """Whether it is a backup that can be restored."""
        return self.operation == "backup" and self.result == "success" and not self.is_deleted

    @property
    def is_needed(self) -> bool:
        """Whether it must not be forgotten: a backup, or a restore of today, of which deferred work must know."""
        is_new = datetime.now(UTC) - self.created_at < REMEMBERED
        return self.is_backup or (self.operation == "restore" and self.restored > 0 and is_new)

    def end(self, error: str | None = None) -> None:
        """Note its end, unless it has ended."""
        if self.running is not None:
            self.running, self.ended_at = None, datetime.now(UTC)
            self.result, self.error = ("success", None) if error is None else ("failure", error)


def count(figures: dict[str, tuple[int, int]], table: str, size: int) -> None:
    """Count a record of `size` bytes in the figures of collections."""
    records, total = figures.get(table, (0, 0))
    figures[table] = (records + 1, total + size)


operations = Collection("OwnpilotBackups", DatabaseOperation, plain=True, unique=["running"])


def folder_of(owner: str) -> str:
    """Return where the files of a person's backups are: a hash, as a blob's name cannot hold every text."""
    return f"{hashlib.sha256(owner.encode()).hexdigest()[:32]}/"


def files_of(operation: DatabaseOperation) -> str:
    """Return how the names of the files of a backup begin."""
    return f"{folder_of(operation.user_id)}{operation.id}/"


async def operations_of(owner: str, workflows: WorkflowClient) -> list[DatabaseOperation]:
    """Return the operations of a person, the newest first. One whose workflow has died is ended as a failure.

    1 query, and for an operation that runs a call of the workflow service.
    """
    found = [each async for each in operations.of(owner).all()]
    for place, each in enumerate(found):
        if each.running is not None and await _has_died(each, workflows):
            with contextlib.suppress(tables.RecordNotFound):  # it has ended since it was read, and is forgotten
                found[place] = await end(owner, each.id, INTERRUPTED)
    return found


async def _has_died(operation: DatabaseOperation, workflows: WorkflowClient) -> bool:
    status = await workflows.status(operation.id)
    if status is None:
        return datetime.now(UTC) - operation.created_at > START
    return status not in ACTIVE


class RestoreInProgress(Exception):
    """Deferred work has to wait for the end of a restore: it is tried again later."""


async def is_overtaken(owner: str, ordered_at: str | None) -> bool:
    """Whether a restore has replaced a person's data after deferred work was ordered, which is then not to be done.

    `RestoreInProgress` while one runs. 1 query.
    """
    at = datetime.fromisoformat(ordered_at) if ordered_at else datetime.now(UTC)
    later = [each async for each in operations.of(owner).all({"operation": "restore"}, after=at)]
    if any(each.running for each in later):
        raise RestoreInProgress
    return any(each.restored for each in later)


async def change(owner: str, id_: str, how: Callable[[DatabaseOperation], None]) -> DatabaseOperation:
    """Change an operation. `RecordNotFound`."""
    return await operations.of(owner).update(id_, how)


async def end(owner: str, id_: str, error: str | None) -> DatabaseOperation:
    """Note the end of an operation. `RecordNotFound`."""
    return await change(owner, id_, lambda it: it.end(error))


async def begin(owner: str, operation: DatabaseOperation, workflows: WorkflowClient) -> DatabaseOperation:
    """Store an operation and start its workflow. `Conflict` OPERATION_IN_PROGRESS while another one runs.

    `BadRequest` LIMIT_REACHED when a person keeps too many backups. Operations that are over are forgotten, so that
    their number stays small, but for backups, restores of today, and the last one that has counted all records.
    """
    own, earlier = operations.of(owner), await operations_of(owner, workflows)
    busy = Conflict("Another operation is in progress: wait for its end", code="OPERATION_IN_PROGRESS")
    if any(each.running for each in earlier):
        raise busy
    if operation.operation == "backup" and sum(each.is_backup for each in earlier) >= MAX_BACKUPS:
        raise BadRequest(f"There are {MAX_BACKUPS} backups already: delete some first", code="LIMIT_REACHED")
    try:
        operation = await own.insert(operation)
    except tables.RecordConflict as error:
        raise busy from error
    try:
        await workflows.start(WORKFLOW, operation.id, {"user": owner, "id": operation.id})
    except Exception:
        await end(owner, operation.id, "Its workflow could not be started")
        raise
    # What fails here is forgotten with the next operation.
    over = [each for each in earlier if not each.is_needed and each is not measured(earlier)]
    await asyncio.gather(*(_forget(owner, each) for each in over), return_exceptions=True)
    return operation


def measured(found: Sequence[DatabaseOperation]) -> DatabaseOperation | None:
    """Return the newest operation that has counted all records."""
    return next((each for each in found if each.is_measured), None)


def backup_of(found: Sequence[DatabaseOperation], name: str) -> DatabaseOperation:
    """Return the backup with this name. `NotFound` BACKUP_NOT_FOUND. A name is looked up, and never part of a path."""
    for each in found:
        if each.is_backup and each.name == name:
            return each
    raise NotFound(f"There is no backup {name[:100]}", code="BACKUP_NOT_FOUND")


async def delete_backup(owner: str, name: str, workflows: WorkflowClient) -> None:
    """Delete a backup with its files. `NotFound`; `Conflict` OPERATION_IN_PROGRESS while it is being restored.

    It is no longer shown before its files go, so a deletion that is interrupted leaves files that maintenance removes.
    """
    found = await operations_of(owner, workflows)
    backup = backup_of(found, name)
    if any(each.running and each.source == backup.id for each in found):
        raise Conflict("This backup is being restored", code="OPERATION_IN_PROGRESS")
    await change(owner, backup.id, lambda it: setattr(it, "is_deleted", True))
    await _delete_files(backup)


async def _delete_files(operation: DatabaseOperation) -> None:
    """Delete the files of a backup, those of attempts that were interrupted too."""
    async for name, _ in blobs.names(CONTAINER, files_of(operation)):
        await blobs.delete(CONTAINER, name)


async def _forget(owner: str, operation: DatabaseOperation) -> None:
    if operation.operation == "backup":
        await _delete_files(operation)
    with contextlib.suppress(tables.RecordNotFound):
        await operations.of(owner).delete(operation.id)
