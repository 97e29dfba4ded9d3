"""The emulator and the supervisors are killed: containers survive, and their states are reported correctly."""

import asyncio
import contextlib
import os
import random
import signal

import pytest
from azure.core.exceptions import AzureError

from tests.infra.emulator.containers.harness import EmulatorProcess, Groups, container, eventually, group, processes


class TestServiceKilled:
    async def test_a_running_container_continues(self, own_emulator: EmulatorProcess):
        async with Groups(own_emulator.port) as groups:
            beat = "echo $SECRET; while :; do echo beat; sleep 0.05; done"
            name = await groups.create(group(container(beat, secure={"SECRET": "kept"})))
            await groups.said(name, "beat")
            started = (await groups.last(name)).start_time
            await own_emulator.kill()
            await own_emulator.start()
            before = len(await groups.logs(name))
            await eventually(lambda: groups.logs(name), lambda log: len(log) > before)
            assert (await groups.last(name)).start_time == started
            await groups.sdk.stop("tests", name)
            assert await groups.state(name) == "Stopped"

    async def test_an_exit_code_is_not_lost(self, own_emulator: EmulatorProcess):
        async with Groups(own_emulator.port) as groups:
            name = await groups.create(group(container("echo up; until test -e end; do sleep 0.02; done; exit 42")))
            await groups.said(name, "up")
            await own_emulator.kill()
            (root,) = own_emulator.state.glob("groups/*/roots/main")
            (root / "end").touch()
            await eventually(lambda: status(own_emulator), lambda status: '"exitCode": 42' in status)
            await own_emulator.start()
            assert await groups.state(name) == "Failed"
            assert (await groups.last(name)).exit_code == 42
            assert await groups.logs(name) == "up\n"

    async def test_a_container_is_restarted_while_the_service_is_down(self, own_emulator: EmulatorProcess):
        async with Groups(own_emulator.port) as groups:
            name = await groups.create(group(container("echo $SECRET", secure={"SECRET": "kept"}), policy="Always"))
            await groups.said(name, "kept")
            await own_emulator.kill()
            before = await status(own_emulator)
            await eventually(lambda: status(own_emulator), lambda now: now != before)
            await own_emulator.start()
            assert ((await groups.view(name)).restart_count or 0) >= 1
            assert set((await groups.logs(name)).split()) == {"kept"}

    async def test_a_deletion_that_was_interrupted_is_completed(self, own_emulator: EmulatorProcess):
        async with Groups(own_emulator.port) as groups:
            name = await groups.create(group(container("trap '' TERM; echo up; while :; do sleep 0.1; done")))
            await groups.said(name, "up")
            await groups.sdk.begin_delete("tests", name, polling=False)
            await own_emulator.kill()
            await own_emulator.start()
            await eventually(lambda: folders(own_emulator), lambda found: found == 0)
            assert [one async for one in groups.sdk.list()] == []

    async def test_the_remains_of_an_interrupted_deletion_are_removed(self, own_emulator: EmulatorProcess):
        await own_emulator.kill()
        (own_emulator.state / "groups/half/volumes/gone").mkdir(parents=True)
        await own_emulator.start()
        assert await folders(own_emulator) == 0

    async def test_a_stopped_group_stays_stopped_and_can_be_started(self, own_emulator: EmulatorProcess):
        async with Groups(own_emulator.port) as groups:
            body = group(container("echo $SECRET; sleep 600", secure={"SECRET": "kept"}))
            await groups.sdk.begin_create_or_update("tests", name := "at-once", body, polling=False)
            await groups.sdk.stop("tests", name)
            await own_emulator.kill()
            await own_emulator.start()
            assert await groups.state(name) == "Stopped"
            await (await groups.sdk.begin_start("tests", name)).wait()
            assert await groups.said(name, "kept") == "kept\n"

    async def test_groups_that_were_just_accepted_are_not_lost(self, own_emulator: EmulatorProcess):
        async with Groups(own_emulator.port) as groups:
            wanted = [f"early-{number}" for number in range(20)]
            body = group(container("sleep 0.2; echo done"))
            await asyncio.gather(
                *(groups.sdk.begin_create_or_update("tests", name, body, polling=False) for name in wanted)
            )
            await own_emulator.kill()
            await own_emulator.start()
            for name in wanted:
                assert await groups.ended(name) == "Succeeded"
                assert await groups.logs(name) == "done\n"


