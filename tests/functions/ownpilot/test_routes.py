"""The table of all routes: what the document names and what its web page calls, each once and nothing beside them."""

import csv
import re
from pathlib import Path

from functions.ownpilot import api
from tests.functions.ownpilot.description import CLOSED, DESCRIPTION, OPEN

SOCKET = ("GET", "/ws")


def rows(file: str) -> list[tuple[str, str]]:
    """Method and path of each row that somebody uses."""
    lines = Path(__file__).with_name(file).read_text().removeprefix("#").splitlines()
    found = [row for row in csv.DictReader(lines, delimiter="\t") if row.get("used_by") != "-"]
    return [SOCKET if row["path"] == "/ws (WebSocket)" else (row["method"], row["path"]) for row in found]


def shape(path: str) -> str:
    """A path whatever its parameters are called, and whether they hold slashes."""
    return re.sub(r"{[^}]*}", "{}", path)


DOCUMENTED, OF_THE_PAGE = rows("routes.tsv"), rows("routes-undocumented.tsv")


def test_every_address_is_served_once_described_and_closed_or_open_on_purpose():
    assert (len(DOCUMENTED), len(OF_THE_PAGE)) == (321, 53)
    wanted = [(method, shape(path)) for method, path in [*DOCUMENTED, *OF_THE_PAGE]]
    assert len(wanted) == len({*wanted}), "an address is named twice"
    served = [(method, shape(route.path)) for route in api.own_routes for method in route.methods or ()]
    assert len(served) == len({*served}), "an address is served twice"
    assert {*wanted} - {*served} == set()
    described = {
        (method.upper(), shape(path))
        for path, operations in DESCRIPTION.openapi["paths"].items()
        for method in operations
    }
    assert {*wanted} - described <= {SOCKET}
    assert {*wanted} - {(method, shape(path)) for method, path in [*CLOSED, *OPEN]} == set()
