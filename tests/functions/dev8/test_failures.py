"""A container service that refuses, fails, or does not answer, and a record that nobody continues."""

from collections.abc import AsyncIterator

import httpx
import pytest

from infra.local.environment import Environment
from tests.support.arm_faults import Fault
from tests.support.dev8 import NEW, PATH, Dev8, new_user, nothing_left, refused
from tests.support.environments import ROOT_KEY, StrictHost
from tests.support.groups import groups
from tests.support.waiting import eventually

GROUP = "/containerGroups/env-"


@pytest.fixture(scope="module")
async def faulty(strict_host: StrictHost) -> AsyncIterator[Dev8]:
    """A client of the host whose calls to the management API can fail."""
    base = f"{str(strict_host.http.base_url).rstrip('/')}/dev8"
    headers = {"Authorization": f"Bearer {ROOT_KEY}"}
    async with httpx.AsyncClient(base_url=base, timeout=60, trust_env=False, headers=headers) as http:
        yield Dev8(http)


@pytest.mark.parametrize("fault", ["409", "429"])
async def test_a_refused_creation_ends_in_an_error_that_leaves_nothing(
    stack: Environment, strict_host: StrictHost, faulty: Dev8, fault: Fault
):
    with strict_host.arm.failing(fault, "PUT", GROUP):
        made = await faulty.create()
        await eventually(lambda: faulty.get(made["id"]), until=lambda found: found["status"] == "ERROR")
    await nothing_left(stack, made["id"])
    await faulty.drop(made["id"])


@pytest.mark.parametrize(("fault", "ending"), [("dropped", GROUP), ("time-out", "/shares/"), ("500", "/listKeys")])
async def test_a_service_that_does_not_answer_is_500_and_leaves_nothing(
    stack: Environment, strict_host: StrictHost, faulty: Dev8, fault: Fault, ending: str
):
    user, method = new_user(), "POST" if ending == "/listKeys" else "PUT"
    folder = stack.state / "containers/shares/dev8shares"
    before, earlier = set(folder.glob("*")), len(strict_host.arm.calls)
    with strict_host.arm.failing(fault, method, ending):
        answer = await faulty.http.post(PATH, json={**NEW, "userId": user})
    assert refused(answer, 500, "ENVIRONMENT_ERROR").startswith("failed to create the container group: ")
    assert answer.json()["error"] == "Internal server error"

    async def total() -> int:
        return (await faulty.http.get(PATH, params={"userId": user})).json()["total"]

    await eventually(total, until=lambda total: total == 0)
    created = {path.rpartition("/")[2] for method, path, _ in strict_host.arm.calls if GROUP in path}
    assert not created & set(await groups(stack))
    assert set(folder.glob("*")) <= before
    shares = [
        path for method, path, _ in strict_host.arm.calls[earlier:] if (method, "/shares/" in path) == ("PUT", True)
    ]
    assert bool(shares) == (ending != "/listKeys")  # one that is being made could come after its removal


async def test_orders_whose_answer_is_lost_are_given_once(strict_host: StrictHost, faulty: Dev8):
    arm = strict_host.arm
    with arm.failing("late", "PUT", GROUP, times=1):
        made = await faulty.running()
    for what, status in (("stop", "STOPPED"), ("start", "RUNNING")):
        arm.calls.clear()
        with arm.failing("late", "POST", f"/{what}", times=1):
            await faulty.order(made["id"], what)
            await faulty.reach(made["id"], status)
        assert len([path for method, path, _ in arm.calls if path.endswith(f"{made['id']}/{what}")]) == 1
    with arm.failing("late", "DELETE", GROUP, times=1):
        await faulty.delete(made["id"])


async def test_a_refused_start_leaves_it_stopped_and_a_refused_stop_running(strict_host: StrictHost, faulty: Dev8):
    made = await faulty.running()
    for what, back, towards in (("stop", "RUNNING", "STOPPED"), ("start", "STOPPED", "RUNNING")):
        with strict_host.arm.failing("409", "POST", f"/{what}"):
            answer = await faulty.http.post(f"{PATH}/{made['id']}/{what}")
        assert refused(answer, 500, "ENVIRONMENT_ERROR").endswith("refused with 409")
        found = await faulty.get(made["id"])
        assert found["status"] == back
        if back == "RUNNING":
            assert found["vsCodeUrl"] == made["vsCodeUrl"]
        await faulty.order(made["id"], what)
        await faulty.reach(made["id"], towards)
    await faulty.drop(made["id"])


async def test_a_deletion_goes_on_until_the_service_answers(stack: Environment, strict_host: StrictHost, faulty: Dev8):
    made = await faulty.running()
    with strict_host.arm.failing("409", "DELETE", GROUP, times=1):
        await faulty.delete(made["id"])
    await nothing_left(stack, made["id"])
