"""The life of a container group, from its creation to its deletion."""

import pytest
from azure.core.exceptions import ResourceNotFoundError

from tests.infra.emulator.containers.harness import EmulatorProcess, Groups, container, group, processes


class TestCreate:
    async def test_a_command_runs_and_its_exit_code_is_reported(self, groups: Groups):
        name = await groups.run("echo out; echo err >&2; exit 5")
        state = await groups.last(name)
        assert (state.state, state.exit_code, state.detail_status) == ("Terminated", 5, "Error")
        assert state.start_time and state.finish_time and state.start_time <= state.finish_time
        assert sorted((await groups.logs(name)).split()) == ["err", "out"]
        assert await groups.state(name) == "Failed"

    async def test_without_a_command_the_entry_point_of_the_image_runs(self, groups: Groups):
        name = await groups.run()
        assert await groups.logs(name) == "the entry point\n"
        assert await groups.state(name) == "Succeeded"

    async def test_a_missing_command_ends_with_127(self, groups: Groups):
        name = await groups.run("no-such-program", "argument")
        assert (await groups.last(name)).exit_code == 127

    async def test_a_killed_command_ends_with_128_plus_the_signal(self, groups: Groups):
        name = await groups.run("kill -SEGV $$")
        assert (await groups.last(name)).exit_code == 139

    async def test_secure_values_reach_only_the_container(self, groups: Groups, emulator: EmulatorProcess):
        name = await groups.run("echo $PLAIN-$SECURE", environment={"PLAIN": "one"}, secure={"SECURE": "hidden-7"})
        assert await groups.logs(name) == "one-hidden-7\n"
        (only,) = (await groups.get(name)).containers
        assert [(v.name, v.value, v.secure_value) for v in only.environment_variables or []] == [
            ("PLAIN", "one", None),
            ("SECURE", None, None),
        ]
        holders = [
            file
            for file in emulator.state.rglob("*")
            if file.is_file() and "/logs/" not in str(file) and b"hidden-7" in file.read_bytes()
        ]
        assert all(file.stat().st_mode & 0o777 == 0o600 for file in holders)
        assert all(file.parent.stat().st_mode & 0o777 == 0o700 for file in holders)


class TestStop:
    async def test_the_containers_end_and_the_group_stays(self, groups: Groups):
        name = await groups.create(group(container("echo up; sleep 600"), policy="Always"))
        await groups.said(name, "up")
        await groups.sdk.stop("tests", name)
        assert await groups.state(name) == "Stopped"
        assert (await groups.last(name)).state == "Terminated"

    async def test_a_container_that_has_just_started_gets_the_signal_too(self, groups: Groups):
        body = group(container("exec sleep 600"))
        await groups.sdk.begin_create_or_update("tests", "hardly-begun", body, polling=False)
        await groups.sdk.stop("tests", "hardly-begun")
        assert (await groups.last("hardly-begun")).exit_code == 143

    async def test_a_container_that_ignores_the_signal_is_killed(self, groups: Groups):
        name = await groups.create(group(container("trap '' TERM; echo up; while :; do sleep 0.1; done")))
        await groups.said(name, "up")
        await groups.sdk.stop("tests", name)
        assert (await groups.last(name)).exit_code == 137

    async def test_a_container_can_handle_the_signal(self, groups: Groups):
        name = await groups.create(group(container("trap 'echo bye; exit 9' TERM; echo up; sleep 600 & wait")))
        await groups.said(name, "up")
        await groups.sdk.stop("tests", name)
        assert (await groups.last(name)).exit_code == 9
        assert await groups.logs(name) == "up\nbye\n"


class TestStart:
    async def test_a_stopped_group_runs_again_with_its_secrets(self, groups: Groups):
        name = await groups.create(group(container("echo $SECRET; sleep 600", secure={"SECRET": "kept"})))
        await groups.said(name, "kept")
        await groups.sdk.stop("tests", name)
        await (await groups.sdk.begin_start("tests", name)).wait()
        assert await groups.state(name) == "Running"
        assert await groups.said(name, "kept") == "kept\n"
        await groups.delete(name)


