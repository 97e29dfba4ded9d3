"""Hub settings: whether clients may connect without a token, and which event handler gets which event."""

from pathlib import Path
from typing import Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

SystemEvent = Literal["connect", "connected", "disconnected"]


class Handler(BaseModel):
    """An event handler; `url` may contain `{hub}` and `{event}`, `user_events` is `*` or names separated by commas."""

    model_config = ConfigDict(extra="forbid")

    url: str
    user_events: str = ""
    system_events: list[SystemEvent] = Field(default_factory=list[SystemEvent])

    def takes(self, event: str, *, system: bool) -> bool:
        """Whether this handler is registered for the event."""
        if system:
            return event in self.system_events
        names = [name.strip() for name in self.user_events.split(",")]
        return "*" in names or event in names

    def url_for(self, hub: str, event: str) -> str:
        """The URL to which the event is delivered; the event `validate` is the abuse-protection request."""
        return self.url.replace("{hub}", quote(hub, safe="")).replace("{event}", quote(event, safe=""))


class HubSettings(BaseModel):
    """One hub; when several handlers are registered for an event, the first one gets it."""

    model_config = ConfigDict(extra="forbid")

    anonymous: bool = False
    handlers: list[Handler] = Field(default_factory=list[Handler])

    def handler(self, event: str, *, system: bool) -> Handler | None:
        """The handler of the event; None when there is none."""
        return next((h for h in self.handlers if h.takes(event, system=system)), None)


HUBS = TypeAdapter(dict[str, HubSettings])


def read(file: Path) -> dict[str, HubSettings]:
    """The hubs of a JSON file, by name. Raises pydantic's ValidationError."""
    return HUBS.validate_json(file.read_bytes())
