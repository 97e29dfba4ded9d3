"""Tools that find addresses and numbers in texts."""

import re
from typing import Any

from functions.ownpilot.core.links import links_in
from functions.ownpilot.core.tool_context import ToolContext
from functions.ownpilot.tools.parameters import Text
from functions.ownpilot.tools.registry import tool

# Each of these looks at a character a bounded number of times, so that no text takes long.
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
    found = dict.fromkeys(links_in(text))
    return {"urls": [*found], "count": len(found)}


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