class TestRestart:
    async def test_the_containers_start_again_with_new_files(self, groups: Groups):
        name = await groups.create(group(container("ls $TMPDIR; touch $TMPDIR/before; echo up; sleep 600")))
        await groups.said(name, "up")
        first = await groups.last(name)
        await (await groups.sdk.begin_restart("tests", name)).wait()
        assert await groups.said(name, "up") == "up\n"
        second = await groups.last(name)
        assert first.start_time and second.start_time and second.start_time > first.start_time
        await groups.delete(name)


class TestDelete:
    async def test_no_process_and_no_file_is_left(self, groups: Groups, emulator: EmulatorProcess):
        before = set(emulator.state.glob("groups/*"))
        name = await groups.create(group(container("echo up; sleep 600")))
        await groups.said(name, "up")
        await groups.delete(name)
        with pytest.raises(ResourceNotFoundError):
            await groups.get(name)
        assert set(emulator.state.glob("groups/*")) == before

    async def test_write_protected_folders_are_removed_too(self, groups: Groups, emulator: EmulatorProcess):
        name = await groups.run("mkdir -p kept/deep; touch kept/deep/file; chmod -R 500 kept")
        before = len(list(emulator.state.glob("groups/*")))
        await groups.delete(name)
        assert len(list(emulator.state.glob("groups/*"))) == before - 1

    async def test_processes_that_left_the_session_end_too(self, groups: Groups):
        name = await groups.create(group(container("(setsid sleep 601.5 &) ; echo up; sleep 600")))
        await groups.said(name, "up")
        assert await processes("sleep 601.5")
        await groups.delete(name)
        assert not await processes("sleep 601.5")

    async def test_deleting_an_unknown_group_succeeds(self, groups: Groups):
        await groups.delete("never-created")


class TestList:
    async def test_a_resource_group_has_its_own_groups(self, groups: Groups):
        await groups.create(group(container("true"), tags={"job": "7"}), "mine", "one-of-two")
        await groups.create(group(container("true")), "theirs", "two-of-two")
        assert [one.name async for one in groups.sdk.list_by_resource_group("One-Of-Two")] == ["mine"]
        tagged = [one.name async for one in groups.sdk.list() if (one.tags or {}).get("job") == "7"]
        assert tagged == ["mine"]


class TestLogs:
    async def test_the_last_lines_can_be_requested(self, groups: Groups):
        name = await groups.run("echo one; echo two; printf three")
        assert await groups.logs(name) == "one\ntwo\nthree"
        assert await groups.logs(name, tail=2) == "two\nthree"

    async def test_a_line_can_be_read_before_it_ends(self, groups: Groups):
        name = await groups.create(group(container("printf begun; sleep 600")))
        assert await groups.said(name, "begun") == "begun"
        await groups.delete(name)

    async def test_the_newest_output_is_kept(self, groups: Groups):
        program = "for number in range(1_000_000): print(number)"
        name = await groups.run("python3", "-c", program)
        log = await groups.logs(name)
        assert len(log) == 4 * 1024 * 1024 and log.endswith("999998\n999999\n")
        assert log.splitlines()[1:] == [str(number) for number in range(1_000_000 - log.count("\n") + 1, 1_000_000)]

    async def test_output_that_is_not_text_is_replaced(self, groups: Groups):
        name = await groups.run(r"printf 'a\377\0b\rc\nlast'")
        assert await groups.logs(name) == "a\ufffd\0b\rc\nlast"
        assert await groups.logs(name, tail=1) == "last"

    async def test_lines_can_have_timestamps(self, groups: Groups):
        name = await groups.run("echo one; echo two")
        first, second = (await groups.logs(name, timestamps=True)).splitlines()
        assert first[:4].isdigit() and first.endswith("Z one") and second.endswith("Z two")
