"""Tools that check addresses and patterns."""

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field

from functions.ownpilot.core.tool_context import ToolContext
from functions.ownpilot.tools.parameters import Short, Text
from functions.ownpilot.tools.patterns import compiled, matches
from functions.ownpilot.tools.registry import tool

MAX_MATCHES = 100
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


def problem_of(email: str) -> str | None:
    """Return why a text is no e-mail address, None when it is one."""
    local, at, domain = email.rpartition("@")
    if not at:
        return "There is no @"
    if len(local) > 64 or not _LOCAL.fullmatch(local):
        return "The part before the @ is not valid"
    if len(domain) > 253 or "." not in domain or not all(map(_LABEL.fullmatch, domain.split("."))):
        return "The domain is not valid"
    return None


@tool(category="validation", tags=("check", "address"))
async def validate_email(context: ToolContext, email: Short) -> dict[str, Any]:
    """Check whether a text is an e-mail address. Whether somebody reads it is not known."""
    reason = problem_of(email.strip())
    local, _, domain = email.strip().rpartition("@")
    return {"valid": reason is None} | ({"reason": reason} if reason else {"local": local, "domain": domain.lower()})


@tool(category="validation", tags=("check", "link"))
async def validate_url(context: ToolContext, url: Annotated[str, Field(max_length=10_000)]) -> dict[str, Any]:
    """Check whether a text is a whole web address, and take it apart."""
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError as error:
        return {"valid": False, "reason": str(error)}
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", parts.scheme) or not host or re.search(r"\s", url.strip()):
        return {"valid": False, "reason": "A web address is like https://example.com/path"}
    shown = {"protocol": parts.scheme, "host": host, "port": port, "path": parts.path or "/", "query": parts.query}
    return {"valid": True} | {name: value for name, value in shown.items() if value} | {"fragment": parts.fragment}


@tool(category="validation", tags=("regex", "regular expression", "match"))
async def test_regex(
    context: ToolContext,
    pattern: Short,
    text: Text,
    flags: Annotated[str, Field(max_length=10, description="Of g (all), i, m, s, u")] = "g",
) -> dict[str, Any]:
    """Find the matches of a regular expression in a text: with the flag g the first 100, else the first one."""
    found = await matches(compiled(pattern, flags), text, MAX_MATCHES if "g" in flags else 1)
    shown = [
        {"match": it.group(), "index": it.start(), "groups": [*it.groups()], "named": it.groupdict()} for it in found
    ]
    return {"matched": bool(found), "count": len(found), "matches": shown}
