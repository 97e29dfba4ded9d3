"""Route constraints: the values that a `{name:constraint}` accepts."""

import math
import re
import uuid
from collections.abc import Callable
from datetime import datetime

Check = Callable[[str], bool]


def constraint(kind: str, argument: str | None) -> Check:
    """The check of one constraint, such as `int`, `maxlength(5)` or `regex(^a+$)`.

    Raises:
        ValueError: the constraint is unknown, or its argument is invalid.
    """
    kind = kind.lower()
    if argument is None and kind in PLAIN:
        return PLAIN[kind]
    if argument is not None and kind == "regex":
        # Braces are doubled in a route template.
        pattern = re.compile(argument.replace("{{", "{").replace("}}", "}"), re.IGNORECASE)
        return lambda text: pattern.search(text) is not None
    limits = [int(part) for part in (argument or "").split(",") if part]
    if kind not in LIMITS or len(limits) not in LIMITS[kind]:
        raise ValueError(f"unknown constraint {kind}({argument or ''})")
    low, high = limits[0], limits[-1]
    match kind:
        case "length":
            return lambda text: low <= len(text) <= high
        case "minlength":
            return lambda text: len(text) >= low
        case "maxlength":
            return lambda text: len(text) <= high
        case "min":
            return lambda text: is_long(text) and int(text) >= low
        case "max":
            return lambda text: is_long(text) and int(text) <= high
        case _:
            return lambda text: is_long(text) and low <= int(text) <= high


# How many arguments each constraint takes.
LIMITS = {"length": (1, 2), "minlength": (1,), "maxlength": (1,), "min": (1,), "max": (1,), "range": (2,)}


def whole_number(bits: int) -> Check:
    limit = 1 << (bits - 1)
    return lambda text: re.fullmatch(r"[-+]?[0-9]{1,19}", text) is not None and -limit <= int(text) < limit


def converts(convert: Callable[[str], object]) -> Check:
    def check(text: str) -> bool:
        try:
            convert(text)
        except ValueError:
            return False
        return True

    return check


def finite(text: str) -> float:
    value = float(text)
    if "_" in text or not math.isfinite(value):
        raise ValueError(text)
    return value


is_long = whole_number(64)

PLAIN: dict[str, Check] = {
    "int": whole_number(32),
    "long": is_long,
    "bool": lambda text: text.lower() in ("true", "false"),
    "alpha": lambda text: re.fullmatch("[A-Za-z]*", text) is not None,
    "decimal": converts(finite),
    "double": converts(finite),
    "float": converts(finite),
    "guid": converts(uuid.UUID),
    "datetime": converts(datetime.fromisoformat),
    "required": lambda text: text != "",
}
