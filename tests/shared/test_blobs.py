"""Files in Blob Storage when their container is lost while the app runs."""

from collections.abc import AsyncIterator

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
