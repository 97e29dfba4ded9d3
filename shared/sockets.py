"""Sockets: the events that Web PubSub sends about a hub's connections, and who answers them.

An event must prove that the service sent it. When the setting `events_code` is set, the proof is that secret as
`?code=` in the handler's address in the hub settings: an app with an identity has no access key. Otherwise it is a
signature with the access key in the setting `webpubsub`. An event without its proof is refused.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote

from shared.http.json import plain
from shared.realtime import connection_parts
from shared.settings import settings
from shared.workflows import WorkflowClient

SYSTEM_EVENTS = ("connect", "connected", "disconnected")


def verify_signature(connection_id: str, header: str) -> bool:
    """Whether `header` (ce-signature) is the service's signature of the connection id; False without an access key."""
    key = connection_parts(settings().webpubsub).get("accesskey")
    if not key:
        return False
    expected = "sha256=" + hmac.new(key.encode(), connection_id.encode(), hashlib.sha256).hexdigest()
    # The header has one signature for each of the service's two keys.
    return any(hmac.compare_digest(expected.encode(), given.strip().encode()) for given in header.split(","))


def encode_state(state: dict[str, Any]) -> str:
    """Return the value of a response's ce-connectionState header; the connection's next events carry the state."""
    return base64.b64encode(json.dumps(state).encode()).decode()


@dataclass(frozen=True)
class Event:
    """Something that happened to a connection, or that its client sent.

    `type` is connect, connected, disconnected, message or a name that the client chose; a chosen name that is also a
    system event's gets the prefix `user.`. `data` is what the client sent, or the JSON of a system event.
    """

    hub: str
    type: str
    connection_id: str
    user_id: str | None
    state: dict[str, Any]
    data: bytes
    content_type: str

    @property
    def json_object(self) -> dict[str, Any]:
        """`data` as a JSON object of plain values; empty when it is anything else."""
        try:
            value = plain(json.loads(self.data))
        except (ValueError, RecursionError):
            return {}
        return cast("dict[str, Any]", value) if isinstance(value, dict) else {}

    @classmethod
    def parse(cls, headers: Mapping[str, str], body: bytes) -> "Event":
        """Return the event in a request to the handler. ValueError when the request is not an event."""
        given = {name.lower(): value for name, value in headers.items()}
        try:
            kind, hub, connection_id = given["ce-type"], given["ce-hub"], given["ce-connectionid"]
        except KeyError as missing:
            raise ValueError(f"The header {missing} is missing") from None
        source, _, name = kind.removeprefix("azure.webpubsub.").partition(".")
        if not kind.startswith("azure.webpubsub.") or source not in ("sys", "user") or not name:
            raise ValueError(f"{kind} is not an event of Web PubSub")
        name = unquote(name)
        if source == "user" and name in SYSTEM_EVENTS:
            name = f"user.{name}"
        user_id = given.get("ce-userid")
        return cls(
            hub=hub,
            type=name,
            connection_id=connection_id,
            user_id=unquote(user_id) if user_id else None,
            state=_decode_state(given.get("ce-connectionstate", "")),
            data=body,
            content_type=given.get("content-type", "").partition(";")[0].strip(),
        )


def _decode_state(header: str) -> dict[str, Any]:
    if not header:
        return {}
    try:
        state = json.loads(base64.b64decode(header))
    except ValueError:
        state = None
    if not isinstance(state, dict):
        raise ValueError("The connection state in ce-connectionState is not valid")
    return state  # pyright: ignore[reportUnknownVariableType]


@dataclass(frozen=True)
class Reply:
    """`message` is sent to the client, `state` is stored with the connection; None sends or stores nothing."""

    message: dict[str, Any] | None = None
    state: dict[str, Any] | None = None


Dialogue = Callable[[Event, WorkflowClient], Awaitable[Reply]]

dialogues: dict[str, Dialogue] = {}
"""The dialogue of each hub by the hub's name; `shared.slices.add_slice` adds those of the slices."""
