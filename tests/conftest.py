"""Fixtures of the whole suite: real Azurite in memory, and the real app on the local host, on free ports."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from infra.emulator import azurite
from infra.emulator.processes import free_ports
from infra.local.environment import NODE_MODULES, Environment
from shared.tables.client import client
from tests.support.anthropic import Anthropic
from tests.support.anymind import Anymind, registered
from tests.support.arm_faults import arm_proxy
from tests.support.dev8 import Dev8
from tests.support.dev8 import client_of as dev8_client
from tests.support.environments import STRICT, StrictHost, another_host, connected, services_outside
from tests.support.gateway import Gateway, register
from tests.support.records import Counting
from tests.support.stepflow import StepFlow, client_of
from tests.support.values import SHORT_CLOCKS, UNLIMITED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files come first, so that no worker begins one when the others are done."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
async def storage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The connection string of a fresh storage account."""
    blob, queue, table = free_ports(3)
    log: Path = tmp_path_factory.mktemp("azurite") / "azurite.log"
    child = await azurite.start((blob, queue, table), node_modules=NODE_MODULES, folder=None, log=log)
    yield azurite.connection_string(blob, queue, table)
    await child.stop()


@pytest.fixture(scope="module")
async def account(storage: str) -> AsyncIterator[None]:
    """The storage emulator is this process's storage account."""
    async with connected(AzureWebJobsStorage=storage):
        yield


@pytest.fixture
async def counting(account: None) -> AsyncIterator[Counting]:
    """A counter of this test's requests to the tables."""
    wire = client().wire
    counting = Counting(wire.transport)
    wire.transport = counting
    yield counting
    wire.transport = counting._inner


@pytest.fixture(scope="session")
async def anthropic() -> AsyncIterator[Anthropic]:
    """The stand-in of Anthropic's API that the stack calls."""
    anthropic = Anthropic()
    await anthropic.start()
    yield anthropic
    await anthropic.stop()


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory, anthropic: Anthropic) -> AsyncIterator[Environment]:
    """The whole local environment, shared by all tests that only talk to it."""
    environment = Environment.temporary(
        tmp_path_factory.mktemp("stack"),
        RUNYARD_ARTIFACT_LIMIT="100000000",
        ANYMIND_UPLOAD_LIMIT="1000000",
        ANTHROPIC_API_KEY=anthropic.key,
        RUNYARD_ANTHROPIC_URL=anthropic.url,
        **UNLIMITED,
        **SHORT_CLOCKS,
        AzureFunctionsJobHost__extensions__queues__maxPollingInterval="00:00:01",
    )
    environment.settings = {**environment.settings, **services_outside(environment.ports["providers"])}
    await environment.start()
    yield environment
    await environment.stop()


@pytest.fixture
async def app(stack: Environment) -> AsyncIterator[None]:
    """This process uses the storage and the services of the running app."""
    async with connected(**stack.app_settings):
        yield


@pytest.fixture(scope="session")
async def http(stack: Environment) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the app without any credential."""
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(base_url=stack.url, timeout=60, limits=limits, trust_env=False) as client:
        yield client


@pytest.fixture(scope="session")
async def strict_host(stack: Environment, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StrictHost]:
    """A second instance of the app, with settings of its own, shared by all tests of these settings."""
    state = tmp_path_factory.mktemp("strict")
    async with arm_proxy(stack.app_settings["RUNYARD_ARM_ENDPOINT"]) as arm:
        async with another_host(stack, state, **STRICT, RUNYARD_ARM_ENDPOINT=arm.url) as http:
            yield StrictHost(http, state / "logs/host.log", arm)


@pytest.fixture(scope="session")
async def gateway(stack: Environment) -> AsyncIterator[Gateway]:
    """One registered client of the gateway."""
    gateway = await register(stack)
    yield gateway
    await gateway.http.aclose()


@pytest.fixture
async def newcomer(stack: Environment) -> AsyncIterator[Gateway]:
    """A client of the gateway that has no runs yet."""
    gateway = await register(stack)
    yield gateway
    await gateway.http.aclose()


@pytest.fixture(scope="session")
async def dev8(stack: Environment) -> AsyncIterator[Dev8]:
    """A client of Dev8."""
    async with dev8_client(stack) as dev8:
        yield dev8


@pytest.fixture(scope="session")
async def stepflow(stack: Environment) -> AsyncIterator[StepFlow]:
    """A client of StepFlow."""
    async with client_of(stack) as stepflow:
        yield stepflow


@pytest.fixture(scope="session")
async def anymind(stack: Environment) -> AsyncIterator[Anymind]:
    """One user of Anymind."""
    async with registered(stack) as user:
        yield user
