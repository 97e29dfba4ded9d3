"""What every type of channel can do, whatever service is behind it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from functions.ownpilot.channels.configs import ChannelConfig

C = TypeVar("C", bound=ChannelConfig)

_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Incoming:
    """A message from outside. `key` names it in its channel: a repeat of the request has the same one.

    `chat` is where the conversation is held, and `external_id` the message to which an answer refers. `answer_key` is a
    credential with which this one message can be answered.
    """

    key: str
    at: datetime
    chat: str
    external_id: str
    sender_id: str
    sender_name: str
    content: str
    attachments: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    is_allowed: bool = False
    answer_key: str = ""


@dataclass(frozen=True)
class Reading:
    """What a request holds: a message or none. `raw` is the JSON, or the text, that the service wants as the answer."""

    message: Incoming | None = None
    raw: Any = None


@dataclass(frozen=True)
class Address:
    """Where a message goes: a chat and, if it answers one, the message there; `key` as in `Incoming.answer_key`."""

    chat: str
    external_id: str = ""
    key: str = ""


class Adapter(ABC, Generic[C]):
    """The service behind one channel."""

    service: str
    """Its name."""

    answers = True
    """Whether the assistant answers what comes in."""

    limit: int
    """Characters (UTF-16) of one message; longer ones are sent in parts."""

    def __init__(self, config: C):
        self.config = config

    @abstractmethod
    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
        """Whether the service has sent this request: judged before anything of the body is read."""

    @abstractmethod
    def read(self, data: dict[str, Any]) -> Reading:
        """Return what a verified request holds. LookupError, TypeError, ValueError when it is not what it should be."""

    @abstractmethod
    async def connect(self, webhook: str) -> dict[str, Any]:
        """Ask the service who the bot is, and have it send messages to this address. `ChannelFailed`."""

    async def disconnect(self) -> None:
        """Have the service send nothing more. `ChannelFailed`."""

    @abstractmethod
    async def send(self, to: Address, text: str, nonce: str, *, is_first: bool) -> str:
        """Send one part of a message, and return what the service calls it. `ChannelFailed`.

        A service that knows how sends two parts with the same `nonce` once.
        """

    def default_chat(self) -> str:
        """Return where a message goes that names no chat, empty when that is not known."""
        return ""


def moment_of(seconds: float) -> datetime:
    """Return when a message was sent: now, if what is said of it cannot be right."""
    now = datetime.now(UTC)
    try:
        at = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return now
    return at if _EARLIEST < at < now else now


def only(allowed: list[str]) -> str:
    """Return the first entry of an allow list, empty when the list is empty or allows everybody."""
    return next((each for each in allowed if each != "*"), "")
