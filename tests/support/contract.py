"""What the contract suite needs to know of an API."""

import csv
import re
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
from pydantic.warnings import UnsupportedFieldAttributeWarning

from infra.emulator.processes import ROOT
from infra.local.environment import Environment
from shared.http.api import Api
from tests.support.values import UNKNOWN


@dataclass(frozen=True)
class DocumentedRoute:
    """One line of a `routes.tsv`.

    `auth` is required, none or optional; `keys` are members of the data of a response, none of a file or a socket.
    """

    method: str
    path: str
    auth: str
    status: int
    keys: frozenset[str]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def read_routes(path: Path) -> list[DocumentedRoute]:
    """The documented routes of an API."""
    lines = path.read_text().removeprefix("#").splitlines()
    return [
        DocumentedRoute(
            row["method"], row["path"], row["auth"], int(row["status"]), frozenset(row["keys"].split(",")) - {"-"}
        )
        for row in csv.DictReader(lines, delimiter="\t")
    ]


class Description(ABC):
    """One API: `tests/functions/<name>/description.py` has its one, as `DESCRIPTION`, and `routes.tsv` lies beside it.

    - `undocumented` are routes that the app has beside the documented ones.
    - `wrong_credentials` are `Authorization` headers that no API key stands in; none where no route needs a key.
    - `unknown_method` is the status for a known path with another method.
    - `unknown_id` is an id that no record has; `odd_id` is the status for one of another form.
    - `taken` are refusals of the example of a body whose name or key exists already, or that names another record.
    - `file_name` is the name of a file that every upload accepts.
    - `any_id` are routes, by method and path, whose parameter may be any text: a key, a name.
    """

    name: str
    api: Api
    undocumented: frozenset[tuple[str, str]]
    wrong_credentials: tuple[str, ...] = ()
    unknown_method: int = 404
    unknown_id: str = UNKNOWN
    odd_id: int = 404
    taken: tuple[str, ...] = ()
    file_name: str = "report.txt"
    any_id: frozenset[str] = frozenset()

    def __init__(self, name: str):
        self.name = name
        self.routes = read_routes(ROOT / "tests/functions" / name / "routes.tsv")

    @cached_property
    def openapi(self) -> dict[str, Any]:
        """The API's own description of itself."""
        with warnings.catch_warnings(action="ignore", category=UnsupportedFieldAttributeWarning):
            return self.api.openapi()  # the warning is about FastAPI's own way of describing a body that may be absent

    @abstractmethod
    async def open(self, environment: Environment) -> httpx.AsyncClient:
        """A client that shows a valid credential; makes the records to which examples refer."""

    async def url_for(self, route: DocumentedRoute) -> str:
        """The address at which a route succeeds."""
        record_id = await self.id_for(route) if "{" in route.path else ""
        return f"/{self.name}{re.sub(r'{[a-z_]+}', record_id, route.path)}"

    @abstractmethod
    async def id_for(self, route: DocumentedRoute) -> str:
        """The id of a record on which a route with a parameter succeeds."""

    @abstractmethod
    def body_for(self, route: DocumentedRoute) -> dict[str, Any]:
        """The body or query with which a route succeeds, as arguments for httpx."""

    @abstractmethod
    def data_of(self, answer: httpx.Response) -> dict[str, Any]:
        """The data of a successful response, without the API's envelope; of an array, its first item."""

    @abstractmethod
    def refused(self, answer: httpx.Response, status: int) -> str:
        """Check that a response has this status and the API's error shape; return its message."""


def descriptions() -> list[Description]:
    """Every API that has a `routes.tsv`."""
    found = sorted((ROOT / "tests/functions").glob("*/routes.tsv"))
    return [import_module(f"tests.functions.{path.parent.name}.description").DESCRIPTION for path in found]
