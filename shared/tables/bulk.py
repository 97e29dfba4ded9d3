"""Stores many plain records in few transactions, whatever is stored in their places."""

from collections.abc import Sequence

from shared.tables.batch import MAX_OPERATIONS, ROOM, Operation, encode
from shared.tables.client import client
from shared.tables.errors import ServiceRefused
from shared.tables.wire import Unanswered

_GONE = 404


async def write(table: str, partition: str, operations: Sequence[Operation]) -> None:
    """Send writes of different rows of one partition, each of which can be repeated: replacements and deletes.

    They go in their order, as many in a transaction as fit into one. `ServiceRefused`, `StorageUnavailable`.
    """
    wire = client().wire
    url, left = f"{wire.url}/{table}", list(operations)
    while left:
        parts: list[bytes] = []
        size = 0
        for operation in left[:MAX_OPERATIONS]:
            (part,) = encode([operation], url, partition)
            size += len(part)
            if parts and size > ROOM:
                break
            parts.append(part)
        attempts = wire.attempts()
        while parts:
            try:
                await wire.transact(table, parts)
                left = left[len(parts) :]
                break
            except Unanswered as error:
                await attempts.again(error)
            except ServiceRefused as error:
                if error.status != _GONE or error.index is None or left[error.index].verb != "DELETE":
                    raise
                del left[error.index], parts[error.index]  # nothing is left to delete
