"""Two small APIs on the house's kernel: one with every choice of an API's own, one with the defaults."""

import asyncio
import json
import time
from collections.abc import AsyncIterable, AsyncIterator
from enum import StrEnum
from typing import Annotated, Any

import azure.durable_functions as df
import azure.functions as func
from fastapi import Depends, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from functions.maintenance import deferred as deferred_trigger
from shared import deferred, tables
from shared.http.admission import Guard
from shared.http.api import Api, Cors
from shared.http.bodies import RequestBody, ResponseBody
from shared.http.bridge import register
from shared.http.errors import ApiError, Conflict, Unauthorized
from shared.http.multipart import Part, read_form
from shared.http.paging import Paging, paging
from shared.http.resource import resource
from shared.http.routes import options, router
from shared.http.shapes import Answers, Flag
from shared.storage import connect
from shared.tables import Collection, Record


class Caller(BaseModel):
    """Who calls."""

    id: str


def guard(header: str) -> Any:
    """A guard that takes the value of a header for the caller."""

    async def identify(request: Request) -> Caller:
        name = request.headers.get(header)
        if not name:
            raise Unauthorized(f"{header} is missing")
        return Caller(id=name)

    return identify


by_key, by_token = guard("x-key"), guard("x-token")
KeyCaller = Annotated[Caller, Depends(by_key)]
TokenCaller = Annotated[Caller, Depends(by_token)]


# A plain resource beside its record.


class Kind(StrEnum):
    """What a note is for."""

    IDEA = "idea"
    ERRAND = "errand"


class Note(Record, prefix="note_"):
    """Something a person writes down."""

    title: str = Field(min_length=1, max_length=100)
    content: str = ""
    kind: Kind = Kind.IDEA
    is_pinned: bool = False
    due: int | None = Field(None, ge=0)
    tags: list[str] = []


notes = resource(
    router("/notes", "notes"),
    Collection("SampleNotes", Note, plain=True),
    KeyCaller,
    filters={"kind": "kind", "pinned": "is_pinned"},
    search=("title", "content"),
    order=("-is_pinned", "-created_at"),
)


class Tag(Record):
    """A word of a person's own; no two of one person are the same."""

    name: str


tags = resource(
    router("/tags", "tags"), Collection("SampleTags", Tag, plain=True, unique=["name"]), KeyCaller,
    only=("list", "create"),
)  # fmt: skip


