"""OwnPilot's catalogue: loading it, its memory, and the lists of providers and models that its web page asks for."""

import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fastapi import Request, Response
from pydantic import BaseModel

from bench.figures import Call, Figure
from bench.growth import Timed, measured
from bench.memory_tables import MemoryTables
from functions.ownpilot.core import settings_store
from functions.ownpilot.core.catalogue import rows, stored
from functions.ownpilot.core.owner import Person
from functions.ownpilot.model_configs import list_model_configs
from functions.ownpilot.models import list_models
from functions.ownpilot.providers import list_providers
from infra.emulator import azurite
from infra.emulator.processes import ROOT
from shared.blobs import BlobInfo, BlobNotFound
from shared.tables.client import client
from tests.support.environments import connected

OWN_MODELS = 50
MAX_CALLS = 3
MAX_MS = 40

_MEMORY = """
import function_app
from functions.ownpilot.core.catalogue import merge, stored
from functions.ownpilot.core.catalogue.rows import OwnRows
function_app.app.get_functions()
resident = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096
assert stored._held.catalogue is None
before = resident()
catalogue = stored.shipped()
views = [merge.merged(catalogue, OwnRows(keys=keys)) for keys in ((), [*catalogue.providers])]
for view in views:
    for each in view.listed():
        each.encoded, each.abilities
print((resident() - before) / 2**20)
"""
"""Each provider is made as one without a key and as one with a key, and its models are encoded: there is no more."""


async def run() -> list[Figure]:
    """Measure everything, with tables in memory and without a blob of an earlier sync."""

    async def missing(container: str, name: str) -> BlobInfo:
        raise BlobNotFound(name)

    async with connected(AzureWebJobsStorage=azurite.connection_string(1, 2, 3)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("shared.blobs.info", missing)
            return [_loading(), memory(), *await _lists()]


def _loading() -> Figure:
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        stored.shipped()
        best = min(best, time.process_time() - start)
    return Figure("loading the shipped catalogue: processor time", 1000 * best, "ms", at_most=60)


def memory() -> Figure:
    """What the catalogue takes; RuntimeError when it is loaded before it is needed."""
    command, environment = [sys.executable, "-c", _MEMORY], {"RUNYARD_APIS": "ownpilot"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return Figure("the catalogue in use: memory", float(done.stdout), "MiB", at_most=25)


async def _lists() -> list[Figure]:
    """The lists of a person with two keys, models of the person's own, and changes of others."""
    await client().wire.transport.close()
    client().wire.transport = timed = Timed(MemoryTables())
    me, request = Person("bench"), Request({"type": "http", "headers": [], "state": {}})
    for provider in ("openai", "anthropic"):
        await settings_store.seal_key(me.id, provider, "sk-some-key")
    await rows.add_models(me.id, "openai", [f"own-{number}" for number in range(OWN_MODELS)], {})
    await rows.change_provider(me.id, "groq", lambda row: setattr(row, "base_url", "https://example.com"))
    lists: dict[str, Callable[[], Awaitable[BaseModel | Response]]] = {
        "/providers": lambda: list_providers(me),
        "/models": lambda: list_models(me),
        "/model-configs": lambda: list_model_configs(request, me),
    }
    figures: list[Figure] = []
    for path, handler in lists.items():
        figures += await measured(f"{path}, warm", _warm(handler), timed)
        figures += await measured(f"{path} after a key change", _after_a_key_change(handler, me.id), timed)
    for figure in figures:
        figure.at_most = {"calls": MAX_CALLS, "ms": MAX_MS}.get(figure.unit)
    return figures


def _warm(handler: Callable[[], Awaitable[BaseModel | Response]]) -> Call:
    async def call() -> Any:
        answer = await handler()
        return answer.body if isinstance(answer, Response) else answer.model_dump_json(by_alias=True)

    return call


def _after_a_key_change(handler: Callable[[], Awaitable[BaseModel | Response]], owner: str) -> Call:
    warm = _warm(handler)

    async def call() -> Any:
        settings_store.forget(owner)
        return await warm()

    return call
