"""Passwords: kept as bcrypt hashes, computed in threads and two at a time, so that other requests go on meanwhile."""

import asyncio
import base64
import hashlib

COST = 12
"""The hash takes 2^COST rounds: about a quarter of a second of processor time."""

TURNS = asyncio.Semaphore(2)
"""Held while a password is hashed or checked."""

NOBODYS_HASH = "$2b$12$MegQ1nEc0u63dmkeM7wPr.8W7OSPNQSS.SO6U00U7wbgILfDmqPO."
"""Checked for a name that does not exist, so that the answer takes as long as for one that does. No password fits."""


async def hash_password(password: str) -> str:
    """Return the hash to store. Call it with `TURNS` held."""
    import bcrypt

    return (await asyncio.to_thread(bcrypt.hashpw, _digest(password), bcrypt.gensalt(COST))).decode()


async def is_password(password: str, stored: str) -> bool:
    """Whether a password is the one of a stored hash. Call it with `TURNS` held."""
    import bcrypt

    return await asyncio.to_thread(bcrypt.checkpw, _digest(password), stored.encode())


def _digest(password: str) -> bytes:
    """Return what bcrypt hashes: it reads 72 bytes at most, and a password may be longer, or contain NUL bytes."""
    return base64.b64encode(hashlib.sha256(password.encode()).digest())
