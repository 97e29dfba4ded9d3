"""The services that everyone can configure from the start."""

from typing import Any

from functions.ownpilot.core.config_records import ConfigField, ConfigService

_KEY: dict[str, Any] = {"name": "api_key", "label": "API key", "type": "secret", "required": True}
_URL: dict[str, Any] = {"name": "base_url", "label": "Another address", "type": "url"}
_USER: dict[str, Any] = {"name": "user", "label": "User", "type": "string", "required": True}
_PASSWORD: dict[str, Any] = {"name": "password", "label": "Password", "type": "secret", "required": True}
_HOST: dict[str, Any] = {"name": "host", "label": "Host", "type": "string", "required": True}
_SECURE: dict[str, Any] = {"name": "secure", "label": "Encrypted connection", "type": "boolean", "defaultValue": True}

_SENDER: dict[str, Any] = {"name": "from_address", "label": "Sender, by default the user", "type": "string"}


def _port(number: int) -> dict[str, Any]:
    return {"name": "port", "label": "Port", "type": "number", "defaultValue": number}


def _service(name: str, display: str, category: str, about: str, *fields: dict[str, Any], multi: bool = False) -> None:
    schema = [ConfigField.model_validate({**each, "order": place}) for place, each in enumerate(fields)]
    SEEDS[name] = ConfigService(
        name=name, display_name=display, category=category, description=about, config_schema=schema, multi_entry=multi
    )


SEEDS: dict[str, ConfigService] = {}
"""By name. They are not stored before a person changes one."""

_service("openweathermap", "OpenWeatherMap", "weather", "Weather now and in the next days", _KEY, _URL)
_service("weatherapi", "WeatherAPI", "weather", "Weather now and in the next days", _KEY, _URL)
_service(
    "smtp", "E-mail out (SMTP)", "email", "Sends e-mail", _HOST, _port(587), _USER, _PASSWORD, _SECURE, _SENDER,
    multi=True,
)  # fmt: skip
_service("imap", "E-mail in (IMAP)", "email", "Reads e-mail", _HOST, _port(993), _USER, _PASSWORD, _SECURE, multi=True)
_service("elevenlabs", "ElevenLabs", "media", "Turns text into speech", _KEY, _URL)
_service("deepgram", "Deepgram", "media", "Turns speech into text", _KEY, _URL)
_service("deepl", "DeepL", "translation", "Translates texts", _KEY, _URL)
_service("tavily", "Tavily", "search", "Searches the web", _KEY, _URL)
_service("serper", "Serper", "search", "Searches the web", _KEY, _URL)
_service("perplexity", "Perplexity", "search", "Searches the web and answers", _KEY, _URL)
_service("telegram", "Telegram", "messaging", "A bot of Telegram", {**_KEY, "name": "bot_token", "label": "Bot token"})
_service("discord", "Discord", "messaging", "A bot of Discord", {**_KEY, "name": "bot_token", "label": "Bot token"})
_service(
    "slack", "Slack", "messaging", "An app of Slack", {**_KEY, "name": "bot_token", "label": "Bot token"},
    {"name": "signing_secret", "label": "Signing secret", "type": "secret"},
)  # fmt: skip
