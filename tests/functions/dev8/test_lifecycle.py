"""Starting, stopping and deleting environments: every order from every status, and two orders at the same moment."""

import asyncio

import pytest

from infra.local.environment import Environment
from shared import containers
from tests.support.dev8 import PATH, Dev8, nothing_left, refused, share_folder
from tests.support.groups import groups, limited
from tests.support.waiting import eventually


async def test_files_outlive_a_stop_and_end_with_the_environment(stack: Environment, dev8: Dev8):
    made = await dev8.running()
    file = share_folder(stack, made["id"]) / "notes.txt"
    file.write_text("keep me")
    assert (await dev8.order(made["id"], "stop")) == {
        "message": "Environment stopped successfully",
        "id": made["id"],
    }
    stopped = await dev8.reach(made["id"], "STOPPED")
    assert (stopped["aciPublicIp"], stopped["vsCodeUrl"], stopped["fqdn"]) == ("", "", "")
    assert await dev8.order(made["id"], "start") == {"message": "Environment started successfully", "id": made["id"]}
    started = await dev8.reach(made["id"], "RUNNING")
    assert started["vsCodeUrl"] == f"https://{started['aciPublicIp']}:8443"
    assert file.read_text() == "keep me"
    answer = await dev8.http.delete(f"{PATH}/{made['id']}")
    assert answer.json() == {"message": "Environment deleted successfully", "id": made["id"]}
    await dev8.reach(made["id"], "gone")
    await nothing_left(stack, made["id"])
    refused(await dev8.http.delete(f"{PATH}/{made['id']}"), 404, "NOT_FOUND")


async def test_of_two_starts_at_once_one_is_refused(dev8: Dev8):
    made = await dev8.stopped()
    answers = await asyncio.gather(*(dev8.http.post(f"{PATH}/{made['id']}/start") for _ in range(2)))
    first, second = sorted(answers, key=lambda answer: answer.status_code)
    assert first.status_code == 200
    assert refused(second, 400, "INVALID_REQUEST").startswith("environment cannot be started: its status is STARTING")
    await dev8.reach(made["id"], "RUNNING")
    answers = await asyncio.gather(*(dev8.http.post(f"{PATH}/{made['id']}/stop") for _ in range(2)))
    assert sorted(answer.status_code for answer in answers) == [200, 400]
    await dev8.reach(made["id"], "STOPPED")
    await dev8.drop(made["id"])


async def test_a_start_needs_a_stopped_and_a_stop_a_running_environment(dev8: Dev8):
    made = await dev8.create()
    for what in ("start", "stop"):
        refused(await dev8.http.post(f"{PATH}/{made['id']}/{what}"), 400)
    await dev8.reach(made["id"], "RUNNING")
    message = refused(await dev8.http.post(f"{PATH}/{made['id']}/start"), 400)
    assert message == "environment cannot be started: its status is RUNNING, not STOPPED"
    await dev8.order(made["id"], "stop")
    await dev8.reach(made["id"], "STOPPED")
    refused(await dev8.http.post(f"{PATH}/{made['id']}/stop"), 400)
    assert (await dev8.http.delete(f"{PATH}/{made['id']}")).status_code == 200
    for what in ("start", "stop"):
        assert (await dev8.http.post(f"{PATH}/{made['id']}/{what}")).status_code in (400, 404)


async def test_deleting_twice_while_it_is_created_leaves_nothing(stack: Environment, dev8: Dev8):
    made = await dev8.create()
    answers = await asyncio.gather(*(dev8.http.delete(f"{PATH}/{made['id']}") for _ in range(2)))
    assert [answer.status_code for answer in answers] == [200, 200]
    assert (await dev8.get(made["id"]))["status"] in ("DELETING", "gone")
    await dev8.reach(made["id"], "gone")
    await nothing_left(stack, made["id"])


async def test_the_later_clients_routes_name_the_environment_in_the_body(dev8: Dev8):
    made = await dev8.running()
    body = {"workspaceId": made["id"], "cloudRegion": "eastus", "force": True}
    for method, path, status, message in (
        ("POST", f"{PATH}/stop", "STOPPED", "Environment stopped successfully"),
        ("POST", f"{PATH}/start", "RUNNING", "Environment started successfully"),
        ("DELETE", PATH, "gone", "Environment deleted successfully"),
    ):
        answer = await dev8.http.request(method, path, json=body)
        assert (answer.status_code, answer.json()) == (200, {"message": message, "id": made["id"]})
        await dev8.reach(made["id"], status)
        refused(await dev8.http.request(method, path, json={}), 400, "INVALID_REQUEST")
        refused(await dev8.http.request(method, path, json={"workspaceId": "x"}), 404, "NOT_FOUND")


async def test_a_region_without_room_ends_in_an_error_with_nothing_left(stack: Environment, dev8: Dev8):
    async with limited(stack, full_locations=["eastasia"]):
        made = await dev8.create(cloudRegion="eastasia")
        assert made["status"] == "CREATING"

        async def status() -> str:
            return (await dev8.get(made["id"]))["status"]

        await eventually(status, until=lambda status: status == "ERROR")
    await nothing_left(stack, made["id"])
    refused(await dev8.http.post(f"{PATH}/{made['id']}/start"), 400)
    await dev8.drop(made["id"])


@pytest.mark.usefixtures("app")
async def test_a_group_that_was_deleted_by_somebody_else_ends_in_an_error_at_the_next_start(
    stack: Environment, dev8: Dev8
):
    made = await dev8.stopped()
    await containers.remove(made["id"])

    async def left() -> list[str]:
        return await groups(stack)

    await eventually(left, until=lambda found: made["id"] not in found)
    answer = await dev8.http.post(f"{PATH}/{made['id']}/start")
    assert "was not found" in refused(answer, 500, "ENVIRONMENT_ERROR")
    assert (await dev8.get(made["id"]))["status"] == "STOPPED"
    await dev8.drop(made["id"])
