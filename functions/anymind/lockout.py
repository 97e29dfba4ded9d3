"""Lockout: a name, or an address, with too many failed logins must wait before it may try again."""

import contextlib
import math
import uuid
from datetime import UTC, datetime, timedelta

from shared import tables
from shared.faults import Sweep
from shared.http.errors import TooManyRequests
from shared.tables import Collection, Record

WINDOW = timedelta(minutes=15)
"""How long failures count, from the first one on."""

OF_NAME, OF_ADDRESS = 10, 100
"""Failures within `WINDOW` for one name from one address, and from one address for any names."""


class Failures(Record):
    """How many logins have failed since `began`. Its id follows from the address, or from name and address."""

    began: datetime
    count: int = 0


failures = Collection("AnymindLoginFailures", Failures, plain=True, spread=16)


async def check(name: str, address: str) -> None:
    """`TooManyRequests` when too many logins with this name, or from this address, have failed; 2 point reads."""
    now = datetime.now(UTC)
    for row_id, limit in _windows(name, address):
        with contextlib.suppress(tables.RecordNotFound):
            window = await failures.get(row_id)
            left = (window.began + WINDOW - now).total_seconds()
            if window.count >= limit and left > 0:
                raise TooManyRequests("Too many failed logins; try again later", headers={"Retry-After": _whole(left)})


async def count_failure(name: str, address: str) -> None:
    """Count a failed login."""

    def count(window: Failures) -> None:
        now = datetime.now(UTC)
        if now >= window.began + WINDOW:
            window.began, window.count = now, 0
        window.count += 1

    for row_id, _ in _windows(name, address):
        while True:
            try:
                await failures.update(row_id, count)
                break
            except tables.RecordNotFound:
                with contextlib.suppress(tables.RecordConflict):  # another request has inserted it meanwhile
                    await failures.insert(Failures(id=row_id, began=datetime.now(UTC)))


async def purge() -> int:
    """Delete the counts that do not matter any more; return how many."""
    count, limit = 0, datetime.now(UTC) - WINDOW
    async with Sweep("deleting old counts of failed logins") as sweep:
        async for window in failures.all():
            if window.began < limit:
                with sweep.item(window.id), contextlib.suppress(tables.RecordNotFound, tables.RecordChanged):
                    await failures.delete(window.id, if_match=(await failures.get(window.id)).etag)
                    count += 1
    return count


def _windows(name: str, address: str) -> list[tuple[str, int]]:
    """The ids of the two counts, and the limit of each."""
    return [(_id(f"{name} {address}"), OF_NAME), (_id(address), OF_ADDRESS)]


def _id(text: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"anymind login {text}"))


def _whole(seconds: float) -> str:
    return str(math.ceil(seconds))
