"""JSON that clients may put into records: what every reader takes and storage keeps as it is."""

import math
from typing import Annotated, Any, cast

from pydantic import AfterValidator

MAX_DEPTH = 100


def plain(value: Any, depth: int = 0) -> Any:
    """The value itself; ValueError for numbers and texts that JSON does not have, and for deep nesting."""
    if depth > MAX_DEPTH:
        raise ValueError(f"must be nested at most {MAX_DEPTH} levels deep")
    match value:
        case float() if not math.isfinite(value):
            raise ValueError("must not hold numbers that are none")
        case str():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise ValueError("must not hold halves of characters") from None
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


JsonObject = Annotated[dict[str, Any], AfterValidator(plain)]
"""An object of any members."""
