"""The base of every record."""

from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, Unpack, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.tables.ids import IdForm, NumberForm, PrefixedForm, UuidForm, new_id, next_derived, repeating, time_of


class Record(BaseModel):
    """A stored object: its id, which is also its place in time, and when it was made and last changed (UTC).

    The id is the text of a UUIDv7; `class Goal(Record, prefix="goal_")` makes it `goal_` and the UUID's 32 digits, in
    lists and reads too. A subclass has the ids of its base. A record that is given `created_at` and no id gets an id of
    that moment. `Collection` sets `updated_at`.

    `class Agent(Record, numbered=True)` has whole numbers, counted from 1 in its collection; the id is "" until
    `Collection.insert` sets it. It is decimal text like every other id, since paths, row keys and references hold ids
    as text; a body for clients that declares `id: int` shows it as a JSON number, because pydantic reads such text.
    `numbered="ascending"` is for lists that clients read from the lowest number on: rows lie in that order.
    """

    # No private attributes: those cost a dictionary for each record of a list. `_row` are the columns and the long
    # texts of a record that was read alone, or written.
    __slots__ = ("_etag", "_row")

    model_config = ConfigDict(defer_build=True)

    id_form: ClassVar[IdForm] = UuidForm()

    id: str = Field(default_factory=new_id)
    created_at: datetime = Field(default_factory=lambda values: time_of(values["id"]) or datetime.now(UTC))
    updated_at: datetime = Field(default_factory=lambda values: values["created_at"])

    def __init_subclass__(
        cls,
        *,
        prefix: str | None = None,
        numbered: bool | Literal["ascending"] = False,
        **config: Unpack[ConfigDict],
    ) -> None:
        super().__init_subclass__(**config)
        if numbered:
            if prefix is not None:
                raise ValueError(f"{cls.__name__}: a number has no prefix")
            cls.id_form = NumberForm(ascending=numbered == "ascending")
        if prefix is not None:
            cls.id_form = PrefixedForm(prefix)

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Accept `prefix` and `numbered`: pydantic passes the keywords of a class statement to this method too."""

    @classmethod
    def new_id(cls, at: datetime | None = None) -> str:
        """A new id of this model; with `at` the id is of that moment. Derived in a `repeatable` block."""
        if at is None and not isinstance(cls.id_form, NumberForm) and (origin := next_derived(cls.__name__)):
            return cls.derived_id(*origin)
        return cls.id_form.new(at)

    @classmethod
    def derived_id(cls, at: datetime, seed: str) -> str:
        """The one id of this model for a moment and a text: what makes a repeated insert the same insert."""
        return cls.id_form.derived(at, seed)

    @property
    def etag(self) -> str | None:
        """The version of this record as it was read or written; None in a list, or before it is stored."""
        return getattr(self, "_etag", None)

    def stamp(self, etag: str | None, row: tuple[dict[str, Any], dict[str, str]] | None) -> None:
        """Note the version that is stored, with its columns and long texts where these are known."""
        object.__setattr__(self, "_etag", etag)  # pydantic's own `__setattr__` takes ten times as long
        object.__setattr__(self, "_row", row)

    @model_validator(mode="before")
    @classmethod
    def _id_of_its_moment(cls, data: object) -> object:
        if isinstance(data, dict) and "id" not in data:
            given = cast("dict[str, Any]", data)
            moment = given.get("created_at")
            if isinstance(moment, datetime):
                return {**given, "id": cls.new_id(moment)}
            if repeating() or not isinstance(cls.id_form, UuidForm):
                return {**given, "id": cls.new_id()}
        return data  # pyright: ignore[reportUnknownVariableType]