class Aim(Record):
    """Something a person wants; another API than the notes' would call its members otherwise."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)

    user_id: str = ""
    name: str = "nameless"
    level: int = Field(5, ge=0, le=10)
    is_done: bool = False
    is_hidden: bool = False
    done_times: int = 0
    note: str | None = None
    rank: str = Field("", exclude=True)

    def settle(self) -> None:
        """Count how often it was done, and refuse a name."""
        if self.name == "impossible":
            raise Conflict("name: this is impossible")
        self.done_times += self.is_done
        self.rank = f"{10 - self.level:02d}"


aims = resource(
    router("/aims", "aims"), Collection("SampleAims", Aim, plain=True), KeyCaller,
    required=("name",), readonly=("done_times",),
    filters={"note": "note", "done": "is_done", "hidden": Flag("is_hidden", default=False)},
    between=("least", "below"), search=("name",), order=("level", "-created_at"), toggles={"done": "is_done"},
    settle=Aim.settle, answers=Answers(items="goals", count="found", item="goal", deleted=True, leave_out=True),
    put=True,
)  # fmt: skip


class Entry(Record):
    """A line of a log that grows by itself."""

    word: str


entries = Collection("SampleEntries", Entry, indexes=["word"])

routes = router("/things", "things")


class Thing(ResponseBody):
    """What a route was called with."""

    id: str
    caller: str = ""


class Order(RequestBody):
    """A nested body."""

    class Item(RequestBody):
        """One part of it."""

        count: int

    items: list[Item]


@routes.get("/of/{path:path}")
async def get_path(path: str) -> Thing:
    """The rest of a path."""
    return Thing(id=path)


@routes.get("/mine")
async def get_mine(caller: TokenCaller) -> Thing:
    """Open to tokens, not to keys."""
    return Thing(id="mine", caller=caller.id)


@routes.get("/{thing_id}")
async def get_thing(thing_id: str) -> Thing:
    """Something whose id may hold a slash."""
    return Thing(id=thing_id)


@routes.get("/{thing_id}/raw")
@options(enveloped=False)
async def get_raw(thing_id: str) -> Thing:
    """The same outside of the envelope."""
    return Thing(id=thing_id)


@routes.post("")
@options(max_body=100)
async def order_things(body: Order, caller: KeyCaller) -> Thing:
    """Takes a small body."""
    return Thing(id=str(len(body.items)), caller=caller.id)


raising = router("/raise", "errors")
ERRORS: dict[str, Exception] = {
    "coded": Conflict("The thing is busy", code="THING_BUSY", details={"thing": 7}),
    "not-found": tables.RecordNotFound("Thing", "1"),
    "conflict": tables.RecordConflict("taken", "name"),
    "changed": tables.RecordChanged("changed"),
    "cursor": tables.BadCursor("bad"),
    "unstorable": tables.Unstorable("is too long", "title"),
    "unavailable": tables.StorageUnavailable("no answer"),
    "too-many": tables.TooManyRecords("too many"),
    "value": ValueError("a mistake"),
}


@raising.get("/index")
async def list_by_nothing() -> Thing:
    """A list that no index serves."""
    await entries.page({"created_at": "x"})
    return Thing(id="")


@raising.get("/{name}")
async def raise_error(name: str) -> Thing:
    """Raise one of the errors."""
    raise ERRORS[name]


@routes.put("/form/{kind}")
async def read_any_form(kind: str, request: Request) -> Thing:
    """Read a form, of any content type or only of its own."""

    async def save(part: Part, chunks: AsyncIterator[bytes]) -> int:
        return sum([len(chunk) async for chunk in chunks])

    fields, size = await read_form(request, save, any_type=kind == "any")
    return Thing(id=f"{fields.get('name', [''])[0]} {size}")


events = router("/events", "events")
gates: dict[str, asyncio.Event] = {}
closed: set[str] = set()


@events.get("/{name}", response_class=EventSourceResponse)
async def watch_events(name: str) -> AsyncIterable[ServerSentEvent]:
    """Three events, each after a request to go on but the first."""
    gate = gates.setdefault(name, asyncio.Event())
    try:
        for number in range(3):
            yield ServerSentEvent(data={"number": number})
            await gate.wait()
            gate.clear()
    finally:
        closed.add(name)


@events.post("/{name}")
async def go_on(name: str) -> Thing:
    """Let the next event leave."""
    gates[name].set()
    return Thing(id=name)


@events.get("/{name}/closed")
async def is_closed(name: str) -> Thing:
    """Whether the handler of these events has ended."""
    return Thing(id=str(name in closed))


lists = router("/entries", "entries")


class EntryList(ResponseBody):
    """A page of entries."""

    entries: list[str]
    total: int


@lists.post("", status_code=201)
async def create_entry(word: str) -> Thing:
    """Add a line."""
    return Thing(id=(await entries.insert(Entry(word=word))).id)


@lists.get("")
async def list_entries(paging: Annotated[Paging, paging(3)], word: str) -> EntryList:
    """The lines of a word."""
    page = await paging.page(entries, {"word": word})
    return EntryList(entries=[entry.id for entry in page.items], total=page.total)


async def add_entry(word: str) -> None:
    """Deferred work: add a line."""
    await entries.insert(Entry(word=word))


@lists.post("/later", status_code=202)
async def create_entry_later(word: str, item_id: str | None = None) -> Thing:
    """Add a line after the response."""
    return Thing(id=await deferred.defer("sample.add_entry", word, item_id=item_id))


class SampleEnvelope:
    """`{"data": ..., "meta": {...}}`."""

    def wrap(self, request: Request, status: int, data: bytes) -> bytes:
        meta = {"requestId": request.state.request_id, "ms": (time.perf_counter() - request.state.started) * 1000}
        return b'{"data":%b,"meta":%b}' % (data, json.dumps(meta).encode())

    def schema(self, data: dict[str, Any]) -> dict[str, Any]:
        return {"type": "object", "required": ["data"], "properties": {"data": data, "meta": {"type": "object"}}}


def failure(request: Request, error: ApiError) -> Any:
    """The sample's shape of an error."""
    return {"code": error.code, "message": error.message, "details": error.details, "id": request.state.request_id}


connect()
deferred.handlers["sample.add_entry"] = add_entry
app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
register(
    app,
    Api(
        "sample",
        "Sample",
        "1.0",
        [notes.routes, tags.routes, aims.routes, routes, raising, lists, events],
        render=failure,
        envelope=SampleEnvelope(),
        guards=[Guard(by_token, {"token": {"type": "apiKey", "in": "header", "name": "X-Token"}}),
                Guard(by_key, {"key": {"type": "apiKey", "in": "header", "name": "X-Key"}})],
        cors=Cors(["https://app.example"], credentials=True, methods=["GET", "PATCH"], headers=["X-Key"], max_age=60),
        lenient_paging=True,
        method_not_allowed=True,
        not_found="{method} {path} does not exist",
    ),
)  # fmt: skip
app.register_functions(deferred_trigger.bp)
register(app, Api("bare", "Bare", "1.0", [lists, raising]))