class TestServiceKilledAgainAndAgain:
    async def test_every_group_reaches_a_final_state_and_deleted_groups_leave_nothing(
        self, own_emulator: EmulatorProcess
    ):
        chance = random.Random(7)
        names = [f"any-{number}" for number in range(8)]
        commands = [
            "exit 1",
            "exec sleep 609.5",
            "(setsid sleep 609.5 &) ; sleep 0.1; exit 3",
            "trap '' TERM; sleep 609.5",
        ]
        stop = asyncio.Event()

        async def act(groups: Groups) -> None:
            """Random operations on one group."""
            sdk, options = groups.sdk, {"polling": False, "retry_total": 0}
            while not stop.is_set():
                name, policy = chance.choice(names), chance.choice(["Always", "OnFailure", "Never"])
                body = group(container(chance.choice(commands)), policy=policy)
                with contextlib.suppress(AzureError):
                    match chance.randrange(6):
                        case 0:
                            await sdk.begin_delete("tests", name, **options)
                        case 1:
                            await sdk.begin_start("tests", name, **options)
                        case 2:
                            await sdk.begin_restart("tests", name, **options)
                        case 3:
                            await sdk.stop("tests", name, retry_total=0)
                        case _:
                            await sdk.begin_create_or_update("tests", name, body, **options)
                await asyncio.sleep(chance.random() / 20)

        async with Groups(own_emulator.port) as groups:
            actors = [asyncio.create_task(act(groups)) for _ in range(4)]
            for _ in range(3):
                await asyncio.sleep(chance.uniform(0.3, 1))
                await own_emulator.kill()
                await own_emulator.start()
            stop.set()
            await asyncio.gather(*actors)

            async def restless() -> list[str | None]:
                moving = ("Pending", "Creating", "Deleting")
                return [one.name async for one in groups.sdk.list() if one.provisioning_state in moving]

            await eventually(restless, lambda found: not found)
            await asyncio.gather(*(groups.delete(name) for name in names))
            assert await folders(own_emulator) == 0
            await eventually(lambda: processes("sleep 609.5"), lambda found: not found)


class TestServiceEnded:
    async def test_its_containers_end_with_it(self, own_emulator: EmulatorProcess):
        async with Groups(own_emulator.port) as groups:
            name = await groups.create(group(container("echo up; exec sleep 606.5")))
            await groups.said(name, "up")
            await own_emulator.stop()
            assert not await processes("sleep 606.5")
            await own_emulator.start()
            assert (await groups.last(name)).exit_code == 143

    async def test_containers_with_the_policy_always_start_again(self, own_emulator: EmulatorProcess):
        async with Groups(own_emulator.port) as groups:
            long = container("echo $SECRET; exec sleep 600", secure={"SECRET": "kept"})
            name = await groups.create(group(long, policy="Always"))
            await groups.said(name, "kept")
            await own_emulator.stop()
            await own_emulator.start()
            await eventually(lambda: groups.state(name), lambda state: state == "Running")
            assert await groups.said(name, "kept") == "kept\n"


class TestSupervisorKilled:
    async def test_its_containers_end_and_are_reported_as_killed(self, own_emulator: EmulatorProcess):
        async with Groups(own_emulator.port) as groups:
            name = await groups.create(group(container("echo up; exec sleep 607.5")))
            await groups.said(name, "up")
            os.kill(supervisor(own_emulator), signal.SIGKILL)
            assert await groups.ended(name) == "Failed"
            assert (await groups.last(name)).exit_code == 137
            await eventually(lambda: processes("sleep 607.5"), lambda found: not found)

    @pytest.mark.parametrize("own_emulator", [("--kill-after", "0.2")], indirect=True, ids=["killed soon"])
    async def test_a_group_with_a_hanging_supervisor_can_be_deleted(self, own_emulator: EmulatorProcess):
        async with Groups(own_emulator.port) as groups:
            name = await groups.create(group(container("echo up; exec sleep 608.5")))
            await groups.said(name, "up")
            os.kill(supervisor(own_emulator), signal.SIGSTOP)
            await groups.delete(name)
            assert await folders(own_emulator) == 0
            await eventually(lambda: processes("sleep 608.5"), lambda found: not found)


async def status(emulator: EmulatorProcess) -> str:
    """The status file of the only group."""
    (only,) = emulator.state.glob("groups/*/status.json")
    return only.read_text()


def supervisor(emulator: EmulatorProcess) -> int:
    """The process id of the supervisor of the only group."""
    (only,) = emulator.state.glob("groups/*/lock")
    return int(only.read_text())


async def folders(emulator: EmulatorProcess) -> int:
    return len(list(emulator.state.glob("groups/*")))
