"""Deletes several plain records in one transaction, whatever is lost on the way."""

import asyncio

from shared.tables.batch import Operation, encode
from shared.tables.client import client
from shared.tables.columns import R
from shared.tables.errors import ServiceRefused
from shared.tables.schema import Schema
from shared.tables.stored import Stored
from shared.tables.wire import Unanswered


async def remove(schema: Schema[R], partition: str, stored: list[Stored[R]]) -> set[str]:
    """Delete these records of one partition; returns the ids of those that are deleted, without those that changed."""
    left = {own.row["RowKey"]: own for own in stored}
    uniques = {key: schema.changes(own.state, None) for key, own in left.items()}
    wire = client().wire
    attempts = wire.attempts()
    while left:
        operations = [Operation("DELETE", key, etag=own.etag) for key, own in left.items()]
        operations += [operation for key in left for operation in uniques[key]]
        try:
            url = f"{wire.url}/{schema.table}"
            await wire.transact(schema.table, encode(operations, url, partition))
            return {own.record.id for own in left.values()}
        except Unanswered as error:
            await attempts.again(error)
        except ServiceRefused as error:
            if error.status not in (404, 412) or error.index is None:
                raise
            refused = operations[error.index]
            if refused.row_key not in left:  # a lost unique row: nothing is left to delete
                uniques = {key: [other for other in own if other is not refused] for key, own in uniques.items()}
            elif attempts.failed:  # an earlier attempt may be stored: its records are not there any more
                found = await asyncio.gather(*(wire.get(schema.table, partition, key, "RowKey") for key in left))
                return {own.record.id for own, row in zip(left.values(), found, strict=True) if row is None}
            else:
                del left[refused.row_key]
    return set()
