"""The two protocols that providers speak, and how each is told the key."""

from typing import Literal

Wire = Literal["openai", "anthropic"]

ANTHROPIC_VERSION = "2023-06-01"
"""The version of Anthropic's protocol that is spoken."""


def wire_of(type_: str) -> Wire:
    """Return what a provider of this type speaks: all but Anthropic's speak OpenAI's."""
    return "anthropic" if type_ == "anthropic" else "openai"


def key_headers(wire: Wire, api_key: str | None) -> dict[str, str]:
    """Return the headers of a request that concern the protocol and the key; there may be none."""
    if wire == "anthropic":
        return {"anthropic-version": ANTHROPIC_VERSION} | ({"x-api-key": api_key} if api_key else {})
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}
