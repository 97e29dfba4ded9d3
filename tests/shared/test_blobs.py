"""Files in Blob Storage when their container is lost while the app runs."""

import pytest

from shared import blobs

pytestmark = pytest.mark.usefixtures("account")


async def delete_container(name: str) -> None:
    await blobs._service().delete_container(name)


async def test_a_container_that_was_lost_is_created_again_for_a_file_and_for_a_log():
    await blobs.put("lost", "before", b"x")
    await delete_container("lost")
    await blobs.put("lost", "after", b"yes")
    assert b"".join([chunk async for chunk in blobs.stream("lost", "after", 0, 3)]) == b"yes"
    await delete_container("lost")
    assert await blobs.append("lost", "log", 0, b"line\n") == 5
    assert (await blobs.info("lost", "log")).size == 5
