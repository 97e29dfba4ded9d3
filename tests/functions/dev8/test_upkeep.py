"""The timers: idle environments, interrupted orders, and records that do not agree with what exists."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.dev8 import layout, lifecycle, reconciliation, settle, timers
from functions.dev8.lifecycle import OrderFailed
from functions.dev8.reconciliation import reconcile
from functions.dev8.records import (
    CREATING,
    DELETING,
    ERROR,
    RUNNING,
    STARTING,
    STOPPING,
    CloudProvider,
    DevEnvironment,
    EnvironmentStatus,
    Orphan,
)
from functions.dev8.settle import look
from functions.dev8.store import environments, orphans
from functions.dev8.timers import settle_interrupted, stop_idle
from infra.local.environment import Environment
from shared import containers, shares, tables
from shared.container_groups import ContainerPhase, ContainerSpec, ContainerStatus, GroupSpec, GroupStatus
from shared.workflows import WorkflowClient
from tests.support.dev8 import Dev8, share_folder
from tests.support.environments import connected
from tests.support.groups import groups
from tests.support.waiting import eventually

ACCOUNT = "dev8shares"
LONG_AGO = datetime.now(UTC) - timedelta(hours=2)


@pytest.fixture(autouse=True)
async def here(app: None) -> AsyncIterator[None]:
    """This process is a part of the app."""
    yield


class Inline(WorkflowClient):
    """Runs the workflow of an order in this process; `started` are the orders."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.running: list[asyncio.Task[None]] = []

    async def status(self, instance_id: str) -> str | None:
        return None

    async def start(self, name: str, instance_id: str, value: Any = None) -> None:
        self.started.append(value["id"])
        self.running.append(asyncio.create_task(self.run(value)))

    async def run(self, order: dict[str, Any]) -> None:
        async with asyncio.timeout(60):
            while not await look(order["id"], order["order"]):
                await asyncio.sleep(0.2)

    async def ended(self) -> None:
        await asyncio.gather(*self.running)


@pytest.fixture
async def alerts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is reported to people."""
    messages: list[str] = []

    async def report(cause: str, message: str) -> None:
        messages.append(message)

    monkeypatch.setattr("shared.faults.reporters", [report])
    return messages


async def change(environment_id: str, **members: Any) -> None:
    def apply(record: DevEnvironment) -> None:
        for name, value in members.items():
            setattr(record, name, value)

    await environments.update(environment_id, apply)


def new(**members: Any) -> DevEnvironment:
    given: dict[str, Any] = {"cpu_cores": 1, "memory_gb": 1, "storage_gb": 10, "base_image": "x", "name": "x"}
    return DevEnvironment(**given, cloud_provider=CloudProvider.AZURE, cloud_region="eastus", **members)


async def inserted(status: EnvironmentStatus, **members: Any) -> DevEnvironment:
    return await environments.insert(new(status=status, moved_at=LONG_AGO, **members))


def shows(state: str, provisioning: str = "Succeeded", **codes: int | None) -> Callable[[str], Awaitable[GroupStatus]]:
    """A service with a group in this state; `codes` are the exit codes of its containers, None for one that runs."""
    containers = {
        name: ContainerStatus(ContainerPhase.RUNNING if code is None else ContainerPhase.TERMINATED, code)
        for name, code in codes.items()
    }

    async def asked(name: str) -> GroupStatus:
        return GroupStatus(provisioning, state, containers, ip="127.8.0.1")

    return asked


class Only:
    """The store as if these were its only records."""

    def __init__(self, *records: DevEnvironment):
        self.records = {each.id: each for each in records}

    async def all(self) -> AsyncIterator[DevEnvironment]:
        for each in self.records.values():
            yield each

    async def get(self, environment_id: str) -> DevEnvironment:
        return self.records.get(environment_id) or await environments.get(environment_id)


@pytest.fixture
def ordered(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What the service is asked to do with a group; it does nothing."""
    asks: list[tuple[str, str]] = []

    async def stop(name: str) -> None:
        asks.append(("stop", name))

    async def remove(name: str) -> None:
        asks.append(("remove", name))

    monkeypatch.setattr(containers, "stop", stop)
    monkeypatch.setattr(containers, "remove", remove)
    return asks


class Twenty:
    """A store with twenty idle environments."""

    async def all(self, **where: Any) -> AsyncIterator[DevEnvironment]:
        for number in range(20):
            yield DevEnvironment.model_construct(id=f"{number}")


