"""The catalogue in use: the one that the app ships, or the blob of the last sync, which all instances share."""

import asyncio
import logging
from dataclasses import dataclass

from functions.ownpilot.core.catalogue.facts import Catalogue
from functions.ownpilot.core.catalogue.models_dev import SNAPSHOT
from shared import blobs
from shared.blobs import BlobNotFound
from shared.recent import RecentValues

log = logging.getLogger(__name__)

CONTAINER = "ownpilot"
BLOB = "catalogue.json.gz"
LOOK_SECONDS = 60
"""How long a sync of another instance may stay unseen."""


@dataclass
class _Held:
    """The one catalogue that this process holds, and the ETag of its blob; "" for the one that the app ships."""

    catalogue: Catalogue | None = None
    etag: str | None = None


_held = _Held()
_looked: RecentValues[str, Catalogue] = RecentValues(seconds=LOOK_SECONDS, most=1)


async def current(*, fresh: bool = False) -> Catalogue:
    """Return the catalogue in use. 1 call to the blob a minute, or now if `fresh`; another one when it has changed."""
    if fresh:
        forget()
    return await _looked.get(BLOB, _look)


async def _look() -> Catalogue:
    try:
        etag = (await blobs.info(CONTAINER, BLOB)).etag
        if etag != _held.etag or _held.catalogue is None:
            packed = await blobs.get(CONTAINER, BLOB)
            if etag != _held.etag or _held.catalogue is None:  # else another request has read it meanwhile
                _held.catalogue = Catalogue.unpack(packed)
    except BlobNotFound:
        etag = ""
        if etag != _held.etag or _held.catalogue is None:
            _held.catalogue = shipped()
    except ValueError:  # never written by this app
        log.exception("the blob %s in %s is no catalogue", BLOB, CONTAINER)
        return _held.catalogue or shipped()
    _held.etag = etag
    return _held.catalogue


def shipped() -> Catalogue:
    """Return the catalogue that the app ships."""
    return Catalogue.unpack(SNAPSHOT.read_bytes())


async def replace(catalogue: Catalogue) -> None:
    """Make this the catalogue of all instances.

    It is written in one request, so that the old one counts until the new one is there as a whole.
    """
    try:
        await blobs.put(CONTAINER, BLOB, await asyncio.to_thread(catalogue.pack), "application/gzip")
    finally:
        forget()


def forget() -> None:
    """Look at the blob when the catalogue is needed next."""
    _looked.forget(BLOB)
