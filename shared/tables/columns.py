"""The fields of a model as the columns of a row, and back without the cost of validation."""

import copy
import logging
import math
import types
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import Enum
from itertools import repeat
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, cast, get_args, get_origin

import orjson
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from shared.tables.errors import Unreadable, Unstorable
from shared.tables.ids import NumberForm
from shared.tables.keys import utc
from shared.tables.record import Record
from shared.tables.wire import Row

log = logging.getLogger(__name__)

R = TypeVar("R", bound=Record)

LONG = 30_000
"""UTF-16 units of the longest text that is kept as it is in a column (the service allows 32,768)."""

SHORT = 1_024
"""Characters of the longest text that an index row repeats."""

WITHOUT = "_long"
"""The column that names, separated by commas, the fields whose text is not in the column of their name."""

_SLOTS: list[Callable[[Any, Any], None]] = [
    BaseModel.__dict__[f"__{name}__"].__set__
    for name in ("dict", "pydantic_fields_set", "pydantic_extra", "pydantic_private")
]
"""Functions that set the parts of a model instance without its own `__setattr__`."""

_UNCHANGEABLE = (str, int, float, bytes, Enum, datetime, type(None))

_TEXTS = (list[str], dict[str, str])
"""Types that JSON holds as they are, so that reading them again needs no validation."""

_MAX_FIELDS = 240  # of the 252 columns that the service allows; this library and packed texts need the others


class Column:
    """How one field is stored; `values` are all values that its type allows, None when these are not a short list."""

    def __init__(self, name: str, info: FieldInfo):
        self.name = name
        annotation, self.nullable = _unwrap(info.annotation)
        self.values = _closed(annotation)
        self.edm = ""
        self.encode: Callable[[Any], Any] | None = None
        self.decode: Callable[[Any], Any] | None = None
        self.scalar = True
        self.text = False
        if isinstance(annotation, type) and issubclass(annotation, Enum):
            # Python's own look-up of a member by its value takes ten times as long.
            members = {str(member.value): member for member in annotation}
            self.encode, self.decode = _value, members.__getitem__
        elif annotation is bool:
            pass
        elif annotation is int:
            self.edm, self.encode, self.decode = "Edm.Int64", self._integer, int
        elif annotation is float:
            self.edm, self.encode, self.decode = "Edm.Double", _double, float
        elif annotation is datetime:
            self.encode, self.decode = moment, datetime.fromisoformat
        elif annotation is str or self.values is not None:
            self.text = True
        else:
            adapter: TypeAdapter[Any] = TypeAdapter(cast(Any, info.annotation))
            self.encode = lambda value: adapter.dump_json(value).decode()
            self.decode = orjson.loads if annotation in _TEXTS else adapter.validator.validate_json
            self.scalar, self.text = False, True
        self.default: Any = None
        """The field's value when the row does not have this column, if it is the same for every record."""
        self.make_default: Callable[[dict[str, Any]], Any] | None = None
        """Makes that value from the fields before this one, if each record needs its own."""
        if not self.nullable and not info.is_required():
            self._resolve_default(info)

    def _resolve_default(self, info: FieldInfo) -> None:
        """Do once what `FieldInfo.get_default` does for each record of a list: it inspects the factory's signature."""
        factory = cast("Callable[..., Any] | None", info.default_factory)
        if factory is None:
            default: Any = info.default
            if isinstance(default, _UNCHANGEABLE):
                self.default = default
            elif default == [] or default == {}:
                self.make_default = lambda _: default.copy()  # much cheaper than a deep copy
            else:
                self.make_default = lambda _: copy.deepcopy(default)
        elif info.default_factory_takes_validated_data:
            self.make_default = factory
        else:
            self.make_default = lambda _: factory()

    def _integer(self, value: int) -> str:
        if not -(1 << 63) <= value < 1 << 63:
            raise Unstorable(f"{self.name} is beyond 64 bits", self.name)
        return str(int(value))


