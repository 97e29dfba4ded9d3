"""Amounts of money: numbers with two decimals on the wire, whole hundredths everywhere else, so that sums are exact."""

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

MOST = 1_000_000_000_000
"""The largest amount; its hundredths and the sum of thousands of them are exact as JSON numbers too."""


class Hundredths(int):
    """An amount in hundredths that has been read from the wire: reading it again leaves it as it is."""


def _read(least: int, what: str) -> Callable[[Any], Hundredths]:
    def read(given: Any) -> Hundredths:
        if isinstance(given, Hundredths):
            return given
        if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= MOST:
            raise ValueError(f"must be a number {what}, at most {MOST:,}")
        hundredths = round(Decimal(str(given)) * 100)
        # Clients add in binary: 0.1 + 0.2 comes as 0.30000000000000004.
        if not math.isclose(given * 100, hundredths, rel_tol=1e-14):
            raise ValueError("must have at most two decimals")
        if hundredths < least:
            raise ValueError(f"must be a number {what}, at most {MOST:,}")
        return Hundredths(hundredths)

    return read


def shown(hundredths: int) -> float:
    """Return hundredths as a number with at most two decimals."""
    whole, rest = divmod(hundredths, 100)
    return hundredths / 100 if rest else whole


_SERIALIZED = PlainSerializer(shown, return_type=float, when_used="json")

Money = Annotated[int, _SERIALIZED, WithJsonSchema({"type": "number"})]
"""An amount that is shown."""

Price = Annotated[
    int,
    PlainValidator(_read(1, "above 0")),
    _SERIALIZED,
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": MOST}),
]
"""An amount above 0."""

Allowance = Annotated[
    int,
    PlainValidator(_read(0, "of 0 or more")),
    _SERIALIZED,
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": MOST}),
]
"""An amount of 0 or more."""
