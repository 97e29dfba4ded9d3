"""Tools that change and measure texts."""

import re
import textwrap
import unicodedata
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field

from functions.ownpilot.core.tool_context import ToolContext, ToolError
from functions.ownpilot.tools.parameters import MAX_TEXT, Short, Text, check_size, in_thread
from functions.ownpilot.tools.patterns import compiled, matches
from functions.ownpilot.tools.registry import tool

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_PARTS = r"\p{Lu}+(?!\p{Ll})|\p{Lu}?[\p{Ll}\p{Lt}\p{Lm}\p{Lo}\p{M}]+|\p{N}+"
_WORDS_A_MINUTE = 200
MAX_REPLACED = 100_000

Length = Annotated[int, Field(ge=1, le=MAX_TEXT)]


def without_accents(text: str) -> str:
    """Return a text with the plain letters of those that have accents.

    Each character is taken apart alone: for a whole text, the time grows with the square of the accents in a row.
    """
    parts = (part for each in text for part in unicodedata.normalize("NFKD", each))
    return "".join(part for part in parts if not unicodedata.combining(part))


@tool(category="textUtils", tags=("count", "length", "words"))
async def text_stats(context: ToolContext, text: Text) -> dict[str, Any]:
    """Count characters, words, sentences, lines and paragraphs of a text, and say how long it takes to read."""
    words = _WORD.findall(text)
    return {
        "characters": len(text), "charactersWithoutSpaces": len("".join(text.split())), "words": len(words),
        "sentences": len(re.findall(r"[.!?…]+(?=\s|$)", text)) or int(bool(words)),
        "lines": len(text.splitlines()), "paragraphs": len([each for each in text.split("\n\n") if each.strip()]),
        "averageWordLength": round(sum(map(len, words)) / len(words), 2) if words else 0,
        "readingMinutes": round(len(words) / _WORDS_A_MINUTE, 1),
    }  # fmt: skip


_TRANSFORMATIONS: dict[str, Callable[[str], str]] = {
    "uppercase": str.upper, "lowercase": str.lower, "titlecase": lambda it: _title(it),
    "reverse": lambda it: it[::-1], "trim": str.strip, "remove_extra_spaces": lambda it: " ".join(it.split()),
    "remove_punctuation": lambda it: "".join(each for each in it if unicodedata.category(each)[0] != "P"),
    "remove_accents": without_accents, "sort_lines": lambda it: "\n".join(sorted(it.splitlines())),
    "unique_lines": lambda it: "\n".join(dict.fromkeys(it.splitlines())),
    "number_lines": lambda it: "\n".join(f"{at}. {line}" for at, line in enumerate(it.splitlines(), 1)),
}  # fmt: skip


@tool(category="textUtils", tags=("convert",))
async def text_transform(
    context: ToolContext,
    text: Text,
    operation: Literal[
        "uppercase", "lowercase", "titlecase", "reverse", "trim", "remove_extra_spaces", "remove_punctuation",
        "remove_accents", "sort_lines", "unique_lines", "number_lines",
    ],
) -> str:  # fmt: skip
    """Change a whole text: its case, its order, its lines, or what is left out."""
    return _TRANSFORMATIONS[operation](text)


@tool(category="textUtils", tags=("find", "substitute"))
async def search_replace(
    context: ToolContext,
    text: Text,
    search: Annotated[str, Field(min_length=1, max_length=1000)],
    replace: Text,
    regex: Annotated[bool, Field(description="search is a regular expression; $1 or $<name> in replace is a group")]
    = False,
    global_: Annotated[bool, Field(description="Replace all, not only the first")] = True,
) -> dict[str, Any]:  # fmt: skip
    """Replace a text, or what a regular expression matches, by another text."""
    if not regex:
        count = min(text.count(search), MAX_TEXT if global_ else 1)
        check_size(len(text) + count * len(replace))
        return {"text": text.replace(search, replace, count), "replacements": count}
    found = await matches(compiled(search), text, MAX_REPLACED if global_ else 1)
    made: list[str] = []
    end = size = 0
    for match in found:
        piece = text[end : match.start()] + _GROUP.sub(lambda name, it=match: _group(it, name[1] or name[2]), replace)
        end, size = match.end(), size + len(piece)
        check_size(size)
        made.append(piece)
    return {"text": "".join([*made, text[end:]]), "replacements": len(found)}


