"""Payloads, and the frames in which they are sent to plain clients and to clients of the JSON subprotocol."""

import base64
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import orjson

JSON_PROTOCOL = "json.webpubsub.azure.v1"
LARGEST = 2**20  # bytes of one frame or one request body

DataType = Literal["text", "json", "binary"]

CONTENT_TYPES: dict[str, DataType] = {
    "text/plain": "text",
    "application/json": "json",
    "application/octet-stream": "binary",
}


class Malformed(ValueError):
    """The content does not fit its declared type, or a request is not valid."""


class Frame(NamedTuple):
    """One WebSocket frame."""

    data: bytes
    binary: bool = False


class Payload(NamedTuple):
    """Bytes with the data type under which they were sent; JSON is kept as the text that was sent."""

    type: DataType
    data: bytes

    @classmethod
    def of_body(cls, content_type: str, body: bytes) -> "Payload":
        """The payload of an HTTP body. Raises Malformed for an unknown content type or content that does not fit."""
        kind = CONTENT_TYPES.get(content_type)
        if kind is None:
            raise Malformed(f"Content type {content_type!r} is not one of {', '.join(CONTENT_TYPES)}")
        try:
            if kind == "json":
                orjson.loads(body)
            elif kind == "text":
                body.decode()
        except ValueError as error:
            raise Malformed(f"The body is not valid {content_type}: {error}") from None
        return cls(kind, body)

    @classmethod
    def of_request(cls, request: dict[str, Any]) -> "Payload":
        """The `data` of a JSON-subprotocol request, read as its `dataType` (default json). Raises Malformed."""
        kind, data = request.get("dataType", "json"), request.get("data")
        if kind == "json":
            return cls("json", orjson.dumps(data))
        if kind not in ("text", "binary") or not isinstance(data, str):
            raise Malformed("data must be a string, and dataType json, text or binary")
        if kind == "text":
            return cls("text", data.encode())
        try:
            return cls("binary", base64.b64decode(data, validate=True))
        except ValueError:
            raise Malformed("binary data must be base64") from None

    @property
    def content_type(self) -> str:
        """The content type of an HTTP body with this payload."""
        return next(name for name, kind in CONTENT_TYPES.items() if kind == self.type)


@dataclass(frozen=True)
class OutgoingMessage:
    """A payload for clients, sent by the server or by a member of a group."""

    payload: Payload
    group: str | None = None  # the group to which a client published it
    from_user: str | None = None

    @cached_property
    def plain(self) -> Frame:
        """The frame for a client without a subprotocol."""
        return Frame(self.payload.data, self.payload.type == "binary")

    @cached_property
    def json(self) -> Frame:
        """The frame for a client of the JSON subprotocol."""
        kind, data = self.payload
        origin = {"from": "server"} if self.group is None else {"from": "group", "group": self.group}
        if self.from_user is not None:
            origin["fromUserId"] = self.from_user
        content = {
            "json": lambda: orjson.Fragment(data),
            "text": lambda: data.decode(),
            "binary": lambda: base64.b64encode(data).decode(),
        }[kind]()
        return control({"type": "message", **origin, "dataType": kind, "data": content})


def control(content: dict[str, Any]) -> Frame:
    """A frame of the JSON subprotocol."""
    return Frame(orjson.dumps(content))
