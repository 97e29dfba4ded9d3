"""Who calls, remembered for some seconds, so that most requests of a caller read nothing from storage."""

import time
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from shared import tables
from shared.settings import settings
from shared.tables import Collection, Record

R = TypeVar("R", bound=Record)

USED_EVERY = timedelta(minutes=1)
"""How often the use of a key is written down at most."""

_MOST = 10_000


class CallerCache(Generic[R]):
    """Finds the records of a collection by a unique field, or by `id`, and keeps each for `RUNYARD_KEY_CACHE` seconds.

    For that long, an instance that has just seen a key may accept it after its revocation. `used` names a field for
    the moment of the last use.
    """

    def __init__(self, collection: Collection[R], field: str, *, used: str | None = None):
        self._collection, self._field, self._used = collection, field, used
        self._seen: dict[str, tuple[R, float]] = {}

    async def find(self, value: str, *, fresh: bool = False) -> R | None:
        """Return the record with this value, None when there is none; `fresh=True` reads it in any case."""
        record, until = self._seen.get(value, (None, 0.0)) if not fresh else (None, 0.0)
        try:
            if record is None or until < time.monotonic():
                until = time.monotonic() + settings().key_cache
                record = await self._read(value)
            if self._is_due(record):
                record = await self._collection.update(record.id, self._use)
        except tables.RecordNotFound:
            self.forget(value)
            return None
        if len(self._seen) > _MOST:
            self._seen.clear()
        self._seen[value] = (record, until)
        return record

    def forget(self, value: str) -> None:
        """Read the record with this value again when it is needed next."""
        self._seen.pop(value, None)

    async def _read(self, value: str) -> R:
        if self._field == "id":
            return await self._collection.get(value)
        return await self._collection.find(self._field, value)

    def _is_due(self, record: R) -> bool:
        if self._used is None:
            return False
        last: datetime | None = getattr(record, self._used)
        return last is None or datetime.now(UTC) - last > USED_EVERY

    def _use(self, record: R) -> None:
        if self._used is not None and self._is_due(record):  # another request may have written it meanwhile
            setattr(record, self._used, datetime.now(UTC))
