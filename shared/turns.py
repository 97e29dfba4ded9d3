"""Whose turn it is, where a client may have so many jobs at a time."""

from collections.abc import Mapping
from datetime import timedelta
from typing import TypeVar

from shared.tables import Collection, Record

R = TypeVar("R", bound=Record)

TIES = 50
"""Records of one millisecond that are told apart."""


async def is_among_oldest(collection: Collection[R], where: Mapping[str, object], record: R, limit: int) -> bool:
    """Return whether fewer than `limit` records that match are older than this one.

    Cost: a query for each value of the filter, of a few rows each, however many records match.
    """
    until = record.created_at + timedelta(milliseconds=1)  # a range takes whole milliseconds
    page = await collection.page(where, between=(None, until), limit=limit + TIES, total=False)
    return sum(each.id < record.id for each in page.items) < limit
