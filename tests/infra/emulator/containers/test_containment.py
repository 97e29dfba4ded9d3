"""Attempts to get out of a container: each must fail."""

import asyncio
import json
import os
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from infra.emulator.containers import network
from infra.emulator.processes import ROOT, NotReady, free_ports
from tests.infra.emulator.containers.harness import (
    IMAGES,
    EmulatorProcess,
    Groups,
    connected,
    container,
    group,
    sandboxed,
)

pytestmark = sandboxed

OPEN = {"entrypoint": ["/bin/sh"], "internet": True}
ATTEMPTS = """
import socket, sys
tcp, udp, seconds, *hosts = sys.argv[1:]
def attempt(kind, host, port, device):
    with socket.socket(socket.AF_INET, kind) as one:
        one.settimeout(float(seconds))
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        try:
            if device:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
            one.connect((host, int(port)))
            one.send(b"out")
            if kind == socket.SOCK_STREAM:
                print("OUT", host, port, device)
        except OSError:
            pass
for host in hosts:
    for device in (b"", b"eth0"):
        attempt(socket.SOCK_STREAM, host, tcp, device)
        attempt(socket.SOCK_DGRAM, host, udp, device)
print("tried")
"""


@pytest.fixture(scope="module")
def machine() -> list[str]:
    """The addresses of this machine."""
    return network.addresses()


@pytest.fixture
def services() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A TCP and a UDP service on all addresses of this machine."""
    with socket.create_server(("0.0.0.0", 0)) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("0.0.0.0", 0))
        for one in (tcp, udp):
            one.setblocking(False)
        yield tcp, udp


@pytest.fixture
async def reaching(tmp_path: Path, machine: list[str]) -> AsyncIterator[Groups]:
    """An emulator whose containers may reach this machine by its first address, although it is the machine's own."""
    images = tmp_path / "images.json"
    images.write_text(json.dumps({"test/open:1": OPEN}))
    emulator = EmulatorProcess(tmp_path / "state", images, "--reachable", machine[0])
    await emulator.start()
    async with Groups(emulator.port) as groups:
        yield groups
    await emulator.stop()


async def test_an_unknown_host_to_reach_ends_the_start_with_the_reason(tmp_path: Path):
    emulator = EmulatorProcess(tmp_path / "state", tmp_path / "images.json", "--reachable", "10.0.0.0/99")
    with pytest.raises(NotReady, match=r"^containers did not start: argument --reachable: '10\.0\.0\.0/99' is not"):
        await emulator.start()


class TestEnvironment:
    async def test_variables_of_a_group_are_in_no_process_outside_of_it(self, groups: Groups):
        """The loader obeys LD_PRELOAD: bubblewrap would run a file of the container outside of the container."""
        secret = "canary-of-the-environment"
        variables = {"LD_PRELOAD": f"/{secret}.so", "GLIBC_TUNABLES": secret, "PYTHONPATH": secret, "PATH": "/usr/bin"}
        name = await groups.create(group(container("echo up; exec sleep 600", environment=variables)))
        await groups.said(name, "up")
        seen: list[bytes] = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes()
                assert secret.encode() not in words
                if name.encode() in words.split(b"\0"):
                    seen.append((folder / "environ").read_bytes())
            except OSError:  # it ended meanwhile
                continue
        assert len(seen) >= 2 and not any(seen)  # bubblewrap, its init process, and copies of it that end soon
        await groups.delete(name)

    async def test_values_keep_every_character(self, groups: Groups):
        value = 'it\'s $HOME `id`\n\\ "quoted" größer'
        name = await groups.run("printenv", "MINE", environment={"MINE": value})
        assert await groups.logs(name) == f"{value}\n"

    async def test_init_processes_keep_no_variable(self, groups: Groups):
        search = (
            "import re; secret = b'hid' + b'den-value'\n"
            "for line in open('/proc/1/maps'):\n"
            "  start, end = (int(one, 16) for one in line.split()[0].split('-'))\n"
            "  try:\n"
            "    memory = open('/proc/1/mem', 'rb'); memory.seek(start); here = memory.read(end - start)\n"
            "  except (OSError, OverflowError, ValueError): here = b''\n"
            "  assert secret not in here\n"
            "assert secret not in open('/proc/1/environ', 'rb').read(); print('nothing')"
        )
        name = await groups.run("python3", "-c", search, secure={"SECRET": "hidden-value"})
        assert await groups.logs(name) == "nothing\n"


