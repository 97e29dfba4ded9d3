"""Whole records, and texts in them, are found by reading a plain partition."""

import asyncio
import random
import re
from collections.abc import AsyncIterator

import orjson
import pytest

from shared.tables import Collection, MissingIndex, Record, TooManyRecords
from shared.tables.ids import row_key
from shared.tables.wire import WireResponse
from tests.support.records import Counting, collection


class Note(Record):
    title: str = ""
    body: str = ""
    tags: list[str] = []
    kind: str = "a"


BLOB = random.Random(1).randbytes(200_000).hex()


def note(number: int) -> Note:
    return Note(title=f"Note {number}", tags=["Even" if number % 2 == 0 else "odd"])


@pytest.fixture(scope="module")
async def few(account: None) -> AsyncIterator[Collection[Note]]:
    """A hundred notes."""
    notes = Collection("SearchFew", Note, plain=True)
    await asyncio.gather(*(notes.insert(note(number)) for number in range(100)))
    yield notes


class Many:
    """Responds to queries like a service with 10,000 notes, a thousand at a time."""

    def __init__(self, notes: Collection[Note]):
        encoded = [(note.id, notes.columns.encode(note)) for note in map(note, range(10_000))]
        self.rows = [{**row, "RowKey": f"r~{row_key(note_id)}"} for note_id, row in reversed(encoded)]

    async def send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> WireResponse:
        found = re.search(r"&NextRowKey=(\d+)", url)
        start = int(found[1]) if found else 0
        end = start + 1_000
        more = {"x-ms-continuation-NextPartitionKey": "all", "x-ms-continuation-NextRowKey": str(end)}
        return WireResponse(200, more if end < len(self.rows) else {}, orjson.dumps({"value": self.rows[start:end]}))

    async def close(self) -> None: ...


async def test_calls(few: Collection[Note], counting: Counting):
    page = await few.search("NOTE 7", ["title"], limit=5)
    assert (dict(counting.calls), counting.rows) == ({"query": 1}, 100)
    assert ([note.title for note in page.items], page.total) == ([f"Note {n}" for n in (79, 78, 77, 76, 75)], 11)
    counting.reset()
    counting._inner, inner = Many(few), counting._inner
    try:
        page = await few.search("NOTE 7", ["title"], limit=5)
    finally:
        counting._inner = inner
    assert (dict(counting.calls), counting.rows) == ({"query": 10}, 10_000)
    assert (page.items[0].title, page.total) == ("Note 7999", 1_111)


async def test_pages_of_a_search(few: Collection[Note]):
    page = await few.search("even", ["title", "tags"], {"kind": "a"}, order="title", descending=False, limit=3)
    assert ([note.title for note in page.items], page.total) == (["Note 0", "Note 10", "Note 12"], 50)
    behind = await few.search("even", ["title", "tags"], order="title", descending=False, limit=3, cursor=page.cursor)
    assert [note.title for note in behind.items] == ["Note 14", "Note 16", "Note 18"]
    assert (await few.search("even", ["title"])).total == (await few.search("even", ["tags"], {"kind": "b"})).total == 0


async def test_long_texts_are_searched_and_scanned(counting: Counting):
    notes = Collection("SearchLong", Note, plain=True)
    for number in range(3):
        await notes.insert(Note(title=f"t{number}", body=f"{BLOB if number else 'Ж' * 40_000} Ende {number}"))
    counting.reset()
    (found,) = (await notes.search("ENDE 2", ["body"])).items
    assert (found.title, found.body) == ("t2", f"{BLOB} Ende 2")
    assert dict(counting.calls) == {"query": 1}
    counting.reset()
    assert [note.body[-6:] async for note in notes.scan()] == ["Ende 2", "Ende 1", "Ende 0"]
    assert dict(counting.calls) == {"query": 1}
    assert [note.title async for note in notes.scan({"body": found.body})] == ["t2"]
    counting.reset()
    (other,) = (await notes.search("t1", ["title"])).items
    assert other.body == f"{BLOB} Ende 1"
    assert dict(counting.calls) == {"query": 1, "get": 1}


async def test_a_scan_gives_what_the_list_view_leaves_out():
    notes = Collection("SearchView", Note, plain=True, view=["kind"], spread=3)
    made = [await notes.insert(Note(title=f"t{n}", kind="ab"[n % 2])) for n in range(5)]
    assert sorted([note.id async for note in notes.scan({"kind": "a"})]) == [note.id for note in made[::2]]
    assert {note.title async for note in notes.scan()} == {f"t{n}" for n in range(5)}


async def test_a_scan_of_the_first_records_reads_no_others(counting: Counting):
    notes = Collection("SearchFirst", Note, plain=True)
    for number in range(4):
        await notes.insert(Note(title=f"t{number}", kind="ab"[number % 2]))
    counting.reset()
    assert [note.title async for note in notes.scan(most=3)] == ["t3", "t2", "t1"]
    assert (dict(counting.calls), counting.rows) == ({"query": 1}, 3)
    assert [note.title async for note in notes.scan({"kind": "b"}, most=2)] == ["t3"]


async def test_what_is_asked_wrongly_is_refused(few: Collection[Note]):
    with pytest.raises(MissingIndex, match="no nothing to search"):
        await few.search("x", ["nothing"])
    with pytest.raises(MissingIndex, match="plain value"):
        await few.search("x", ["title"], order="tags")
    small = Collection(few.table, Note, plain=True, max_records=99)
    with pytest.raises(TooManyRecords):
        await small.search("x", ["title"])
    assert len([note async for note in small.scan()]) == 100
    with pytest.raises(MissingIndex, match="not read whole"):
        collection().scan()
    with pytest.raises(MissingIndex, match="not searched"):
        await collection().search("x", ["name"])
