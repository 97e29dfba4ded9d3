"""Masks secrets in texts that clients set and in error messages."""

from typing import Any

from shared.redaction import redact
from shared.settings import settings


def redacted(text: str) -> str:
    """Return the text with keys, tokens and passwords masked, as in a run's output."""
    return redact(text, settings().anthropic_api_key)


def redacted_values(value: Any) -> Any:
    """Return a JSON value in which every text is masked."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, list):
        return [redacted_values(item) for item in value]
    if isinstance(value, dict):
        return {name: redacted_values(item) for name, item in value.items()}
    return value
