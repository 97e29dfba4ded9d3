"""A database file that cannot be used causes a clear error and is not changed."""

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from infra.emulator.durable import DatabaseUnusable, Engine


async def nothing(kind: str, name: str, data: str) -> str | None:
    raise KeyError(name)


async def refused(path: Path) -> str:
    """The error message of an engine that is started with this file."""
    with pytest.raises(DatabaseUnusable) as refusal:
        await Engine(path, nothing).start()
    assert str(path) in str(refusal.value)
    return str(refusal.value)


def text_file(path: Path) -> None:
    path.write_text("my shopping list, which happens to have this name\n" * 100)


def foreign_database(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE shopping(item TEXT)")
    database.commit()
    database.close()


async def newer(path: Path) -> None:
    engine = Engine(path, nothing)
    await engine.start()
    await engine.stop()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()


async def damaged(path: Path) -> None:
    engine = Engine(path, nothing)
    await engine.start()
    await engine.stop()
    content = bytearray(path.read_bytes())
    content[2 * 4096 + 1 : 3 * 4096] = b"\xff" * 4095
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (text_file, "not a database"),
        (foreign_database, "not a database of this engine"),
        (newer, "or one of another version"),
        (damaged, "damaged"),
    ],
)
async def test_a_file_that_cannot_be_used_is_not_changed(
    tmp_path: Path, make: Callable[[Path], Awaitable[None] | None], reason: str
):
    path = tmp_path / "durable.db"
    made = make(path)
    if made is not None:
        await made
    before = path.read_bytes()
    message = await refused(path)
    assert reason in message
    assert "move the file away to start afresh" in message
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["durable.db"]


async def test_a_file_that_another_engine_uses_is_refused(tmp_path: Path):
    path = tmp_path / "durable.db"
    first = Engine(path, nothing)
    await first.start()
    message = await refused(path)
    assert "locked" in message
    assert "end the other process" in message
    await first.stop()
    second = Engine(path, nothing)
    await second.start()
    await second.stop()


async def test_a_missing_folder_is_created(tmp_path: Path):
    engine = Engine(tmp_path / "a" / "b" / "durable.db", nothing)
    await engine.start()
    await engine.stop()
    assert (tmp_path / "a" / "b" / "durable.db").exists()
