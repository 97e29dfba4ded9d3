"""The data of a person as a whole: backups, restores, maintenance, and how much there is."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

from functions.ownpilot.core.audit_log import record_change
from functions.ownpilot.core.collections import KEPT
from functions.ownpilot.core.database_operations import (
    DatabaseOperation,
    backup_of,
    begin,
    delete_backup,
    measured,
    operations_of,
)
from functions.ownpilot.core.owner import Owner, Person, routes_for
from functions.ownpilot.database.bodies import (
    NOT_MEASURED,
    BackupDeleted,
    Backups,
    BackupStarted,
    DatabaseFigures,
    DatabaseStats,
    DatabaseStatus,
    MaintenanceOrder,
    MaintenanceStarted,
    NewBackup,
    OperationState,
    RestoreOrder,
    RestoreStarted,
    SizeShown,
    TableFigures,
    backup_shown,
    in_words,
    name_of,
    state_of,
)
from shared import tables
from shared.http.errors import BadRequest
from shared.http.paging import Paging, paging
from shared.settings import settings
from shared.workflows import WorkflowClient, Workflows

routes = routes_for("database")

APART = "Files of workspaces and runs of code are not part of a backup."


@routes.get("/status")
async def get_database_status(owner: Owner, workflows: Workflows) -> DatabaseStatus:
    """Where the data is, the newest backups, and what is being done with it. 1 query."""
    found = await operations_of(owner.id, workflows)
    account, state = settings().account, state_of(found)
    address, size = urlsplit(account.tables), _size_of(found).size
    return DatabaseStatus(
        host=address.hostname or "", port=address.port or 443, database=account.name, database_size=size,
        table_count=len(KEPT), backups=[backup_shown(each) for each in found if each.is_backup],
        operation_status=state, operation=state, stats=DatabaseFigures(database_size=size, table_count=len(KEPT)),
    )  # fmt: skip


@routes.get("/stats")
async def get_database_stats(owner: Owner, workflows: Workflows) -> DatabaseStats:
    """The collections in numbers. 1 query for each collection, for plain ones 1 for each 1,000 records, 10 at once."""
    found = await operations_of(owner.id, workflows)
    last = measured(found)
    figures = last.figures if last else {}
    turns = asyncio.Semaphore(10)

    async def count(table: str) -> TableFigures:
        records, size = figures.get(table, (0, 0))
        place = KEPT[table]
        if not place.parent:
            own: tables.Collection[Any] = tables.collections[table]
            where = {"user_id": owner.id} if place.shared else None
            async with turns:
                counts = [await own.of(each).count(where) if not place.shared else await own.count(where)
                          for each in await place.partitions(owner.id)]  # fmt: skip
            records = sum(counts)
        return TableFigures(name=table, row_count=records, size=in_words(size) if last else NOT_MEASURED)

    return DatabaseStats(
        database=_size_of(found), tables=await asyncio.gather(*map(count, sorted(KEPT))),
        version="Azure Table Storage 2019-02-02",
    )  # fmt: skip


def _size_of(found: list[DatabaseOperation]) -> SizeShown:
    last = measured(found)
    if last is None:
        return SizeShown(size=NOT_MEASURED, size_bytes=0, measured_at=None)
    return SizeShown(size=in_words(last.bytes), size_bytes=last.bytes, measured_at=last.created_at)


@routes.get("/backups")
async def list_backups(owner: Owner, workflows: Workflows, paging: Annotated[Paging, paging(50)]) -> Backups:
    """The backups, the newest first."""
    found = [backup_shown(each) for each in await operations_of(owner.id, workflows) if each.is_backup]
    return Backups(backups=found[paging.offset : paging.offset + paging.limit], count=len(found))


@routes.get("/operations")
async def get_operations(owner: Owner, workflows: Workflows) -> OperationState:
    """What is being done with the data, and how the last operation has ended."""
    return state_of(await operations_of(owner.id, workflows))


@routes.get("/operation/status")
async def get_operation_status(owner: Owner, workflows: Workflows) -> OperationState:
    """The same as `/operations`."""
    return state_of(await operations_of(owner.id, workflows))


@routes.post("/backup", status_code=202)
async def create_backup(body: NewBackup, owner: Owner, workflows: Workflows) -> BackupStarted:
    """Save all records of the caller, without secrets. 409 while another operation runs.

    Files of workspaces and runs of code are not part of a backup.
    """
    now = datetime.now(UTC)
    backup = DatabaseOperation(
        user_id=owner.id, created_at=now, operation="backup", name=name_of(now), order=[*KEPT]
    )  # fmt: skip
    await begin(owner.id, backup, workflows)
    await record_change(owner, "database", backup.name or "", "backup")
    return BackupStarted(message=f"The backup has begun. {APART}", filename=backup.name or "")


@routes.post("/restore", status_code=202)
async def restore_backup(body: RestoreOrder, owner: Owner, workflows: Workflows) -> RestoreStarted:
    """Replace the records of the caller by those of a backup. 409 while another operation runs.

    Every line of the backup is checked first. Backups and secrets stay as they are, and so do the files of workspaces.
    What is written during a restore may be lost.
    """
    name = body.filename or body.name
    if not name.strip():
        raise BadRequest("Name the backup in filename", code="MISSING_FILENAME")
    backup = backup_of(await operations_of(owner.id, workflows), name)
    restore = DatabaseOperation(user_id=owner.id, operation="restore", name=name, source=backup.id)
    await begin(owner.id, restore, workflows)
    await record_change(owner, "database", name, "restore")
    return RestoreStarted(message=f"The restore has begun. {APART}", filename=name)


@routes.post("/maintenance", status_code=202)
async def run_maintenance(body: MaintenanceOrder, owner: Owner, workflows: Workflows) -> MaintenanceStarted:
    """Remove what is too old or lost, or count what there is. 409 while another operation runs.

    Too old are lines of the log of requests after 30 days, and entries of the debug log after a day.
    """
    order = DatabaseOperation(
        user_id=owner.id, operation="maintenance", maintenance=body.type, order=[*KEPT]
    )  # fmt: skip
    await begin(owner.id, order, workflows)
    await record_change(owner, "database", body.type, "maintenance")
    return MaintenanceStarted(message=f"{body.type.capitalize()} has begun", type=body.type)


@routes.delete("/backups/{name}")
async def delete_backup_by_name(name: str, owner: Owner, workflows: Workflows) -> BackupDeleted:
    """Delete a backup. 409 while it is being restored."""
    return await _delete(owner, name, workflows)


@routes.delete("/backup/{filename}")
async def delete_backup_file(filename: str, owner: Owner, workflows: Workflows) -> BackupDeleted:
    """The same as `/backups/{name}`."""
    return await _delete(owner, filename, workflows)


async def _delete(owner: Person, name: str, workflows: WorkflowClient) -> BackupDeleted:
    await delete_backup(owner.id, name, workflows)
    await record_change(owner, "database", name, "delete backup")
    return BackupDeleted(message="Backup deleted", name=name)
