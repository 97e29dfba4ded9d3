"""Tools that find addresses and numbers in texts."""

import re
from typing import Any

from functions.ownpilot.core.tool_context import ToolContext
from functions.ownpilot.tools.parameters import Text
from functions.ownpilot.tools.registry import tool

# Each of these looks at a character a bounded number of times, so that no text takes long.
_URL = re.compile(r"https?://[^\s<>\"'`]{1,2000}", re.IGNORECASE)
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,63}(?![A-Za-z0-9-])"
)
_RUN = re.compile(r"(?<![\w.,])-?\d[\d.,]*")
_THOUSANDS = re.compile(r"-?\d{1,3}(,\d{3})+(\.\d+)?")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_DIGITS = 300
"""Digits of the longest number that is found."""


@tool(category="extraction", tags=("find", "links"))
async def extract_urls(context: ToolContext, text: Text) -> dict[str, Any]:
    """Find the web addresses in a text, each once."""
    found = dict.fromkeys(_without_end(each) for each in _URL.findall(text))
    return {"urls": [*found], "count": len(found)}


def _without_end(url: str) -> str:
    """Return an address without the signs of the sentence at its end; a bracket that the address opens stays."""
    extra = {close: url.count(close) - url.count(open_) for open_, close in ("()", "[]", "{}")}
    while url[-1] in ".,;:!?" or extra.get(url[-1], 0) > 0:
        if url[-1] in extra:
            extra[url[-1]] -= 1
        url = url[:-1]
    return url


@tool(category="extraction", tags=("find", "addresses"))
async def extract_emails(context: ToolContext, text: Text) -> dict[str, Any]:
    """Find the e-mail addresses in a text, each once."""
    found: dict[str, str] = {}
    for each in _EMAIL.findall(text):
        found.setdefault(each.lower(), each)
    return {"emails": [*found.values()], "count": len(found)}


@tool(category="extraction", tags=("find", "digits"))
async def extract_numbers(context: ToolContext, text: Text, include_decimals: bool = True) -> dict[str, Any]:
    """Find the numbers in a text, in their order; those with thousands separators, too."""
    found: list[int | float] = []
    for run in _RUN.findall(text):
        run = run.rstrip(".,")
        for each in [run.replace(",", "")] if _THOUSANDS.fullmatch(run) else run.split(","):
            if len(each) > _DIGITS or not _NUMBER.fullmatch(each) or ("." in each and not include_decimals):
                continue
            found.append(float(each) if "." in each or len(each) > 15 else int(each))
    return {"numbers": found, "count": len(found)}
