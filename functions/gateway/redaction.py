"""Masking secrets in texts that clients set, and in what others tell of failures."""

from typing import Any

from shared.redaction import Redactor
from shared.settings import settings


def redacted(text: str) -> str:
    """The text with keys, tokens and passwords masked, in the way in which a run's output is."""
    redactor = Redactor([settings().anthropic_api_key.encode()])
    data = text.encode()
    return (redactor.feed(data) + redactor.finish()).decode("utf-8", "replace")


def redacted_values(value: Any) -> Any:
    """The same for every text in a JSON value."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, list):
        return [redacted_values(item) for item in value]
    if isinstance(value, dict):
        return {name: redacted_values(item) for name, item in value.items()}
    return value
