"""The base of every record."""

from datetime import UTC, datetime
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.ids import new_id, time_of


class Record(BaseModel):
    """A stored object: its id (UUIDv7, which is also its place in time) and when it was made and last changed (UTC).

    A record that is given `created_at` and no id gets an id of that moment. The layer sets `updated_at`.
    """

    __slots__ = ("_etag",)  # no private attribute: those cost a dictionary for each record of a list

    model_config = ConfigDict(defer_build=True)

    id: str = Field(default_factory=new_id)
    created_at: datetime = Field(default_factory=lambda values: time_of(values["id"]) or datetime.now(UTC))
    updated_at: datetime = Field(default_factory=lambda values: values["created_at"])

    @property
    def etag(self) -> str | None:
        """The version of this record as it was read or written; None in a list, or before it is stored."""
        return getattr(self, "_etag", None)

    @model_validator(mode="before")
    @classmethod
    def _id_of_its_moment(cls, data: object) -> object:
        if isinstance(data, dict):
            given = cast("dict[str, Any]", data)
            if isinstance(moment := given.get("created_at"), datetime) and "id" not in given:
                return {**given, "id": new_id(moment)}
        return data  # pyright: ignore[reportUnknownVariableType]