def _unwrap(annotation: Any) -> tuple[Any, bool]:
    """The type without Annotated and without "or None", and whether None was allowed."""
    if get_origin(annotation) is Annotated:
        return _unwrap(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        nullable = len(members) < len(get_args(annotation))
        return (_unwrap(members[0])[0] if len(members) == 1 else annotation), nullable
    return annotation, False


def _closed(annotation: Any) -> list[Any] | None:
    if annotation is bool:
        return [False, True]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return list(annotation)
    if get_origin(annotation) is Literal and all(isinstance(value, str) for value in get_args(annotation)):
        return list(get_args(annotation))
    return None


def _value(value: Any) -> Any:
    return str(value.value if isinstance(value, Enum) else value)


def _double(value: float) -> float | str:
    if math.isfinite(value):
        return float(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def moment(value: datetime) -> str:
    """The column of a moment."""
    return utc(value).isoformat(timespec="microseconds")


class Columns(Generic[R]):
    """The columns of one model."""

    def __init__(self, model: type[R], view: list[str] | None):
        self.model, self.form = model, model.id_form
        self.numbered = isinstance(self.form, NumberForm)
        self.all = {name: Column(name, info) for name, info in model.model_fields.items() if name != "id"}
        if len(self.all) > _MAX_FIELDS:
            raise ValueError(f"{model.__name__} has {len(self.all)} fields; a row holds {_MAX_FIELDS}")
        names = [name for name, column in self.all.items() if column.scalar] if view is None else view
        if unknown := [name for name in names if name != "id" and name not in self.all]:
            raise ValueError(f"{model.__name__} has no field {', '.join(unknown)}")
        self.view = [name for name in names if name != "id"]
        self.texts = [name for name, column in self.all.items() if column.text]
        self.select = ",".join(["RowKey", *self.view, WITHOUT])
        self._types = [(name, f"{name}@odata.type", column.edm) for name, column in self.all.items() if column.edm]
        if model.__private_attributes__:
            raise ValueError(f"{model.__name__} has private attributes, which no row holds")
        self._decoders = [
            (name, column.decode, column.default, column.make_default) for name, column in self.all.items()
        ]
        # All decoded records share this set of given fields. It holds all of them, so nothing is ever added to it.
        self._names = set(model.model_fields)

    def encode(self, record: R) -> Row:
        """The columns of a record; fields that are None have no column. Texts may still be too long for a column."""
        row: Row = {}
        values = record.__dict__
        for name, column in self.all.items():
            value = values[name]
            if value is not None:
                try:
                    row[name] = value if column.encode is None else column.encode(value)
                except (TypeError, AttributeError) as error:
                    raise Unstorable(f"{name} cannot be {type(value).__name__}", name) from error
        return row

    def cover(self, row: Row) -> Row:
        """The columns that an index row repeats; `WITHOUT` names the fields that are too long for it."""
        cover: Row = {}
        long = str(row.get(WITHOUT, "")).split(",")
        left_out: list[str] = []
        for name in self.view:
            value = row.get(name)
            if name in long or (isinstance(value, str) and len(value) > SHORT):
                left_out.append(name)
            elif value is not None:
                cover[name] = value
        if left_out:
            cover[WITHOUT] = ",".join(left_out)
        return cover

    def typed(self, row: Row) -> Row:
        """The same columns with the types that the service cannot recognise in JSON."""
        types_ = {key: edm for name, key, edm in self._types if name in row}
        packed = {f"{name}@odata.type": "Edm.Binary" for name in row if "__z" in name} if WITHOUT in row else {}
        return {**row, **types_, **packed}

    def partial(self, rows: Sequence[Row]) -> dict[str, list[str]]:
        """The ids of those rows of a list that lack a field of the list view, and all their fields with long texts."""
        # The service returns null for a selected column that the row does not have.
        long = {row["RowKey"]: row[WITHOUT].split(",") for row in rows if row.get(WITHOUT)}
        ids = self.form.texts([*long])
        return {id_: names for id_, names in zip(ids, long.values(), strict=True) if not {*self.view}.isdisjoint(names)}

    def decode(self, rows: Sequence[Row], *, damaged: bool = False) -> list[R]:
        """The records of these rows. The rows are used up: they become the records' fields.

        Fields without a column have their defaults. An unknown value of an Enum stays a text; `Unreadable` for any
        other value that cannot be read. If `damaged`, the field is None instead.
        """
        records, unread = self._decode(rows)
        for record_id, name in [] if damaged else unread:
            if self.all[name].values is None:
                raise Unreadable(self.model.__name__, record_id, name)
        return records

    def readable(self, rows: Sequence[Row]) -> list[R]:
        """`decode` for a list, without the records of which a value cannot be read or is unknown. Those are logged."""
        records, unread = self._decode(rows)
        if not unread:
            return records
        for record_id, name in unread:
            log.error("left out of a list: %s", Unreadable(self.model.__name__, record_id, name))
        left_out = {record_id for record_id, _ in unread}
        return [record for record in records if record.id not in left_out]

    def _decode(self, rows: Sequence[Row]) -> tuple[list[R], list[tuple[str, str]]]:
        """The records, and the id and the field of each value that could not be read.

        The work goes column by column and sets the parts of the instances by `map`: a loop in Python would take longer
        than the work in it, and pydantic's validation twice as long.
        """
        unread: list[tuple[Any, str]] = []
        for row, record_id in zip(rows, self.form.texts([row.pop("RowKey") for row in rows]), strict=True):
            row["id"] = record_id
            row.pop(WITHOUT, None)  # null in most rows of a list
        present = set[str]().union(*rows)
        if min(map(len, rows), default=0) < len(present):
            rows = [dict.fromkeys(present) | row for row in rows]
        absent = {name: default for name, _, default, make in self._decoders if not make and name not in present}
        for row in rows:
            row.update(absent)
        for name, decode, default, make in self._decoders:
            if name not in present:
                if make:
                    for row in rows:
                        row[name] = make(row)
            elif decode or make or default is not None:
                for row in rows:
                    value = row[name]
                    if value is None:
                        row[name] = make(row) if make else default
                    elif decode:
                        try:
                            row[name] = decode(value)
                        except (KeyError, ValueError, TypeError):
                            unread.append((row["id"], name))
                            if self.all[name].values is None:
                                row[name] = None
        for name in present - self._names:  # columns of this library, or of a field that the model had before
            for row in rows:
                del row[name]
        records = list(map(object.__new__, repeat(self.model, len(rows))))
        for put, values in zip(_SLOTS, (rows, repeat(self._names), repeat(None), repeat(None)), strict=True):
            deque(map(put, records, values), maxlen=0)
        return records, unread