class TestNetwork:
    async def test_nothing_of_the_machine_can_be_reached(
        self,
        groups: Groups,
        emulator: EmulatorProcess,
        services: tuple[socket.socket, socket.socket],
        machine: list[str],
    ):
        tcp, udp = (one.getsockname()[1] for one in services)
        hosts = ["127.0.0.1", "127.0.0.53", "0.0.0.0", *machine]
        name = await groups.run("python3", "-c", ATTEMPTS, str(tcp), str(udp), "0.5", *hosts)
        assert await groups.logs(name) == "tried\n"
        name = await groups.run("python3", "-c", ATTEMPTS, str(emulator.port), str(udp), "0.5", *hosts)
        assert await groups.logs(name) == "tried\n"
        self.nobody_came(services)

    @connected
    async def test_outgoing_traffic_does_not_reach_the_machine(
        self,
        groups: Groups,
        emulator: EmulatorProcess,
        services: tuple[socket.socket, socket.socket],
        machine: list[str],
    ):
        emulator.images.write_text(json.dumps({**IMAGES, "test/open:1": OPEN}))
        tcp, udp = (one.getsockname()[1] for one in services)
        hosts = ["127.0.0.1", "10.0.2.2", "10.0.2.3", "10.0.2.100", "10.0.2.255", "255.255.255.255", *machine]
        name = await groups.run("python3", "-c", ATTEMPTS, str(tcp), str(udp), "0.5", *hosts, image="test/open:1")
        assert await groups.logs(name) == "tried\n"
        self.nobody_came(services)

    @staticmethod
    def nobody_came(services: tuple[socket.socket, socket.socket]) -> None:
        tcp, udp = services
        with pytest.raises(BlockingIOError):
            tcp.accept()
        with pytest.raises(BlockingIOError):
            udp.recv(10)

    @connected
    async def test_a_named_host_can_be_reached(
        self, reaching: Groups, services: tuple[socket.socket, socket.socket], machine: list[str]
    ):
        tcp, udp = (one.getsockname()[1] for one in services)
        name = await reaching.run("python3", "-c", ATTEMPTS, str(tcp), str(udp), "30", machine[0], image="test/open:1")
        assert f"OUT {machine[0]} {tcp} b''" in await reaching.logs(name)

    @connected
    async def test_the_first_packets_wait_until_traffic_can_leave(
        self, tmp_path: Path, services: tuple[socket.socket, socket.socket], machine: list[str]
    ):
        images, slow = tmp_path / "images.json", tmp_path / "bin/slirp4netns"
        images.write_text(json.dumps({"test/open:1": OPEN}))
        slow.parent.mkdir()
        slow.write_text(f'#!/bin/sh\nPATH=/usr/bin:/bin\nsleep 2\nexec {shutil.which("slirp4netns")} "$@"\n')
        slow.chmod(0o755)
        path = {"PATH": f"{slow.parent}:{os.environ['PATH']}"}
        emulator = EmulatorProcess(tmp_path / "state", images, "--reachable", machine[0], environment=path)
        await emulator.start()
        async with Groups(emulator.port) as groups:
            port = services[1].getsockname()[1]
            send = (
                f"import socket, time; socket.socket(2, 2).sendto(b'first', ('{machine[0]}', {port})); time.sleep(600)"
            )
            await groups.create(group(container("python3", "-c", send, image="test/open:1")))
            services[1].setblocking(True)
            services[1].settimeout(30)
            assert await asyncio.to_thread(services[1].recv, 10) == b"first"
        await emulator.stop()

    @connected
    async def test_routes_cannot_be_changed(self, groups: Groups, emulator: EmulatorProcess):
        emulator.images.write_text(json.dumps({**IMAGES, "test/open:1": OPEN}))
        down = "ip link set eth0 down"
        change = f"ip route add 10.0.2.2 dev eth0; {down}; unshare --user --map-root-user {down}"
        name = await groups.run(f"PATH=$PATH:/usr/sbin; {change}; echo $?", image="test/open:1")
        log = await groups.logs(name)
        assert log.count("not permitted") == 3 and not log.endswith("\n0\n")

    async def test_groups_do_not_reach_each_other(self, groups: Groups):
        (port,) = free_ports(1)
        listen = f"import socket; socket.create_server(('0.0.0.0', {port})); print('up', flush=True); input()"
        server = await groups.create(group(container(f'sleep 600 | python3 -c "{listen}"')))
        await groups.said(server, "up")
        name = await groups.run("python3", "-c", ATTEMPTS, str(port), str(port), "0.5", "127.0.0.1")
        assert await groups.logs(name) == "tried\n"
        await groups.delete(server)


class TestProcesses:
    async def test_processes_of_the_machine_cannot_be_traced_or_entered(self, groups: Groups):
        attack = (
            "import os\n"
            f"assert not os.path.exists('/proc/1/root{ROOT}') and not os.path.exists('/proc/1/cwd{ROOT}')\n"
            "pids = [int(one) for one in os.listdir('/proc') if one.isdigit()]\n"
            "print(len(pids) < 5, any(os.path.exists(f'/proc/{one}') for one in range(100, 5000)))\n"
        )
        name = await groups.run("python3", "-c", attack)
        assert await groups.logs(name) == "True False\n"

    async def test_namespaces_of_the_machine_cannot_be_seen_with_new_rights(self, groups: Groups):
        name = await groups.run("unshare --user --map-root-user --mount sh -c 'mount -o remount,rw /usr'; echo $?")
        assert (await groups.logs(name)).splitlines()[-1] != "0"