class TestIdle:
    async def test_an_environment_without_connections_for_long_is_stopped_and_others_are_not(self, dev8: Dev8):
        idle, used, silent = await asyncio.gather(*(dev8.running() for _ in range(3)))
        await dev8.report(idle["id"])
        await dev8.report(used["id"], ide=1)
        await stop_idle(early := Inline())
        assert idle["id"] not in early.started
        await change(idle["id"], idle_since=datetime.now(UTC) - timedelta(minutes=30, seconds=1))
        async with connected(DEV8_IDLE_MINUTES="0"):
            assert await stop_idle(early) is None
        done = await stop_idle(workflows := Inline())
        assert (done, workflows.started) == ("stopped 1 idle environments", [idle["id"]])
        await workflows.ended()
        statuses = [(await dev8.get(each["id"]))["status"] for each in (idle, used, silent)]
        assert statuses == ["STOPPED", "RUNNING", "RUNNING"]
        await asyncio.gather(*(dev8.drop(each["id"]) for each in (idle, used, silent)))

    @pytest.mark.parametrize(
        ("cause", "asked"),
        [
            (containers.ContainersUnavailable("no answer"), 8),
            (TimeoutError(), 8),
            (containers.ContainerRefused("no"), 20),
            (containers.ContainersBusy("a conflict of one group"), 20),
        ],
    )
    async def test_several_are_stopped_at_once_until_the_container_service_does_not_answer(
        self, monkeypatch: pytest.MonkeyPatch, cause: Exception, asked: int
    ):
        together, asks = asyncio.Barrier(4), list[str]()

        async def stop(environment_id: str, *given: Any) -> None:
            asks.append(environment_id)
            await together.wait()
            raise OrderFailed("failed") from cause

        monkeypatch.setattr(timers, "environments", Twenty())
        monkeypatch.setattr(lifecycle, "stop", stop)
        async with asyncio.timeout(60):
            assert await stop_idle(Inline()) is None
        assert len(asks) == asked

    async def test_what_is_left_after_a_while_waits_for_the_next_minute(self, monkeypatch: pytest.MonkeyPatch):
        async def stop(*given: Any) -> None:
            return None

        monkeypatch.setattr(timers, "environments", Twenty())
        monkeypatch.setattr(lifecycle, "stop", stop)
        monkeypatch.setattr(timers, "SECONDS", -1.0)
        assert await stop_idle(Inline()) == "stopped 8 idle environments"


