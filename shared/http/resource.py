"""A uniform resource as a declaration: create, list, read, change and delete the records of a plain collection."""

import re
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, Signature
from typing import Annotated, Any, Generic, Literal, TypeVar, cast

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, create_model
from pydantic.fields import FieldInfo

from shared.http.bodies import Done, RequestBody, ResponseBody
from shared.http.conditions import IfMatch, show_version
from shared.http.paging import Paging, given, paging
from shared.tables import Collection, Page, Record
from shared.tables.plain import PlainCollection

R = TypeVar("R", bound=Record)
Operation = Literal["list", "create", "get", "update", "delete"]

OPERATIONS: tuple[Operation, ...] = ("list", "create", "get", "update", "delete")
_SET_BY_APP = ("id", "created_at", "updated_at")


class Resource(Generic[R]):
    """The result of `resource`: the routes, and the same operations as methods."""

    def __init__(self, routes: APIRouter, collection: PlainCollection[R], search: Sequence[str], order: Sequence[str]):
        self.routes, self.collection = routes, collection
        self._search, self._order = search, tuple(order)

    async def list(
        self,
        owner: str,
        where: Mapping[str, object] | None = None,
        *,
        text: str | None = None,
        limit: int = 50,
        offset: int = 0,
        cursor: str | None = None,
    ) -> Page[R]:
        """Return a page of an owner's records that match `where` and contain `text` in a searched field."""
        own = self.collection.of(owner)
        if text:
            return await own.search(
                text, self._search, where, limit=limit, offset=offset, order=self._order, cursor=cursor
            )
        return await own.page(where, limit=limit, offset=offset, order=self._order, cursor=cursor)

    async def create(self, owner: str, values: Mapping[str, Any]) -> R:
        """Store a new record. `RecordConflict` when the value of a unique field is taken."""
        return await self.collection.of(owner).insert(self.collection.model.model_validate(dict(values)))

    async def get(self, owner: str, record_id: str) -> R:
        """Return a record. `RecordNotFound`."""
        return await self.collection.of(owner).get(record_id)

    async def update(self, owner: str, record_id: str, values: Mapping[str, Any], *, if_match: str | None = None) -> R:
        """Set these members of a record. `RecordNotFound`, `RecordConflict`, `RecordChanged` (`if_match`)."""

        def change(record: R) -> None:
            for name, value in values.items():
                setattr(record, name, value)

        return await self.collection.of(owner).update(record_id, change, if_match=if_match)

    async def delete(self, owner: str, record_id: str) -> None:
        """Delete a record. `RecordNotFound`."""
        await self.collection.of(owner).delete(record_id)


