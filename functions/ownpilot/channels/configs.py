"""What each type of channel must know, as clients send it; its secrets are kept apart and never shown."""

import contextlib
import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, ValidationError

from functions.ownpilot.channels.records import Channel, ChannelType
from functions.ownpilot.core.entry import BaseUrl, Given
from shared.http.errors import InvalidRequest, invalid_request
from shared.sealing import SealBroken

ANYBODY = "*"
"""In a list of who is allowed: everybody is."""

SECRETS = frozenset({"botToken", "signingSecret", "webhookSecret"})
"""The members that are sealed."""


def _text(given: Any) -> Any:
    return str(given) if isinstance(given, int) and not isinstance(given, bool) else given


Id = Annotated[str, BeforeValidator(_text), StringConstraints(min_length=1, max_length=100)]
Ids = Annotated[list[Id], Field(max_length=1000)]
Token = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,500}$")]


class ChannelConfig(Given):
    """What all types may have: `api_base` is the address of the service's API, in place of the usual one."""

    api_base: BaseUrl | None = None


class TelegramConfig(ChannelConfig):
    """A bot. `webhook_url` is the address that Telegram is told, in place of the channel's own."""

    bot_token: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_:-]{1,200}$")]
    allowed_users: Ids = []
    allowed_chats: Ids = []
    parse_mode: Literal["HTML", "Markdown", "MarkdownV2", "none"] = "HTML"
    webhook_url: Annotated[str, StringConstraints(pattern=r"^https?://[!-~]{1,1900}$")] | None = None
    webhook_secret: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{16,256}$")] = ""


class SlackConfig(ChannelConfig):
    """An app of a workspace. Without `signing_secret` nothing comes in."""

    bot_token: Token
    signing_secret: Token | None = None
    allowed_workspaces: Ids = []
    allowed_channels: Ids = []


class DiscordConfig(ChannelConfig):
    """An application. Without `public_key` nothing comes in."""

    bot_token: Token
    application_id: Annotated[Id, StringConstraints(pattern=r"^[0-9]{1,20}$")] | None = None
    public_key: Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$")] | None = None
    allowed_guilds: Ids = []
    allowed_channels: Ids = []
    allow_dms: Annotated[bool, Field(alias="allowDMs")] = False


class WebchatConfig(ChannelConfig):
    """A chat on a web site, whose server sends what visitors write with this secret."""

    webhook_secret: Annotated[str, StringConstraints(pattern=r"^[!-~]{16,256}$")] | None = None


CONFIGS: Mapping[ChannelType, type[ChannelConfig]] = {
    "telegram": TelegramConfig, "discord": DiscordConfig, "slack": SlackConfig, "webchat": WebchatConfig,
}  # fmt: skip


def check_type(type_: str) -> ChannelType:
    """Return a type of channel. `InvalidRequest` for any other."""
    for known in CONFIGS:
        if known == type_:
            return known
    raise InvalidRequest(f"type: must be one of {', '.join(CONFIGS)}")


def configure(channel: Channel, given: Mapping[str, Any]) -> None:
    """Set these members of a channel's configuration; null removes one. `InvalidRequest`.

    Secrets that cannot be read any more must be given again. Another bot of Telegram gets another secret for its
    webhook: what the one before still sends is no longer taken.
    """
    before = dict(channel.config)
    with contextlib.suppress(SealBroken):
        before |= channel.secrets()
    members = {name: value for name, value in {**before, **given}.items() if value is not None}
    try:
        config = CONFIGS[channel.type].model_validate(members)
    except ValidationError as error:
        found = [{**each, "loc": ("body", "config", *each["loc"])} for each in error.errors()]
        raise invalid_request(found) from None  # the error itself shows what was given: secrets too
    is_other_bot = "webhookSecret" not in given and bot_of(before) != bot_of(members)
    if isinstance(config, TelegramConfig) and (is_other_bot or not config.webhook_secret):
        config.webhook_secret = secrets.token_urlsafe(32)
    kept: dict[str, Any] = config.model_dump(by_alias=True, exclude_none=True)
    channel.config = {name: value for name, value in kept.items() if name not in SECRETS}
    channel.seal({name: value for name, value in kept.items() if name in SECRETS})


def bot_of(secrets: Mapping[str, Any]) -> str:
    """Return whose token these secrets hold: of Telegram's, the part before the colon names the bot."""
    return str(secrets.get("botToken", "")).partition(":")[0]


def config_of(channel: Channel) -> Any:
    """Return the whole configuration of a channel. `SealBroken`."""
    return CONFIGS[channel.type].model_validate({**channel.config, **channel.secrets()})


def is_allowed(*checks: tuple[str | None, list[str]]) -> bool:
    """Whether each value is named by its list of who is allowed, as far as there is such a list; some list must be.

    So nobody is, until a list says who: whoever finds the bot would otherwise talk with the assistant of its owner.
    """
    lists = [(value, allowed) for value, allowed in checks if allowed]
    return bool(lists) and all(ANYBODY in allowed or value in allowed for value, allowed in lists)
