"""What a resource's requests and responses look like: bodies and filters that follow from the model of its records."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin, get_type_hints

from fastapi import Query
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    WithJsonSchema,
    create_model,
)
from pydantic.fields import FieldInfo

from shared.http.bodies import RequestBody, ResponseBody
from shared.http.json import not_blank
from shared.tables import Record

_SET_BY_APP = ("id", "created_at", "updated_at", "user_id")


@dataclass(frozen=True)
class Flag:
    """A filter by a field that is true or false; `default` is the value when a request names none."""

    field: str
    default: bool | None = None


Filters = Mapping[str, str | Flag] | Sequence[str]
"""Query parameters and the fields by which they filter; a sequence when both have the same names."""


@dataclass(frozen=True)
class Answers:
    """The shape of a resource's answers.

    - `items` is the member of a list that holds the records, by default the last word of the path; None: the list is a
      bare array. `count` is the member with their number.
    - `item` is the member of the answer to a create that holds the record, beside a `message`; None: the bare record.
    - `deleted`: a delete is answered with `{"deleted": true}` instead of a message.
    - `leave_out`: members without a value are left out instead of being null.
    """

    items: str | None = ""
    count: str = "total"
    item: str | None = None
    deleted: bool = False
    leave_out: bool = False


class Deleted(ResponseBody):
    """The record was deleted."""

    deleted: bool = True


class Shapes:
    """The bodies of one model: `new` and `patch` of requests; `shown`, `page` and `created` of responses.

    A field with `exclude=True` is the app's own: clients neither see nor set it. `readonly` fields and the model's
    computed fields are seen only.
    """

    def __init__(
        self,
        model: type[Record],
        plural: str,
        answers: Answers,
        *,
        required: Sequence[str],
        readonly: Sequence[str],
    ):
        name, create = model.__name__, cast("Any", create_model)
        visible = {key: info for key, info in model.model_fields.items() if not info.exclude}
        given = {key: info for key, info in visible.items() if key not in (*_SET_BY_APP, *readonly)}
        if unknown := sorted({*required} - given.keys()):
            raise ValueError(f"{name}: {', '.join(unknown)} cannot be required: requests do not set it")
        types = {key: _constrained(info) for key, info in given.items()}
        types |= {key: _filled(types[key]) for key in required}
        new = {key: (types[key], ...) if key in required else (info.annotation, info) for key, info in given.items()}
        patch = {key: (kind, None) for key, kind in types.items()}
        shown = {key: (_serialized(info), ...) for key, info in visible.items()}
        for key, computed in model.model_computed_fields.items():
            shown[key] = (get_type_hints(computed.wrapped_property.fget)["return"], ...)
        request, response = _base(RequestBody, model), _base(ResponseBody, model)
        self.new: Any = create(f"New{name}", __base__=request, **new)
        self.patch: Any = create(f"{name}Patch", __base__=request, **patch)
        if answers.leave_out:
            shown |= {key: (shown[key][0], None) for key, info in visible.items() if _nullable(info)}
        self.shown: Any = create(f"{name}Shown", __base__=response, **shown)
        self.page, self.created = self._list(name, plural, answers), self.shown
        if answers.item:
            wrapped = {answers.item: (self.shown, ...), "message": (str, ...)}
            self.created = create(f"{name}Created", __base__=ResponseBody, **wrapped)

    def _list(self, name: str, plural: str, answers: Answers) -> Any:
        if answers.items is None:
            return list[self.shown]
        members = {answers.items or plural: (list[self.shown], ...), answers.count: (int, ...)}
        return cast("Any", create_model)(f"{name}Page", __base__=ResponseBody, **members)


def parameter_of(model: type[Record], filter_: str | Flag) -> Any:
    """Return the type of a query parameter that filters: a boolean, or values of which the field must have one."""
    info = model.model_fields[filter_.field if isinstance(filter_, Flag) else filter_]
    if _without_none(info.annotation) is bool:
        return Annotated[bool | None, EMPTY_IS_ABSENT, Query()]
    one = _without_none(_constrained(info))
    many = cast("Any", list)[one]
    return Annotated[many | None, EMPTY_IS_ABSENT, Query(description="Repeat it for several values")]


def bound_of(model: type[Record], field: str) -> Any:
    """Return the type of a query parameter that bounds the values of a field."""
    return Annotated[_without_none(_constrained(model.model_fields[field])) | None, Query()]


def _not_empty(given: Any) -> Any:
    """Drop empty values: forms send them for filters that are not set."""
    if isinstance(given, list):
        return [value for value in cast("list[Any]", given) if value != ""] or None
    return None if given == "" else given


EMPTY_IS_ABSENT = BeforeValidator(_not_empty)
"""Annotation of a query parameter, of which empty values do not count."""


def _base(kind: type[BaseModel], model: type[Record]) -> type[BaseModel]:
    """Return the base of bodies whose members are named, and whose example is, as the model says."""
    aliases = model.model_config.get("alias_generator")
    config = ConfigDict(alias_generator=aliases, validate_by_name=True, validate_by_alias=kind is RequestBody)
    if kind is RequestBody and "json_schema_extra" in model.model_config:
        config["json_schema_extra"] = model.model_config["json_schema_extra"]
    members = {"__module__": __name__, "__doc__": kind.__doc__, "model_config": config}
    return cast("Any", type(kind))(kind.__name__, (kind,), members)


def _constrained(info: FieldInfo) -> Any:
    """Return the type of a field with its constraints, without its default."""
    return Annotated[cast("Any", info.annotation), *info.metadata] if info.metadata else info.annotation


def _serialized(info: FieldInfo) -> Any:
    """Return the type of a field as it is shown: what is stored is not checked again."""
    kept = [part for part in info.metadata if isinstance(part, PlainSerializer | WithJsonSchema)]
    return Annotated[cast("Any", info.annotation), *kept] if kept else info.annotation


def _filled(kind: Any) -> Any:
    """Return the type of a value that must be given: neither null nor a blank text."""
    kind = _without_none(kind)
    return Annotated[kind, AfterValidator(lambda value: not_blank(value) if isinstance(value, str) else value)]


def _nullable(info: FieldInfo) -> bool:
    return type(None) in get_args(info.annotation)


def _without_none(kind: Any) -> Any:
    """Return a type without `| None`."""
    if get_origin(kind) is Annotated:
        inner, *metadata = get_args(kind)
        return Annotated[_without_none(inner), *metadata]
    if get_origin(kind) in (Union, UnionType):
        members = [member for member in get_args(kind) if member is not type(None)]
        return members[0] if len(members) == 1 else Union[tuple(members)]  # noqa: UP007
    return kind


Settle = Callable[[Any], None]
"""Brings a record in order before it is written: sets what follows from other fields, refuses what contradicts them."""