def resource(
    routes: APIRouter,
    collection: Collection[R],
    owner: Any,
    *,
    filters: Mapping[str, str] | Sequence[str] = (),
    search: Sequence[str] = (),
    order: Sequence[str] = ("-created_at",),
    only: Sequence[Operation] = OPERATIONS,
) -> Resource[R]:
    """Give `routes` the operations on a collection: GET and POST at its prefix; GET, PATCH and DELETE at `/{id}`.

    For records that a person enters (notes, tasks, addresses): the collection must be plain, and a list reads all
    records of its owner, of which it allows 10,000. Records that a program creates (runs, logs, messages) become too
    many for this: declare a counted collection for them and write its routes.

    - `owner` is the parameter type of the caller (`CurrentClient`): each sees the records of its own `id` only.
    - The bodies follow from the record: POST requires the fields without a default; PATCH sets the members that are
      given, and refuses null for a field that cannot be null.
    - `filters` are the fields by which query parameters of the same name filter, or a mapping of parameters to fields;
      `search` are the fields in which `q` is searched; `order` the fields to sort by, with `-` in descending order.
    - `only` are the operations to offer. Further routes are plain handlers on the same router, declared in any order:
      the host tries a literal path before `/{id}`.
    """
    if not isinstance(collection, PlainCollection):
        raise ValueError(f"{collection.table}: a resource needs a plain collection")
    model = collection.model
    noun = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", model.__name__).lower()
    plural = routes.prefix.rpartition("/")[2].replace("-", "_")
    words, things = noun.replace("_", " "), plural.replace("_", " ")
    made = Resource(routes, collection, search, order)
    fields = {name: info for name, info in model.model_fields.items() if name not in _SET_BY_APP}
    bodies = _Bodies(model, fields, plural)
    identifier = Annotated[str, Path(alias=f"{noun}_id")]
    chosen = dict(filters) if isinstance(filters, Mapping) else {name: name for name in filters}

    async def list_(caller: Any, paging: Paging, **query: Any) -> Any:
        text = query.pop("q", None)
        where = given(**{chosen[name]: value for name, value in query.items()})
        page = await made.list(
            caller.id, where, text=text, limit=paging.limit, offset=paging.offset, cursor=paging.cursor
        )
        paging.link(page)
        return {plural: page.items, "total": page.total}

    async def create(caller: Any, body: BaseModel, response: Response) -> Any:
        record = await made.create(caller.id, body.model_dump(exclude_unset=True))
        show_version(response, record)
        return record

    async def get(caller: Any, record_id: str, response: Response) -> Any:
        record = await made.get(caller.id, record_id)
        show_version(response, record)
        return record

    async def update(caller: Any, record_id: str, body: BaseModel, if_match: str | None, response: Response) -> Any:
        values = {name: getattr(body, name) for name in body.model_fields_set}
        record = await made.update(caller.id, record_id, values, if_match=if_match)
        show_version(response, record)
        return record

    async def delete(caller: Any, record_id: str) -> Done:
        await made.delete(caller.id, record_id)
        return Done(message=f"{words.capitalize()} deleted")

    query = [(name, _optional(model.model_fields[field])) for name, field in chosen.items()]
    query += [("q", Annotated[str | None, Query(description=f"Text to find in {', '.join(search)}")])] if search else []
    who, answer = ("caller", owner), ("response", Response)
    named, at = ("record_id", identifier), f"/{{{noun}_id}}"
    plan: dict[Operation, tuple[Callable[..., Any], str, str, Any, int, str, list[tuple[str, Any]]]] = {
        "list": (list_, "GET", "", bodies.page, 200, f"The {things} of the caller, a page at a time.",
                 [who, ("paging", Annotated[Paging, paging()]), *query]),
        "create": (create, "POST", "", bodies.shown, 201, f"Create a {words}.", [who, ("body", bodies.new), answer]),
        "get": (get, "GET", at, bodies.shown, 200, f"One {words}.", [who, named, answer]),
        "update": (update, "PATCH", at, bodies.shown, 200, f"Change the given members of a {words}.",
                   [who, named, ("body", bodies.patch), ("if_match", IfMatch), answer]),
        "delete": (delete, "DELETE", at, Done, 200, f"Delete a {words}.", [who, named]),
    }  # fmt: skip
    for operation in only:
        handler, method, path, body, status, about, parameters = plan[operation]
        handler.__name__ = f"{operation}_{plural if operation == 'list' else noun}"
        handler.__doc__ = about
        _set_signature(handler, parameters)
        routes.add_api_route(path, handler, methods=[method], status_code=status, response_model=body)
    return made


class _Bodies:
    """The request and response bodies of one model."""

    def __init__(self, model: type[Record], fields: dict[str, FieldInfo], plural: str):
        name, create = model.__name__, cast("Any", create_model)
        own = {key: (info.annotation, info) for key, info in fields.items()}
        given = {key: (_constrained(info), None) for key, info in fields.items()}
        shown = {key: (info.annotation, ...) for key, info in model.model_fields.items()}
        self.new: Any = create(f"New{name}", __base__=RequestBody, **own)
        self.patch: Any = create(f"{name}Patch", __base__=RequestBody, **given)
        self.shown: Any = create(f"{name}Shown", __base__=ResponseBody, **shown)
        members = {plural: (list[self.shown], ...), "total": (int, ...)}
        self.page: Any = create(f"{name}Page", __base__=ResponseBody, **members)


def _constrained(info: FieldInfo) -> Any:
    """Return the type of a field with its constraints, without its default."""
    return Annotated[cast("Any", info.annotation), *info.metadata] if info.metadata else info.annotation


def _optional(info: FieldInfo) -> Any:
    """Return the type of a query parameter that filters by a field."""
    return Annotated[cast("Any", info.annotation) | None, Query()]


def _set_signature(handler: Callable[..., Any], parameters: list[tuple[str, Any]]) -> None:
    """Set the signature of a handler, from which FastAPI reads its parameters; query parameters are optional."""
    optional = {"paging", "caller", "body", "response", "record_id", "if_match"}
    cast("Any", handler).__signature__ = Signature(
        [
            Parameter(
                name,
                Parameter.KEYWORD_ONLY,
                annotation=kind,
                default=Parameter.empty if name in optional else None,
            )
            for name, kind in parameters
        ]
    )
