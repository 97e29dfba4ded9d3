"""What a container can reach of the machine and of other containers, with and without a sandbox."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from azure.mgmt.containerinstance.models import ContainerPort, IpAddress, Port, Volume, VolumeMount

from infra.emulator.processes import ROOT
from tests.infra.emulator.containers.harness import (
    IMAGES,
    EmulatorProcess,
    Groups,
    container,
    eventually,
    group,
    processes,
    sandboxed,
)


@pytest.fixture(scope="module")
async def plain_machine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmulatorProcess]:
    """An emulator with an installed bubblewrap that cannot create namespaces."""
    folder = tmp_path_factory.mktemp("plain")
    images, bwrap = folder / "images.json", folder / "bin/bwrap"
    images.write_text(json.dumps(IMAGES))
    bwrap.parent.mkdir()
    bwrap.write_text("#!/bin/sh\necho No permissions to create a new namespace >&2; exit 1\n")
    bwrap.chmod(0o755)
    emulator = EmulatorProcess(folder / "state", images, environment={"PATH": str(bwrap.parent)})
    await emulator.start()
    yield emulator
    await emulator.stop()


@pytest.fixture(scope="module")
async def plain(plain_machine: EmulatorProcess) -> AsyncIterator[Groups]:
    async with Groups(plain_machine.port) as groups:
        yield groups


@pytest.fixture(params=["sandbox", "plain"])
def either(request: pytest.FixtureRequest, groups: Groups, plain: Groups) -> Groups:
    return groups if request.param == "sandbox" else plain


async def answers(address: str, port: int) -> bool:
    """Whether something listens there."""
    try:
        (await asyncio.open_connection(address, port))[1].close()
    except ConnectionRefusedError:
        return False
    return True


class TestEither:
    async def test_the_environment_has_only_the_variables_of_the_group(self, either: Groups):
        name = await either.run("env", "-0", environment={"MINE": "a b\nc"})
        variables = dict(line.split("=", 1) for line in (await either.logs(name)).rstrip("\0").split("\0"))
        assert variables.pop("MINE") == "a b\nc"
        assert variables.keys() - {"PWD"} == {"PATH", "HOME", "TMPDIR", "LANG"}

    async def test_home_and_temporary_folder_can_be_written(self, either: Groups):
        name = await either.run("echo here > here; echo home > $HOME/file; echo t > $TMPDIR/file; cat here $HOME/file")
        assert await either.logs(name) == "here\nhome\n"

    async def test_all_processes_end_with_the_command(self, either: Groups):
        name = await either.run("(setsid sleep 603.5 &) ; sleep 604.5 & echo begun")
        assert await either.logs(name) == "begun\n"
        assert not await processes("sleep 603.5") and not await processes("sleep 604.5")

    async def test_stop_kills_processes_that_ignore_the_signal(self, either: Groups):
        stubborn = "trap '' TERM; (setsid sleep 605.5 &) ; echo up; while :; do sleep 0.1; done"
        name = await either.create(group(container(stubborn)))
        await either.said(name, "up")
        await either.sdk.stop("tests", name)
        assert (await either.last(name)).exit_code == 137
        assert not await processes("sleep 605.5")


@sandboxed
class TestSandbox:
    async def test_the_source_tree_cannot_be_seen(self, groups: Groups):
        name = await groups.run(f"ls {ROOT}")
        assert (await groups.last(name)).exit_code == 2
        assert "No such file" in await groups.logs(name)

    async def test_paths_of_the_image_are_readable_and_read_only(self, groups: Groups, emulator: EmulatorProcess):
        program = emulator.state.parent / "program.sh"
        program.write_text("echo ran with $1\n")
        image = {"entrypoint": ["/bin/sh", str(program), "one"], "read_only": [str(program)], "working_dir": "/srv/it"}
        emulator.images.write_text(json.dumps({**IMAGES, "test/program:1": image}))
        name = await groups.run(image="test/program:1")
        assert await groups.logs(name) == "ran with one\n"
        name = await groups.run(f"pwd; echo changed > {program}", image="test/program:1")
        assert (await groups.logs(name)).startswith("/srv/it\n") and "Read-only" in await groups.logs(name)
        assert program.read_text() == "echo ran with $1\n"

    async def test_the_programs_of_the_machine_cannot_be_changed(self, groups: Groups):
        name = await groups.run("touch /usr/bin/mine /bin/mine; mount -t tmpfs none /usr; echo $?")
        assert "Read-only" in await groups.logs(name) and not Path("/usr/bin/mine").exists()
        assert (await groups.logs(name)).splitlines()[-1] != "0"

    async def test_users_and_other_processes_cannot_be_seen(self, groups: Groups):
        name = await groups.run("cat /etc/shadow; wc -l < /etc/passwd; hostname; id -u; echo /proc/[0-9]* | wc -w")
        refused, users, host, user, count = (await groups.logs(name)).splitlines()
        assert "/etc/shadow: No such file" in refused
        assert (users, host, user) == ("2", name, "0") and int(count) < 8

    async def test_files_of_other_containers_cannot_be_seen(self, groups: Groups, emulator: EmulatorProcess):
        name = await groups.run(f"echo mine > /tmp/mine; ls {emulator.state}")
        assert "No such file" in await groups.logs(name)
        other = await groups.run("ls /tmp")
        assert await groups.logs(other) == ""


class TestPlain:
    async def test_the_log_warns_that_containers_are_not_isolated(self, plain: Groups, plain_machine: EmulatorProcess):
        log = plain_machine.log.read_text()
        assert "NOTHING CONTAINS" in log and "No permissions to create a new namespace" in log

    async def test_volumes_are_below_the_working_folder(self, plain: Groups):
        volume = Volume(name="keys", secret={"token": "aGlkZGVu"})
        reader = container("cat deep/in/token", volume_mounts=[VolumeMount(name="keys", mount_path="/deep/in/")])
        name = await plain.create(group(reader, volumes=[volume]))
        await plain.ended(name)
        assert await plain.logs(name) == "hidden"

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux has more than one loopback address")
    async def test_a_group_listens_on_its_own_address_itself(self, plain: Groups):
        serve = container(
            'echo "on $LOCAL_ADDRESS"; exec python3 -m http.server 8082 --bind $LOCAL_ADDRESS',
            ports=[ContainerPort(port=8082)],
        )
        names = [
            await plain.create(group(serve, ip_address=IpAddress(ports=[Port(port=8082)], type="Public")))
            for _ in range(2)
        ]
        for name in names:
            address = (await plain.get(name)).ip_address
            assert address and address.ip
            assert await plain.said(name, f"on {address.ip}")
            await eventually(lambda ip=address.ip: answers(ip, 8082), lambda found: found)
        await asyncio.gather(*map(plain.delete, names))

    async def test_exit_codes_are_those_of_a_shell(self, plain: Groups, tmp_path: Path):
        script = tmp_path / "script"
        script.write_text("not executable")
        missing, forbidden = await plain.run("no-such-program", "x"), await plain.run(str(script), "x")
        assert (await plain.last(missing)).exit_code == 127
        assert (await plain.last(forbidden)).exit_code == 126
        assert (await plain.last(await plain.run("kill -KILL $$"))).exit_code == 137

    async def test_orphans_end_with_the_supervisor(self, plain: Groups, plain_machine: EmulatorProcess):
        name = await plain.create(group(container("(setsid sleep 606.75 &) ; echo up; sleep 600")))
        await plain.said(name, "up")
        (supervisor,) = [
            int((folder / "lock").read_text())
            for folder in plain_machine.state.glob("groups/*")
            if json.loads((folder / "group.json").read_text())["name"] == name
        ]
        os.kill(supervisor, signal.SIGKILL)
        await eventually(lambda: processes("sleep 606.75"), lambda found: not found)
        assert (await plain.last(name)).exit_code == 137

    async def test_memory_is_limited_without_a_sandbox_too(self, plain: Groups):
        hungry = "held = bytearray(300 << 20); held[::4096] = b'x' * len(held[::4096]); import time; time.sleep(600)"
        name = await plain.create(group(container("python3", "-c", hungry, memory=0.1)))
        await plain.ended(name)
        assert (await plain.last(name)).detail_status == "OOMKilled"
