"""Tools that make random values, with the operating system's source of chance."""

import math
import secrets
import string
import uuid
from typing import Annotated, Any, Literal

from pydantic import Field

from functions.ownpilot.core.tool_context import ToolContext, ToolError
from functions.ownpilot.tools.parameters import Number, Short
from functions.ownpilot.tools.registry import tool

_chance = secrets.SystemRandom()

SYMBOLS = "!@#$%^&*()-_=+[]{};:,.?"
CHARSETS = {
    "alphanumeric": string.ascii_letters + string.digits, "alphabetic": string.ascii_letters,
    "lowercase": string.ascii_lowercase, "uppercase": string.ascii_uppercase, "numeric": string.digits,
    "hex": "0123456789abcdef", "symbols": SYMBOLS,
}  # fmt: skip
_LOREM = (
    "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et dolore magna "
    "aliqua enim ad minim veniam quis nostrud exercitation ullamco laboris nisi aliquip ex ea commodo consequat"
)
_LARGEST = 10**15

Within = Annotated[Number, Field(ge=-_LARGEST, le=_LARGEST)]


@tool(category="core", tags=("id", "identifier", "random"))
async def generate_uuid(context: ToolContext) -> str:
    """Make a new random identifier (a UUID)."""
    return str(uuid.uuid4())


@tool(category="generation", tags=("dice",))
async def random_number(context: ToolContext, min: Within = 0, max: Within = 100, integer: bool = True) -> int | float:
    """Draw a number from min to max: by default a whole number, both ends included."""
    low, high = (math.ceil(min), math.floor(max)) if integer else (min, max)
    if low > high:
        raise ToolError("There is no such number: min must not be above max")
    return _chance.randint(math.ceil(low), math.floor(high)) if integer else _chance.uniform(low, high)


@tool(category="generation", tags=("token",))
async def random_string(
    context: ToolContext,
    length: Annotated[int, Field(ge=1, le=10_000)] = 16,
    charset: Literal[
        "alphanumeric", "alphabetic", "lowercase", "uppercase", "numeric", "hex", "symbols", "custom"
    ] = "alphanumeric",
    custom: Annotated[Short | None, Field(description="The characters to draw from, for the charset custom")] = None,
) -> str:
    """Make a text of random characters."""
    characters = custom or "" if charset == "custom" or custom else CHARSETS[charset]
    if not characters:
        raise ToolError("custom: name the characters to draw from")
    return "".join(secrets.choice(characters) for _ in range(length))


@tool(category="generation", tags=("pick", "draw"))
async def random_choice(
    context: ToolContext,
    options: Annotated[list[str], Field(min_length=1, max_length=10_000)],
    count: Annotated[int, Field(ge=1, le=10_000)] = 1,
) -> str | list[str]:
    """Draw one of the options, or several different ones."""
    if count > len(options):
        raise ToolError(f"count: there are only {len(options)} options")
    return secrets.choice(options) if count == 1 else _chance.sample(options, count)


@tool(category="generation", tags=("secret",))
async def generate_password(
    context: ToolContext,
    length: Annotated[int, Field(ge=4, le=256)] = 16,
    uppercase: bool = True,
    lowercase: bool = True,
    numbers: bool = True,
    symbols: bool = True,
) -> dict[str, Any]:
    """Make a password that has at least one character of each wanted kind."""
    kinds = {"uppercase": uppercase, "lowercase": lowercase, "numeric": numbers, "symbols": symbols}
    wanted = [CHARSETS[name] for name, is_wanted in kinds.items() if is_wanted]
    if not wanted:
        raise ToolError("A password needs characters of one kind at least.")
    characters = [secrets.choice(each) for each in wanted]
    characters += [secrets.choice("".join(wanted)) for _ in range(length - len(characters))]
    _chance.shuffle(characters)
    # Under this name the debug log masks it.
    return {"password": "".join(characters)}


@tool(category="generation", tags=("placeholder", "text"))
async def generate_lorem_ipsum(
    context: ToolContext,
    type: Literal["words", "sentences", "paragraphs"] = "paragraphs",
    count: Annotated[int, Field(ge=1, le=500)] = 1,
) -> str:
    """Make a text without meaning, to fill a page with."""
    if type == "words":
        return " ".join(_words(count))
    if type == "sentences":
        return " ".join(_sentence() for _ in range(count))
    return "\n\n".join(" ".join(_sentence() for _ in range(_chance.randint(4, 7))) for _ in range(count))


def _words(count: int) -> list[str]:
    return [secrets.choice(_LOREM.split()) for _ in range(count)]


def _sentence() -> str:
    return f"{' '.join(_words(_chance.randint(6, 14))).capitalize()}."
