"""Files in Blob Storage when their container is lost while the app runs."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from shared import blobs, tables

pytestmark = pytest.mark.usefixtures("account")


async def delete_container(name: str) -> None:
    await blobs._service().delete_container(name)


async def create_container(name: str) -> None:
    await blobs._service().create_container(name)


async def three_blocks() -> AsyncIterator[bytes]:
    for letter in b"abc":
        yield bytes([letter]) * blobs.CHUNK


async def test_a_container_that_was_lost_is_created_again_for_a_file_and_for_a_log():
    await blobs.put("lost", "before", b"x")
    await delete_container("lost")
    await blobs.put("lost", "after", b"yes")
    assert b"".join([chunk async for chunk in blobs.stream("lost", "after", 0, 3)]) == b"yes"
    await delete_container("lost")
    assert await blobs.append("lost", "log", 0, b"line\n") == 5
    assert (await blobs.info("lost", "log")).size == 5


async def test_a_stream_survives_the_loss_of_its_container_before_the_first_block():
    await blobs.put("lost-before", "other", b"x")
    await delete_container("lost-before")
    await blobs.put("lost-before", "file", three_blocks())
    assert await blobs.get("lost-before", "file") == b"".join([block async for block in three_blocks()])


@pytest.mark.parametrize("created_again", [False, True])
async def test_a_stream_whose_container_is_lost_between_two_blocks_is_refused_and_not_stored(created_again: bool):
    name = f"lost-between-{created_again}".lower()

    async def interrupted() -> AsyncIterator[bytes]:
        async for block in three_blocks():
            if block[:1] == b"c":  # the first block is stored by now
                await delete_container(name)
                if created_again:
                    await create_container(name)
            yield block

    with pytest.raises(tables.StorageUnavailable):
        await blobs.put(name, "file", interrupted())
    await blobs.put(name, "next", b"x")
    assert [found async for found, _ in blobs.names(name)] == ["next"]


async def test_links_without_an_account_key_share_a_signing_key_until_it_is_too_short(monkeypatch: pytest.MonkeyPatch):
    asked: list[datetime] = []

    async def new_key(start: datetime, until: datetime) -> Any:
        if not asked:
            asked.append(until)
            raise tables.StorageUnavailable("away")
        asked.append(until)
        moments = {"signed_start": "2026-01-01T00:00:00Z", "signed_expiry": "2026-01-04T00:00:00Z"}
        names = {"signed_oid": "o", "signed_tid": "t", "signed_service": "b", "signed_version": "2024-11-04"}
        return SimpleNamespace(**moments, **names, value=f"{len(asked):04d}", signed_delegated_user_tid=None)

    async def blob(container: str, name: str) -> Any:
        return SimpleNamespace(url=f"https://acme/{container}/{name}")

    account = SimpleNamespace(key="", name="acme")
    monkeypatch.setattr(blobs, "settings", lambda: SimpleNamespace(account=account))
    monkeypatch.setattr(blobs, "_service", lambda: SimpleNamespace(get_user_delegation_key=new_key))
    monkeypatch.setattr(blobs, "_blob", blob)
    with pytest.raises(tables.StorageUnavailable):
        await blobs.link("c", "n")
    assert all("sig=" in link for link in await asyncio.gather(*(blobs.link("c", "n") for _ in range(5))))
    assert len(asked) == 2
    task = blobs._keys[asyncio.get_running_loop()]
    soon = datetime.now(UTC) + timedelta(hours=blobs.LINK_HOURS - 1)
    later = asyncio.get_running_loop().create_future()
    later.set_result(blobs._SigningKey((await task).key, soon))
    blobs._keys[asyncio.get_running_loop()] = later  # pyright: ignore[reportArgumentType]
    await blobs.link("c", "n")
    assert len(asked) == 3
    blobs._keys.clear()