_GROUP = re.compile(r"\$(?:(\d{1,2}|&)|<(\w{1,50})>)")


def _group(match: Any, name: str) -> str:
    try:
        return match.group(0 if name == "&" else int(name) if name.isdigit() else name) or ""
    except (IndexError, KeyError):
        raise ToolError(f"replace: the pattern has no group {name}") from None


class Replacement(BaseModel):
    """One text to find, and what stands there instead."""

    find: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    replace: Text


@tool(category="other", tags=("substitute", "text"))
async def find_and_replace_bulk(
    context: ToolContext, text: Text, replacements: Annotated[list[Replacement], Field(max_length=100)]
) -> dict[str, Any]:
    """Replace several texts, one after the other."""
    total = 0
    for each in replacements:
        count = text.count(each.find)
        check_size(len(text) + count * len(each.replace))
        text, total = text.replace(each.find, each.replace), total + count
    return {"text": text, "replacements": total}


@tool(category="textUtils", tags=("shorten",))
async def truncate_text(
    context: ToolContext, text: Text, length: Length = 100, suffix: Short = "...", word_boundary: bool = True
) -> str:
    """Cut a text to a number of characters, with the suffix that tells so; by default at the end of a word."""
    if len(text) <= length:
        return text
    suffix = suffix[:length]
    cut = text[: length - len(suffix)]
    if word_boundary and not text[len(cut)].isspace():
        cut = next((cut[:at] for at in range(len(cut) - 1, 0, -1) if cut[at].isspace()), cut)
    return cut.rstrip() + suffix


@tool(category="textUtils", tags=("lines", "columns"))
async def wrap_text(context: ToolContext, text: Text, width: Length = 80) -> str:
    """Break the lines of a text so that none is longer than a width."""

    def wrap() -> str:
        return "\n".join("\n".join(textwrap.wrap(line, width)) for line in text.splitlines())

    return await in_thread(wrap)


@tool(category="textUtils", tags=("url", "name"))
async def to_slug(context: ToolContext, text: Text, separator: Annotated[str, Field(pattern="^[-_.~]?$")] = "-") -> str:
    """Make a text a name for web addresses: small letters and digits, with a separator between words."""
    return separator.join(re.findall(r"[a-z0-9]+", without_accents(text.replace("ß", "ss")).lower()))


def _title(text: str) -> str:
    return re.sub(_WORD, lambda word: word[0][:1].upper() + word[0][1:].lower(), text)


_CASES: dict[str, Callable[[list[str]], str]] = {
    "camel": lambda parts: "".join(parts[:1] + [each.capitalize() for each in parts[1:]]),
    "pascal": lambda parts: "".join(each.capitalize() for each in parts),
    "snake": "_".join, "kebab": "-".join, "constant": lambda parts: "_".join(parts).upper(),
}  # fmt: skip


@tool(category="textUtils", tags=("upper", "lower", "camel", "snake"))
async def change_case(
    context: ToolContext,
    text: Text,
    case_type: Annotated[
        Literal["camel", "pascal", "snake", "kebab", "constant", "title", "sentence", "upper", "lower"],
        BeforeValidator(lambda it: it.lower().removesuffix("case").rstrip(" _-") if isinstance(it, str) else it),
    ],
) -> str:
    """Write a text in another case, such as camelCase, snake_case or Title Case."""
    match case_type:
        case "upper":
            return text.upper()
        case "lower":
            return text.lower()
        case "title":
            return _title(text)
        case "sentence":
            return re.sub(r"(^\s*|[.!?]\s+)(\w)", lambda it: it[1] + it[2].upper(), text.lower())
        case _:
            import regex  # 13 ms, and it knows the capitals of all scripts

            return _CASES[case_type]([each.lower() for each in regex.findall(_PARTS, text)])


@tool(category="mathStats", tags=("frequency", "text"))
async def count_words(
    context: ToolContext,
    text: Text,
    top: Annotated[int, Field(ge=1, le=1000)] = 10,
    min_length: Annotated[int, Field(ge=1, le=1000)] = 1,
) -> dict[str, Any]:
    """Count the words of a text, and name the most frequent ones."""
    words = Counter(each.casefold() for each in _WORD.findall(text) if len(each) >= min_length)
    frequent = [{"word": word, "count": count} for word, count in words.most_common(top)]
    return {"total": words.total(), "unique": len(words), "words": frequent}