class TestInterrupted:
    async def test_a_creation_without_a_group_ends_in_an_error_and_can_be_deleted_at_once(self, alerts: list[str]):
        made = await inserted(CREATING)
        await settle_interrupted(workflows := Inline())
        assert made.id in workflows.started
        await workflows.ended()
        found = await environments.get(made.id)
        assert (found.status, found.failure.partition(":")[0]) == (
            "ERROR",
            "its creation was interrupted before the container service had accepted it",
        )
        assert [message for message in alerts if made.id in message]
        deleted = await environments.update(made.id, DevEnvironment.begin_deletion)
        assert await look(made.id, deleted.order)  # the interrupted request is not waited for a second time
        with pytest.raises(tables.RecordNotFound):
            await environments.get(made.id)

    async def test_a_young_order_is_left_to_its_request(self):
        made = await inserted(CREATING)
        await change(made.id, moved_at=datetime.now(UTC))
        await settle_interrupted(workflows := Inline())
        assert made.id not in workflows.started
        assert not await look(made.id, made.order)
        await environments.delete(made.id)

    async def test_a_creation_that_is_repeated_late_is_left_to_its_request_too(self, monkeypatch: pytest.MonkeyPatch):
        with tables.repeatable(LONG_AGO, lambda: "a key"):
            repeated = new()
        assert repeated.created_at <= LONG_AGO < repeated.moved_at
        made, workflows, during = await inserted(CREATING), Inline(), Inline()

        async def place(*given: Any) -> None:
            await settle_interrupted(during)

        monkeypatch.setattr(lifecycle, "_place", place)
        await lifecycle.create(made.model_copy(), {}, workflows)
        assert made.id not in during.started and workflows.started == [made.id]
        await workflows.ended()

    async def test_an_order_whose_workflow_has_ended_is_seen_through_by_the_timer(self, dev8: Dev8):
        made = await dev8.running()
        await change(made["id"], status=DELETING, moved_at=LONG_AGO)  # the order whose workflow has just ended
        answer = await dev8.http.post(dev8.http.base_url.join("/admin/functions/maintenance_minute"), json={})
        assert answer.status_code == 202
        await dev8.reach(made["id"], "gone")

    async def test_one_whose_creating_request_died_is_stopped_without_waiting_for_that(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        made = await inserted(CREATING)
        monkeypatch.setattr(settle, "state", shows("Running"))
        assert await look(made.id, made.order)
        stopping = await environments.update(made.id, DevEnvironment.begin_stop)
        monkeypatch.setattr(settle, "state", shows("Stopped"))
        assert await look(made.id, stopping.order)
        assert (await environments.get(made.id)).status == "STOPPED"

    async def test_a_start_is_not_judged_by_the_failure_of_the_one_before(self, monkeypatch: pytest.MonkeyPatch):
        made = await inserted(STARTING, in_creation=False)
        await change(made.id, moved_at=datetime.now(UTC))
        monkeypatch.setattr(settle, "state", shows("Stopped", provisioning="Failed"))
        assert not await look(made.id, made.order)
        await change(made.id, moved_at=LONG_AGO)
        assert await look(made.id, made.order)
        assert (await environments.get(made.id)).status == "STOPPED"

    async def test_an_order_that_is_refused_for_long_raises_an_alert_and_is_repeated_rarely(
        self, monkeypatch: pytest.MonkeyPatch, alerts: list[str]
    ):
        async def locked(name: str) -> None:
            raise containers.ContainersBusy("it is locked")

        made = await inserted(STOPPING, in_creation=False)
        monkeypatch.setattr(settle, "state", locked)
        assert not await look(made.id, made.order)
        [alert] = alerts
        assert alert.startswith(f"Environment {made.id} has been STOPPING for 12") and alert.endswith("it is locked")
        await change(made.id, moved_at=datetime.now(UTC))
        assert not await look(made.id, made.order)
        assert len(alerts) == 1
        assert settle.pause_after(99) < settle.pause_after(100) == 60
        await environments.delete(made.id)

    async def test_a_start_that_leads_to_nothing_leaves_it_stopped(self, dev8: Dev8, alerts: list[str]):
        made = await dev8.stopped()
        await change(made["id"], status=STARTING, moved_at=LONG_AGO, order=9)
        assert await look(made["id"], 9)
        found = await environments.get(made["id"])
        assert (found.status, found.failure) == ("STOPPED", "its containers have ended")
        assert [message for message in alerts if made["id"] in message]
        await dev8.order(made["id"], "start")
        await dev8.reach(made["id"], "RUNNING")
        await dev8.drop(made["id"])

    async def test_a_creation_that_never_runs_ends_in_an_error_without_its_group(self, stack: Environment, dev8: Dev8):
        made = await dev8.running()
        await containers.stop(made["id"])
        await change(made["id"], status=CREATING, moved_at=LONG_AGO, order=9)

        async def looked() -> bool:
            return await look(made["id"], 9)

        await eventually(looked)
        assert (await dev8.get(made["id"]))["status"] == "ERROR"
        assert made["id"] not in await groups(stack)
        assert not share_folder(stack, made["id"]).exists()
        await dev8.drop(made["id"])


class TestReconcile:
    async def test_records_follow_what_the_platform_or_somebody_else_has_done(
        self, stack: Environment, dev8: Dev8, alerts: list[str]
    ):
        deleted, halted, moved, woken = await asyncio.gather(*(dev8.running() for _ in range(4)))
        await asyncio.gather(containers.remove(deleted["id"]), containers.stop(halted["id"]))
        await change(moved["id"], ip="127.8.255.1")
        await change(woken["id"], status="STOPPED")

        async def left() -> list[str]:
            return await groups(stack)

        await eventually(left, until=lambda found: deleted["id"] not in found)
        await reconcile(Inline())
        assert (await dev8.get(deleted["id"]))["status"] == "ERROR"
        assert (await dev8.get(halted["id"]))["status"] == "STOPPED"
        assert (await dev8.get(moved["id"]))["aciPublicIp"] == moved["aciPublicIp"]
        state = await containers.state(woken["id"])
        assert state and state.state == "Stopped"
        assert share_folder(stack, deleted["id"]).exists()
        for each in (deleted, halted, woken):
            assert len([message for message in alerts if each["id"] in message]) == 1, each["id"]
        await asyncio.gather(*(dev8.drop(each["id"]) for each in (deleted, halted, moved, woken)))

    async def test_one_whose_editor_has_ended_is_stopped_although_its_group_runs(
        self, monkeypatch: pytest.MonkeyPatch, alerts: list[str], ordered: list[tuple[str, str]]
    ):
        ended, failed = [await inserted(RUNNING, in_creation=False, ip="127.8.0.1") for _ in range(2)]
        for each, code, status in ((ended, 0, "STOPPED"), (failed, 1, "RUNNING")):  # an error makes it start again
            monkeypatch.setattr(reconciliation, "state", shows("Running", editor=code, tls=None))
            monkeypatch.setattr(reconciliation, "environments", Only(each))
            await reconcile(Inline())
            assert (await environments.get(each.id)).status == status
            await environments.delete(each.id)
        assert ("stop", ended.id) in ordered and ("stop", failed.id) not in ordered
        assert [message for message in alerts if ended.id in message]

    @pytest.mark.parametrize("has_files", [True, False])
    async def test_a_group_beside_an_error_is_stopped_with_its_files_and_removed_without(
        self, monkeypatch: pytest.MonkeyPatch, alerts: list[str], ordered: list[tuple[str, str]], has_files: bool
    ):
        made = await inserted(ERROR, in_creation=False)

        async def listed() -> AsyncIterator[tuple[str, dict[str, str]]]:
            yield made.id, layout.tags(made)

        if has_files:
            await shares.create(ACCOUNT, made.share, 10, layout.share_metadata(made))
        monkeypatch.setattr(containers, "groups", listed)
        monkeypatch.setattr(reconciliation, "state", shows("Running"))
        monkeypatch.setattr(reconciliation, "environments", Only(made))
        await reconcile(Inline())
        assert ordered == [("stop" if has_files else "remove", made.id)]
        assert (await environments.get(made.id)).status == ("STOPPED" if has_files else "ERROR")
        assert len([message for message in alerts if made.id in message]) == 1
        await shares.delete(ACCOUNT, made.share)
        await environments.delete(made.id)

    @pytest.mark.parametrize("answers", [False, True])
    async def test_a_slow_service_ends_a_run_early(
        self, monkeypatch: pytest.MonkeyPatch, alerts: list[str], answers: bool
    ):
        asked, lists = list[str](), list[str]()

        async def state(name: str) -> GroupStatus:
            asked.append(name)
            if not answers:
                raise containers.ContainersUnavailable("no answer")
            return await shows("Running")(name)

        async def listed(*given: Any) -> AsyncIterator[Any]:
            lists.append("asked")
            await asyncio.sleep(60)
            yield

        made = [new(status=RUNNING, ip="127.8.0.1") for _ in range(20)]
        monkeypatch.setattr(reconciliation, "environments", Only(*made))
        monkeypatch.setattr(reconciliation, "state", state)
        monkeypatch.setattr(reconciliation, "SECONDS", -1.0)
        monkeypatch.setattr(reconciliation, "LIST_SECONDS", 0.01)
        monkeypatch.setattr(containers, "groups", listed)
        monkeypatch.setattr(shares, "names", listed)
        await reconcile(Inline())
        assert (len(asked), len(lists)) == (8, 2 if answers else 0)
        assert asked != [each.id for each in made][:8]  # another run begins with other ones

    async def test_groups_and_shares_without_a_record_are_removed_late_and_foreign_ones_never(
        self, stack: Environment, alerts: list[str]
    ):
        mine, foreign = await inserted(CREATING), await inserted(CREATING)
        for each in (mine, foreign):
            own = layout.deployment() if each is mine else "another"
            container = ContainerSpec("main", stack.app_settings["RUNYARD_RUNNER_IMAGE"], command=["sleep", "600"])
            await containers.create(GroupSpec(each.id, [container], tags={**layout.tags(each), "deployment": own}))
            await shares.create(ACCOUNT, each.share, 10, {**layout.share_metadata(each), "deployment": own})
            await environments.delete(each.id)

        async def exist() -> list[bool]:
            names, folders = await groups(stack), [share_folder(stack, each.id) for each in (mine, foreign)]
            return [mine.id in names, foreign.id in names, *(folder.exists() for folder in folders)]

        async def age(**since: timedelta) -> None:
            async for orphan in orphans.all():
                for start, time in since.items():
                    if orphan.name.startswith(start):
                        change = {"since": datetime.now(UTC) - time}
                        await orphans.update(orphan.id, lambda orphan, change=change: orphan.model_copy(update=change))

        await reconcile(Inline())
        assert await exist() == [True] * 4
        await age(env=timedelta(minutes=59), workspace=timedelta(days=6))
        await reconcile(Inline())
        assert await exist() == [True] * 4
        await age(env=timedelta(hours=1))
        await reconcile(Inline())
        await eventually(exist, until=lambda found: found == [False, True, True, True])
        await age(workspace=timedelta(days=7))
        await reconcile(Inline())
        assert await exist() == [False, True, False, True]
        assert len([message for message in alerts if mine.id in message]) == 2
        assert not [message for message in alerts if foreign.id in message]
        await containers.remove(foreign.id)
        await shares.delete(ACCOUNT, foreign.share)

    async def test_it_forgets_those_that_are_gone(self):
        gone = await orphans.insert(Orphan(name="env-gone", since=LONG_AGO))
        await reconcile(Inline())
        assert gone.id not in [orphan.id async for orphan in orphans.all()]
