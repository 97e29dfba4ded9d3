"""Restart policies, and groups of several containers."""

import itertools

from azure.mgmt.containerinstance.models import (
    InitContainerDefinition,
    Volume,
    VolumeMount,
)

from infra.emulator.processes import free_ports
from tests.infra.emulator.containers.harness import Groups, container, eventually, group

COUNT = "echo again >> count/runs; test $(wc -l < count/runs) -ge 3"
"""Fails twice, then succeeds; the volume `count` outlives the runs."""


def counted(command: str, policy: str):
    mount = VolumeMount(name="count", mount_path="/count")
    return group(container(command, volume_mounts=[mount]), policy=policy, volumes=[Volume(name="count", empty_dir={})])


class TestPolicy:
    async def test_with_never_a_container_runs_once(self, groups: Groups):
        name = await groups.run("exit 1")
        view = await groups.view(name)
        assert view.restart_count == 0 and view.previous_state is None

    async def test_on_failure_runs_again_until_it_succeeds(self, groups: Groups):
        name = await groups.create(counted(COUNT, "OnFailure"))
        await eventually(lambda: groups.state(name), lambda state: state == "Succeeded")
        view = await groups.view(name)
        assert view.restart_count == 2 and view.current_state and view.current_state.exit_code == 0
        assert view.previous_state and view.previous_state.exit_code == 1

    async def test_on_failure_does_not_run_again_after_a_success(self, groups: Groups):
        name = await groups.create(group(container("exit 0"), policy="OnFailure"))
        assert await groups.ended(name) == "Succeeded"
        assert (await groups.view(name)).restart_count == 0

    async def test_always_runs_again_after_a_success(self, groups: Groups):
        name = await groups.create(group(container("exit 0"), policy="Always"))
        view = await eventually(lambda: groups.view(name), lambda view: (view.restart_count or 0) >= 2)
        started = [one for one in view.events or [] if one.name == "Started"]
        assert [(one.message, (one.count or 0) >= 2) for one in started] == [("Started container", True)]
        await groups.delete(name)

    async def test_each_restart_waits_longer(self, groups: Groups):
        name = await groups.create(group(container("date +%s.%N; exit 1"), policy="Always"))
        state = await eventually(lambda: groups.last(name), lambda state: state.state == "Waiting")
        assert (state.detail_status or "").startswith("CrashLoopBackOff")
        log = await eventually(lambda: groups.logs(name), lambda log: log.count("\n") >= 4)
        times = [float(line) for line in log.splitlines()]
        for number, (one, next_) in enumerate(itertools.pairwise(times)):
            assert next_ - one >= 0.1 * 2**number
        await groups.delete(name)

    async def test_a_group_that_is_stopped_before_its_restart_shows_the_last_end(self, groups: Groups):
        name = await groups.create(group(container("exit 7"), policy="Always"))
        await eventually(lambda: groups.view(name), lambda view: view.restart_count == 3)
        await eventually(lambda: groups.last(name), lambda state: state.state == "Waiting")
        await groups.sdk.stop("tests", name)
        state = await groups.last(name)
        assert (state.state, state.exit_code) == ("Terminated", 7)


class TestSeveralContainers:
    async def test_containers_share_localhost_but_not_files(self, groups: Groups):
        (port,) = free_ports(1)
        serve = f"mkdir www; echo found > www/file; cd www; exec python3 -m http.server {port} --bind 127.0.0.1"
        ask = (
            f"import urllib.request as u,time,os\nfor i in range(200):\n"
            f"  try: print(u.urlopen('http://127.0.0.1:{port}/file').read().decode(), os.path.exists('www')); break\n"
            f"  except OSError: time.sleep(0.05)"
        )
        name = await groups.create(
            group(container(serve, name="server"), container("python3", "-c", ask, name="client"))
        )
        assert await groups.said(name, "found", "client") == "found\n False\n"
        assert await groups.state(name) == "Running"
        await groups.delete(name)

    async def test_the_group_fails_when_one_container_fails(self, groups: Groups):
        name = await groups.create(group(container("exit 0", name="good"), container("exit 4", name="bad")))
        assert await groups.ended(name) == "Failed"
        assert ((await groups.last(name, "good")).exit_code, (await groups.last(name, "bad")).exit_code) == (0, 4)

    async def test_init_containers_run_first_and_in_order(self, groups: Groups):
        slow = InitContainerDefinition(name="first", image="test/shell:1", command=["/bin/sh", "-c", "sleep 0.3"])
        second = InitContainerDefinition(name="second", image="test/shell:1", command=["/bin/sh", "-c", "true"])
        name = await groups.create(group(container("true"), init_containers=[slow, second]))
        await groups.ended(name)
        first, then, last = [await groups.last(name, one) for one in ("first", "second", "main")]
        assert first.finish_time and then.start_time and then.finish_time and last.start_time
        assert first.finish_time <= then.start_time <= then.finish_time <= last.start_time

    async def test_no_container_runs_after_a_failed_init_container(self, groups: Groups):
        bad = InitContainerDefinition(name="bad", image="test/shell:1", command=["/bin/sh", "-c", "exit 6"])
        name = await groups.create(group(container("true"), init_containers=[bad]))
        assert await groups.ended(name) == "Failed"
        assert (await groups.last(name, "bad")).exit_code == 6
        assert (await groups.last(name)).state == "Waiting"
