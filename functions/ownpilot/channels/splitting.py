"""Long texts in parts, as every service limits the length of a message."""

import re

_FENCE = re.compile(r"^```(.*)$", re.MULTILINE)
_ENDS = ("\n\n", "\n", " ")
"""Where a text is cut, the best place first."""

_ROOM = 120
"""Characters that are left free for the ends of a block of code that is cut in two."""

_LANGUAGE = 40
"""Characters of a language that are repeated at the begin of a part."""


def parts(text: str, limit: int) -> list[str]:
    """Return a Markdown text in parts of at most `limit` UTF-16 units: at least one, and none is blank.

    It is cut between paragraphs, lines or words where that is possible. A block of code that is cut is closed at the
    end of its part and opened again in the next one.
    """
    found: list[str] = []
    # Half of a surrogate pair has no place in UTF-16.
    rest, fence = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").strip(), ""
    while rest:
        opened = f"{fence}\n" if fence else ""
        if units(opened + rest) <= limit:
            found.append(opened + rest)
            break
        piece = _first(rest, limit - _ROOM)
        after = _open_fence(piece, fence)
        rest = rest[len(piece) :].lstrip("\n" if after else None)
        found.append(opened + piece.rstrip() + ("\n```" if after else ""))
        fence = after
    return [part for part in found if part.strip()] or ["(nothing)"]


def _first(text: str, limit: int) -> str:
    """Return the begin of a text that is longer than `limit`."""
    head = text.encode("utf-16-le")[: 2 * limit].decode("utf-16-le", "ignore")
    for end in _ENDS:
        place = head.rfind(end, len(head) // 3)
        if place > 0:
            return head[:place]
    return head


def _open_fence(piece: str, before: str) -> str:
    """Return the line that opened the block of code in which a piece ends, empty outside of one."""
    fence = before
    for match in _FENCE.finditer(piece):
        fence = "" if fence else f"```{match[1].strip()[:_LANGUAGE]}"
    return fence


def units(text: str) -> int:
    """Return the length of a text in UTF-16 units, as services count it: an emoji has two."""
    return len(text.encode("utf-16-le")) // 2
