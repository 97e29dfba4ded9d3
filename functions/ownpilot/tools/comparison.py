"""A tool that compares texts."""

import re
from typing import Any, Literal

from functions.ownpilot.core.tool_context import ToolContext, ToolError
from functions.ownpilot.tools.parameters import Text, in_thread
from functions.ownpilot.tools.registry import tool

MAX_UNITS = 2000
"""Lines, words or characters of each text: the comparison takes as long as their product."""

_UNITS = {
    "lines": str.splitlines,
    "words": lambda text: re.findall(r"\S+", text),
    "characters": list[str],
}


@tool(category="other", tags=("diff", "difference", "similarity"))
async def compare_texts(
    context: ToolContext, text1: Text, text2: Text, mode: Literal["lines", "words", "characters"] = "lines"
) -> dict[str, Any]:
    """Compare two texts by lines, words or characters: how similar they are, what was removed and what was added."""
    first, second = _UNITS[mode](text1), _UNITS[mode](text2)
    if max(len(first), len(second)) > MAX_UNITS:
        raise ToolError(f"At most {MAX_UNITS} {mode} of each text can be compared.")
    return await in_thread(_compare, first, second)


def _compare(first: list[str], second: list[str]) -> dict[str, Any]:
    from difflib import SequenceMatcher

    matcher = SequenceMatcher(None, first, second)
    changes: list[dict[str, Any]] = []
    removed = added = 0
    for kind, start, end, new_start, new_end in matcher.get_opcodes():
        if kind != "equal":
            changes.append({"at": start + 1, "removed": first[start:end], "added": second[new_start:new_end]})
            removed, added = removed + end - start, added + new_end - new_start
    similarity = round(matcher.ratio() * 100, 2)
    return {
        "equal": not changes, "similarityPercent": similarity, "removed": removed, "added": added, "changes": changes
    }  # fmt: skip
