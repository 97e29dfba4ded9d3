"""Which file serves which URL."""

import re
import sys

import pytest
from fastapi import APIRouter

from infra.emulator.processes import ROOT
from shared.http import pages
from shared.http.routes import Route
from tests.support.contract import descriptions

EXEMPT = {"/realtime", *(route.path for route in pages.routes.routes)}  # type: ignore[attr-defined]
BASE = re.compile(r"^/(api/)?(v\d+/)?")


PROBES = {"": "health", "/": "health", "/live": "health", "/ready": "health"}
"""The module of what tells whether an API runs, by the path."""


def noun_of(path: str, slice_: str) -> str:
    """The module that a path names."""
    if path in PROBES:
        return PROBES[path]
    *parts, last = BASE.sub("", path).split("/")
    segments = [*parts, last]
    folder = ROOT / "functions" / slice_
    nouns = [part.replace("-", "_") for part in segments]
    for before, noun in reversed(list(zip(segments, nouns[1:], strict=False))):
        if before.startswith("{") and (folder / nouns[0] / f"{noun}.py").exists():
            return f"{nouns[0]}.{noun}"
    for before, noun in reversed(list(zip(segments, nouns[1:], strict=False))):
        if before.startswith("{") and ((folder / f"{noun}.py").exists() or (folder / noun / "__init__.py").exists()):
            return noun
    return nouns[0]


def module_of(route: Route, slice_: str) -> str:
    """The module that serves a route: that of its handler, or the one that had it made by a function of `shared`."""
    package = f"functions.{slice_}."
    if route.endpoint.__module__.startswith(package):
        return route.endpoint.__module__
    return next(
        name
        for name, module in sys.modules.items()
        if name.startswith(package)
        for value in vars(module).values()
        if isinstance(value, APIRouter) and route in value.routes
    )


@pytest.mark.parametrize(
    ("slice_", "route"),
    [pytest.param(api.name, route, id=f"{api.name} {min(route.methods or ())} {route.path}")
     for api in descriptions() for route in api.api.own_routes if route.path not in EXEMPT],
)  # fmt: skip
def test_the_url_names_the_file(slice_: str, route: Route):
    """A path below `/<api>` is served by the module or package `functions/<api>/<noun>`.

    The noun is the last word of the path that follows a `{parameter}` and has a module of its name; where there is
    none, it is the first word after the base, which is `/api`, `/api/v1` or nothing. A `-` is a `_` in the module's
    name. So `/api/runs/{run_id}/artifacts` is in `artifacts.py`, and `/api/runs/{run_id}/retry`, as there is no
    `retry.py`, in `runs`. The pages of an API (`/docs`, `/openapi.json`) are in `shared/http/pages.py`; `/realtime`
    comes with `/ws`, and `/`, `/live` and `/ready` with `/health`.
    """
    expected = f"functions.{slice_}.{noun_of(route.path, slice_)}"
    found = module_of(route, slice_)
    assert found == expected or found.startswith(f"{expected}."), f"{route.path} is served by {found}"


@pytest.mark.parametrize(
    ("path", "noun"),
    [("/api/runs", "runs"), ("/api/runs/{run_id}/artifacts", "artifacts"), ("/api/runs/{run_id}/retry", "runs"),
     ("/api/clients/{client_id}/rotate-key", "clients"), ("/api/dashboard/metrics", "dashboard"), ("/ws", "ws"),
     ("/metrics", "metrics"), ("/api/v1/artifacts/{id}/runs/{run_id}/log", "runs"),
     ("/api/raise-alert", "raise_alert")],
)  # fmt: skip
def test_a_path_names_one_module(path: str, noun: str):
    assert noun_of(path, "gateway") == noun
