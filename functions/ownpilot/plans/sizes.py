"""How much a step may hold: as many bytes of JSON as the result of a tool may have."""

import json
from collections.abc import Mapping
from typing import Any

from functions.ownpilot.tools.use import MAX_BYTES
from shared.http.errors import InvalidRequest

CUT = {"cut": True}
"""Stands for a result that is left out."""


def refuse_large(what: str, *values: Any) -> None:
    """`InvalidRequest` when these values together have more than `MAX_BYTES`."""
    if sum(map(_size, values)) > MAX_BYTES:
        raise InvalidRequest(f"{what}: at most {MAX_BYTES} bytes of JSON")


def bounded(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return results that together have at most `MAX_BYTES`; `CUT` stands for those that do not fit."""
    room, kept = MAX_BYTES, dict[str, Any]()
    for id_, result in results.items():
        size = _size(result)
        kept[id_] = result if size <= room else CUT
        room -= size if size <= room else 0
    return kept


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass"))
