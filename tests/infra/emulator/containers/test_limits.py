"""The requested resources of a container are its limits."""

from tests.infra.emulator.containers.harness import Groups, container, group

MEBIBYTES = "import time; held = bytearray({} << 20); held[::4096] = b'x' * len(held[::4096]); print('held'); {}"


class TestMemory:
    async def test_a_container_above_its_request_is_killed(self, groups: Groups):
        hungry = MEBIBYTES.format(300, "time.sleep(600)")
        name = await groups.create(group(container("python3", "-c", hungry, memory=0.1)))
        assert await groups.ended(name) == "Failed"
        state = await groups.last(name)
        assert (state.exit_code, state.detail_status) == (137, "OOMKilled")
        events = [(one.name, one.type) for one in (await groups.view(name)).events or []]
        assert ("OOMKilled", "Warning") in events

    async def test_all_processes_of_a_container_count(self, groups: Groups):
        part = MEBIBYTES.format(70, "time.sleep(600)")
        name = await groups.create(group(container(f'for i in 1 2; do python3 -c "{part}" & done; wait', memory=0.1)))
        await groups.ended(name)
        assert (await groups.last(name)).detail_status == "OOMKilled"

    async def test_a_container_below_its_request_runs_to_its_end(self, groups: Groups):
        modest = MEBIBYTES.format(100, "time.sleep(0.6)")
        name = await groups.run("python3", "-c", modest, memory=0.5)
        assert (await groups.last(name)).exit_code == 0

    async def test_reserved_address_space_is_not_memory(self, groups: Groups):
        name = await groups.run("node", "-e", "console.log(process.version[0])", memory=0.3)
        assert await groups.logs(name) == "v\n"


class TestProcessor:
    async def test_a_container_has_the_cores_of_its_request(self, groups: Groups):
        name = await groups.run("nproc")
        assert await groups.logs(name) == "1\n"

    async def test_the_processor_seconds_of_the_image_are_a_limit(self, groups: Groups):
        name = await groups.run("while :; do :; done", image="test/limited:1")
        assert (await groups.last(name)).exit_code in (137, 152)  # SIGKILL or SIGXCPU


class TestFiles:
    async def test_the_size_of_a_file_is_limited(self, groups: Groups):
        name = await groups.run("head -c 2000000 /dev/zero > file; wc -c < file", image="test/limited:1")
        assert (await groups.logs(name)).splitlines()[-1] == "1000000"

    async def test_signals_that_python_ignores_reach_a_container(self, groups: Groups):
        name = await groups.run("(yes; echo $? >&2) | head -n 1; sleep 0.1")
        assert sorted((await groups.logs(name)).split()) == ["141", "y"]

    async def test_the_number_of_open_files_is_limited(self, groups: Groups):
        name = await groups.run("ulimit -n", image="test/limited:1")
        assert await groups.logs(name) == "20\n"
