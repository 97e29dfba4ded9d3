"""Passwords: kept as bcrypt hashes, computed in threads and two at a time, so that other requests go on meanwhile."""

import asyncio
import base64
import hashlib
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from shared.http.errors import TooManyRequests, Unavailable

COST = 12
"""The hash takes 2^COST rounds: about a quarter of a second of processor time."""

OF_ADDRESS = 20
"""Requests of one address that this process hashes, or lets wait, at a time: about 3 seconds of waiting for others."""

LONGEST_WAIT = 30.0
"""Seconds for which a request waits for its turn."""

_turns = asyncio.Semaphore(2)
_present: Counter[str] = Counter()
"""The requests that wait or hash, by address."""

NOBODYS_HASH = "$2b$12$MegQ1nEc0u63dmkeM7wPr.8W7OSPNQSS.SO6U00U7wbgILfDmqPO."
"""Checked for a name that does not exist, so that the answer takes as long as for one that does. No password fits."""


@asynccontextmanager
async def turn(address: str) -> AsyncGenerator[None]:
    """Wait until a password may be hashed, or checked, for this address.

    `TooManyRequests` when as many of its requests as may are here already, `Unavailable` after `LONGEST_WAIT`.
    """
    if _present[address] >= OF_ADDRESS:
        raise TooManyRequests("Too many logins at once; try again later", headers={"Retry-After": "3"})
    _present[address] += 1
    try:
        try:
            async with asyncio.timeout(LONGEST_WAIT):
                await _turns.acquire()
        except TimeoutError:
            raise Unavailable("Too many logins at once; try again later", headers={"Retry-After": "5"}) from None
        try:
            yield
        finally:
            _turns.release()
    finally:
        _present[address] -= 1
        if not _present[address]:
            del _present[address]


async def hash_password(password: str) -> str:
    """Return the hash to store. Call it within `turn`."""
    import bcrypt

    return (await asyncio.to_thread(bcrypt.hashpw, _digest(password), bcrypt.gensalt(COST))).decode()


async def is_password(password: str, stored: str) -> bool:
    """Whether a password is the one of a stored hash. Call it within `turn`."""
    import bcrypt

    return await asyncio.to_thread(bcrypt.checkpw, _digest(password), stored.encode())


def _digest(password: str) -> bytes:
    """Return what bcrypt hashes: it reads 72 bytes at most, and a password may be longer, or contain NUL bytes."""
    return base64.b64encode(hashlib.sha256(password.encode()).digest())
