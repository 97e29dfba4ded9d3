"""Runs of custom tools in containers, as they are kept while somebody waits for them, and an hour longer."""

import contextlib
import json
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta

from shared import blobs, sealing, tables
from shared.faults import Sweep
from shared.jobs import LOGS, jobs
from shared.tables import Collection, Record
from shared.workflows import WorkflowClient

KEPT = timedelta(hours=1)
"""How long the records of an ended run are kept: its workflow may need them still."""


class ToolRun(Record):
    """A run that somebody waits for, until it is `done`; `files` are its input files as sealed JSON, empty then."""

    owner: str
    files: str = ""
    done: bool = False

    def seal(self, files: dict[str, bytes]) -> None:
        """Keep the input files."""
        text = json.dumps({name: b64encode(data).decode() for name, data in files.items()})
        self.files = sealing.seal(text, sealing.Context(tool_runs.table, self.id, "files"))

    def unsealed(self) -> dict[str, bytes]:
        """Return the input files. `SealBroken`."""
        text = sealing.unseal(self.files, sealing.Context(tool_runs.table, self.id, "files"))
        return {name: b64decode(data) for name, data in json.loads(text).items()}

    def finish(self) -> None:
        """Note that nobody waits any more."""
        self.done, self.files = True, ""


tool_runs = Collection("OwnpilotToolRuns", ToolRun, plain=True)
sealing.declare(tool_runs, "files")


async def finish(run: ToolRun | str) -> None:
    """Note that nobody waits for a run any more; one that does not exist is no error."""
    with contextlib.suppress(tables.RecordNotFound):
        await tool_runs.update(run, ToolRun.finish)


async def purge_tool_runs(workflows: WorkflowClient) -> str:
    """Every hour: delete what is left of runs that have ended."""
    count = 0
    async with Sweep("deleting ended runs of tools") as sweep:
        async for run in tool_runs.all({"done": True}, before=datetime.now(UTC) - KEPT):
            with sweep.item(run.id), contextlib.suppress(tables.RecordNotFound):
                await blobs.delete(LOGS, run.id)
                with contextlib.suppress(tables.RecordNotFound):
                    await jobs.delete(run.id)
                await tool_runs.delete(run.id)
                count += 1
    return f"deleted {count} ended runs of tools"
