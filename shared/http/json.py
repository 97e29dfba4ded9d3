"""Checks of JSON from clients: only values that JSON can represent and storage keeps unchanged."""

import math
from typing import Annotated, Any, cast

from pydantic import Strict

MAX_DEPTH = 100


def plain(value: Any, depth: int = 0) -> Any:
    """Return the value unchanged. ValueError when it is no plain JSON, or nested deeper than `MAX_DEPTH`."""
    if depth > MAX_DEPTH:
        raise ValueError(f"must be nested at most {MAX_DEPTH} levels deep")
    match value:
        case float() if not math.isfinite(value):
            raise ValueError("must not contain NaN or Infinity")
        case str():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise ValueError("must not contain half of a surrogate pair") from None
        case list():
            for item in cast("list[Any]", value):
                plain(item, depth + 1)
        case dict():
            for name, item in cast("dict[str, Any]", value).items():
                plain(name, depth + 1)
                plain(item, depth + 1)
        case _:
            pass
    return cast("Any", value)


def not_blank(text: str) -> str:
    """Return the text unchanged. ValueError when it is empty or only white space."""
    if not text.strip():
        raise ValueError("must not be blank")
    return text


Text = Annotated[str, Strict()]
"""A text; anything else is refused instead of being converted."""
