"""Regular expressions of users: compiled and matched within bounds of time and memory."""

import re
from math import prod
from typing import TYPE_CHECKING, Literal

from functions.ownpilot.core.tool_context import ToolError
from functions.ownpilot.tools.parameters import in_thread

if TYPE_CHECKING:
    from regex import Match, Pattern

SECONDS = 0.5
"""For how long a pattern may search."""

_COST = 200_000
_COUNT = re.compile(r"\{([^,}]*)")
_VERBOSE = re.compile(r"\(\?[\w-]*x")

Flag = Literal["g", "i", "m", "s", "u"]


def compiled(pattern: str, flags: str = "") -> "Pattern[str]":
    """Return a pattern, with flags of JavaScript: of `gimsu`, where `g` and `u` change nothing. `ToolError`.

    The library unrolls what is repeated `{n}` times, so a short pattern could take all memory. Such ones are refused,
    and the verbose form, in which a count could be hidden.
    """
    import regex  # 13 ms

    if unknown := set(flags) - set("gimsu"):
        raise ToolError(f"flags: {''.join(sorted(unknown))} is not one of g, i, m, s and u")
    if _VERBOSE.search(pattern):
        raise ToolError("pattern: the flag x is not supported")
    digits = ("".join(filter(str.isdigit, count)) for count in _COUNT.findall(pattern))
    if len(pattern) * prod(max(1, int(each or 1)) for each in digits) > _COST:
        raise ToolError("pattern: it repeats too often")
    named = {"i": regex.IGNORECASE, "m": regex.MULTILINE, "s": regex.DOTALL}
    try:
        return regex.compile(pattern, sum(named.get(flag, 0) for flag in set(flags)))
    except (regex.error, RecursionError, OverflowError) as error:
        raise ToolError(f"pattern: {error}") from None


async def matches(pattern: "Pattern[str]", text: str, most: int) -> "list[Match[str]]":
    """Return the first matches in a text. `ToolError` when the search takes too long."""

    def find() -> "list[Match[str]]":
        found: list[Match[str]] = []
        for match in pattern.finditer(text, timeout=SECONDS):
            found.append(match)
            if len(found) == most:
                break
        return found

    try:
        return await in_thread(find)
    except TimeoutError:
        raise ToolError(
            f"The pattern took more than {SECONDS} seconds: it may try the same text in many ways."
        ) from None
