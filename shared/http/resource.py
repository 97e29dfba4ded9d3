"""A uniform resource as a declaration: create, list, read, change and delete the records of a plain collection."""

import re
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, Signature
from typing import Annotated, Any, Literal, TypeVar, cast

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel

from shared.http.bodies import Done
from shared.http.conditions import IfMatch, show_version
from shared.http.operations import BeforeDelete, Resource
from shared.http.paging import MAX_LIMIT, Paging, given, paging
from shared.http.shapes import Answers, Deleted, Filters, Flag, Settle, Shapes, bound_of, parameter_of
from shared.tables import Collection, Record
from shared.tables.plain import PlainCollection

R = TypeVar("R", bound=Record)
Operation = Literal["list", "create", "get", "update", "delete"]

OPERATIONS: tuple[Operation, ...] = ("list", "create", "get", "update", "delete")


def resource(
    routes: APIRouter,
    collection: Collection[R],
    owner: Any,
    *,
    required: Sequence[str] = (),
    readonly: Sequence[str] = (),
    filters: Filters = (),
    between: tuple[str, str] | None = None,
    limit: int | None = None,
    search: Sequence[str] = (),
    order: Sequence[str] = ("-created_at",),
    toggles: Mapping[str, str] | None = None,
    settle: Settle = lambda record: None,
    before_delete: BeforeDelete | None = None,
    taken: str = "",
    answers: Answers = Answers(),
    only: Sequence[Operation] = OPERATIONS,
    put: bool = False,
) -> Resource[R]:
    """Give `routes` the operations on a collection: GET and POST at its prefix; GET, PATCH and DELETE at `/{id}`.

    For records that a person enters (notes, tasks, addresses): the collection must be plain, and a list reads all
    records of its owner, who may have `RUNYARD_MAX_RECORDS`. Records that a program creates (runs, logs, messages)
    become too many for this: declare a counted collection for them and write its routes.

    - `owner` is the parameter type of the caller (`CurrentClient`): each sees the records of its own `id` only. A
      field `user_id` of the record is set to that id.
    - The bodies follow from the record: POST requires the fields without a default; PATCH sets the members that are
      given, and refuses null for a field that cannot be null. `put`: so does PUT. `required` fields are required even
      with a default, and their texts must not be blank. `readonly` fields are shown, but not set by a request.
    - `filters` are the query parameters that filter, with the fields by which they do; each takes several values, but
      for booleans. A `Flag` gives a boolean a default. `between` names the parameters of a range of the first field of
      `order`: the lowest value, and the one that all are below; an empty name leaves a side out. `limit` is how many
      records a list has by default: 50, and `MAX_LIMIT` for a bare array.
    - `search` are the fields in which the parameter `search` is looked for; `order` the fields to sort by, with `-` in
      descending order.
    - `toggles`: POST at `/{id}/<name>` inverts a field.
    - `settle` is called before each write, `before_delete` with owner and id before a delete: it deletes what belongs
      to the record. `taken` says what a 409 means when a unique value is another record's; `answers` gives the answers
      their shape.
    - `only` are the operations to offer. Further routes are plain handlers on the same router, declared in any order:
      the host tries a literal path before `/{id}`.
    """
    if not isinstance(collection, PlainCollection):
        raise ValueError(f"{collection.table}: a resource needs a plain collection")
    model = collection.model
    noun = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", model.__name__).lower()
    plural = routes.prefix.rpartition("/")[2].replace("-", "_")
    words, things = noun.replace("_", " "), plural.replace("_", " ")
    shapes = Shapes(model, plural, answers, required=required, readonly=readonly)
    made = Resource(
        routes, collection, shapes, search=search, order=order, settle=settle, before_delete=before_delete,
        taken=taken,
    )  # fmt: skip
    chosen = dict(filters) if isinstance(filters, Mapping) else {name: name for name in filters}
    members = answers.items if answers.items is None else answers.items or plural
    low, high = between or ("", "")

    async def list_(caller: Any, paging: Paging, **query: Any) -> Any:
        text, bounds = query.pop("search", None), (query.pop(low, None), query.pop(high, None))
        where: dict[str, object] = {}
        for name, filter_ in chosen.items():
            field = filter_.field if isinstance(filter_, Flag) else filter_
            default = filter_.default if isinstance(filter_, Flag) else None
            where |= given(**{field: default if query[name] is None else query[name]})
        page = await made.list(
            caller.id, where, between=None if bounds == (None, None) else bounds, text=text,
            limit=paging.limit, offset=paging.offset, cursor=paging.cursor,
        )  # fmt: skip
        paging.link(page)
        return page.items if members is None else {members: page.items, answers.count: page.total}

    async def create(caller: Any, body: BaseModel, response: Response) -> Any:
        record = await made.create(caller.id, body)
        show_version(response, record)
        return {answers.item: record, "message": f"{words.capitalize()} created"} if answers.item else record

    async def get(caller: Any, record_id: str, response: Response) -> Any:
        record = await made.get(caller.id, record_id)
        show_version(response, record)
        return record

    async def update(caller: Any, record_id: str, body: BaseModel, if_match: str | None, response: Response) -> Any:
        record = await made.change(caller.id, record_id, body, if_match=if_match)
        show_version(response, record)
        return record

    async def replace(caller: Any, record_id: str, body: BaseModel, if_match: str | None, response: Response) -> Any:
        return await update(caller, record_id, body, if_match, response)

    async def delete(caller: Any, record_id: str) -> Done | Deleted:
        await made.delete(caller.id, record_id)
        return Deleted() if answers.deleted else Done(message=f"{words.capitalize()} deleted")

    def toggling(field: str) -> Callable[..., Any]:
        async def toggle(caller: Any, record_id: str) -> Any:
            return await made.toggle(caller.id, record_id, field)

        return toggle

    kinds = {name: parameter_of(model, filter_) for name, filter_ in chosen.items()}
    kinds |= {name: bound_of(model, order[0].removeprefix("-")) for name in filter(None, between or ())}
    if search:
        kinds["search"] = Annotated[str | None, Query(description=f"Text to find in {', '.join(search)}")]
    pages = Annotated[Paging, paging(limit or (MAX_LIMIT if members is None else 50))]
    listing, creating = {"caller": owner, "paging": pages, **kinds}, {"caller": owner, "body": shapes.new}
    one = {"caller": owner, "record_id": Annotated[str, Path(alias=f"{noun}_id")]}
    changing = {**one, "body": shapes.patch, "if_match": IfMatch, "response": Response}
    at, changes = f"/{{{noun}_id}}", f"Change the given members of a {words}."
    gone = Deleted if answers.deleted else Done
    plan: list[tuple[str, str, Callable[..., Any], str, str, Any, int, str, dict[str, Any]]] = [
        ("list", f"list_{plural}", list_, "GET", "", shapes.page, 200, f"The {things} of the caller, a page at a time.",
         listing),
        ("create", f"create_{noun}", create, "POST", "", shapes.created, 201, f"Create a {words}.",
         {**creating, "response": Response}),
        ("get", f"get_{noun}", get, "GET", at, shapes.shown, 200, f"One {words}.", {**one, "response": Response}),
        ("update", f"update_{noun}", update, "PATCH", at, shapes.shown, 200, changes, changing),
        ("delete", f"delete_{noun}", delete, "DELETE", at, gone, 200, f"Delete a {words}.", one),
    ]  # fmt: skip
    if put:
        plan.append(("update", f"replace_{noun}", replace, "PUT", at, shapes.shown, 200, changes, changing))
    for name, field in (toggles or {}).items():
        about = f"Set {field.replace('_', ' ')} of a {words} to what it is not."
        plan.append(
            ("update", f"{name}_{noun}", toggling(field), "POST", f"{at}/{name}", shapes.shown, 200, about, one)
        )
    for operation, name, handler, method, path, body, status, about, parameters in plan:
        if operation in only:
            handler.__name__, handler.__doc__ = name, about
            _set_signature(handler, parameters)
            routes.add_api_route(
                path, handler, methods=[method], status_code=status, response_model=body,
                response_model_exclude_none=answers.leave_out,
            )  # fmt: skip
    return made


def _set_signature(handler: Callable[..., Any], parameters: Mapping[str, Any]) -> None:
    """Set the signature of a handler, from which FastAPI reads its parameters; query parameters are optional."""
    needed = {"paging", "caller", "body", "response", "record_id", "if_match"}
    cast("Any", handler).__signature__ = Signature(
        [
            Parameter(
                name,
                Parameter.KEYWORD_ONLY,
                annotation=kind,
                default=Parameter.empty if name in needed else None,
            )
            for name, kind in parameters.items()
        ]
    )
