"""The public addresses of container groups."""

import asyncio
import socket
import sys
from typing import Any

import pytest
from azure.mgmt.containerinstance.models import ContainerGroup, ContainerPort, IpAddress, Port

from infra.emulator.processes import free_ports
from tests.infra.emulator.containers.harness import EmulatorProcess, Groups, container, eventually, group, sandboxed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has more than one loopback address")

SERVE = """
import os, socket, sys
port, text = sys.argv[1:]
listener = socket.create_server((os.environ.get("LOCAL_ADDRESS", ""), int(port)))
while True:
    with listener.accept()[0] as one:
        one.sendall(text.encode())
"""
QUICK, MANY = ("--starts", "8", "--starting", "0"), 12


def serving(port: int, text: str = "served", **more: Any) -> ContainerGroup:
    """A group that sends a text to everyone who connects to its public port."""
    serve = container("python3", "-ISc", SERVE, str(port), text, ports=[ContainerPort(port=port)])
    return group(serve, ip_address=IpAddress(ports=[Port(port=port)], type="Public", **more))


async def asked(address: str, port: int) -> str | None:
    """What the group at this address sends; None when nothing listens there, "" while its program does not."""
    try:
        reader, writer = await asyncio.open_connection(address, port)
    except ConnectionRefusedError:
        return None
    try:
        return (await reader.read()).decode()
    except ConnectionResetError:
        return ""
    finally:
        writer.close()


async def address_of(groups: Groups, name: str) -> str:
    seen = (await groups.get(name)).ip_address
    assert seen and seen.ip
    return seen.ip


async def told(address: str, port: int, text: str = "served") -> None:
    """Wait until the group at this address sends this text."""
    await eventually(lambda: asked(address, port), lambda answer: answer == text)


@pytest.mark.parametrize("own_emulator", [QUICK], indirect=True)
async def test_many_groups_have_the_same_port_at_once(own_emulator: EmulatorProcess):
    async with Groups(own_emulator.port) as groups:
        names = [f"many-{number}" for number in range(MANY)]
        await asyncio.gather(*(groups.create(serving(8080, name), name) for name in names))
        addresses = [await address_of(groups, name) for name in names]
        assert len(set(addresses)) == MANY and all(one.startswith("127.8.") for one in addresses)
        for name, address in zip(names, addresses, strict=True):
            await told(address, 8080, name)
        await asyncio.gather(*(groups.delete(name) for name in names))
        assert [await asked(address, 8080) for address in addresses] == [None] * MANY


class TestAddress:
    async def test_it_is_shown_with_its_name_and_ports(self, groups: Groups):
        name = await groups.create(serving(8081, dns_name_label="my-label"))
        seen = (await groups.get(name)).ip_address
        assert seen and seen.ip and seen.fqdn == "my-label.westeurope.azurecontainer.io"
        assert [one.port for one in seen.ports] == [8081]
        await groups.delete(name)

    async def test_it_stays_while_the_group_is_stopped_and_started(self, groups: Groups):
        name = await groups.create(serving(8081))
        address = await address_of(groups, name)
        await told(address, 8081)
        await groups.sdk.stop("tests", name)
        assert await asked(address, 8081) is None
        await (await groups.sdk.begin_start("tests", name)).wait()
        assert await address_of(groups, name) == address
        await told(address, 8081)
        await groups.delete(name)

    async def test_one_whose_port_is_taken_by_another_program_is_replaced(self, groups: Groups):
        (port,) = free_ports(1)
        name = await groups.create(serving(port))
        before = await address_of(groups, name)
        await groups.sdk.stop("tests", name)
        with socket.create_server((before, port)):
            await (await groups.sdk.begin_start("tests", name)).wait()
        after = await address_of(groups, name)
        assert after != before and after.startswith("127.8.")
        await told(after, port)
        await groups.delete(name)

    async def test_a_port_that_is_taken_at_every_address_is_an_event(self, groups: Groups):
        with socket.create_server(("0.0.0.0", 0)) as other:
            name = await groups.create(serving(port := other.getsockname()[1]))
        events = [one.message for one in (await groups.view(name)).events or []]
        assert f"Port {port} cannot be reached at {await address_of(groups, name)}: Address already in use" in events
        await groups.delete(name)

    async def test_it_survives_the_death_of_this_service(self, own_emulator: EmulatorProcess):
        async with Groups(own_emulator.port) as groups:
            name = await groups.create(serving(8081))
            address = await address_of(groups, name)
        await own_emulator.kill()
        await told(address, 8081)
        await own_emulator.start()
        async with Groups(own_emulator.port) as groups:
            assert await address_of(groups, name) == address
            await groups.delete(name)
            assert await asked(address, 8081) is None


@sandboxed
async def test_the_containers_of_a_group_share_one_network(groups: Groups):
    """A port that is not public is open to the other containers of the group, and to nobody else."""
    body = serving(8080)
    body.ip_address = IpAddress(ports=[Port(port=8443)], type="Public")
    ask = (
        "import socket, time\n"
        "while True:\n"
        "  try: print(socket.create_connection(('127.0.0.1', 8080)).recv(99).decode(), flush=True); break\n"
        "  except OSError: time.sleep(0.02)"
    )
    body.containers.append(container("python3", "-ISc", ask, name="asker"))
    name = await groups.create(body)
    await groups.said(name, "served", "asker")
    assert await asked(await address_of(groups, name), 8080) is None
    await groups.delete(name)
