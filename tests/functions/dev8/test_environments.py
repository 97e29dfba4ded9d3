"""Creating, reading and listing environments: what is accepted, what is shown, and whose it is."""

import asyncio
import re
from typing import Any

import httpx
import pytest

from infra.local.environment import Environment
from tests.support.dev8 import NEW, PATH, Dev8, client_of, new_user, refused
from tests.support.groups import group_body
from tests.support.values import UNKNOWN

MEMBERS = {
    "id", "userId", "name", "status", "cloudProvider", "cloudRegion", "aciContainerGroupId", "aciPublicIp", "fqdn",
    "azureFileShareName", "vsCodeUrl", "cpuCores", "memoryGB", "storageGB", "baseImage", "createdAt", "updatedAt",
    "lastAccessedAt",
}  # fmt: skip


async def answer_to(dev8: Dev8, **members: Any) -> httpx.Response:
    """The answer to a creation; a member that is None is left out."""
    body = {**NEW, "userId": new_user(), **members}
    return await dev8.http.post(PATH, json={name: value for name, value in body.items() if value is not None})


class TestCreate:
    async def test_the_answer_has_every_documented_member_and_no_address_yet(self, dev8: Dev8):
        answer = await answer_to(dev8, userId="user-123", name="mine", cloudProvider="GCP", baseImage="any/image")
        body = answer.json()
        assert (answer.status_code, body["message"]) == (201, "Environment created successfully")
        created = body["environment"]
        assert set(created) == MEMBERS
        assert re.fullmatch("env-[0-9a-f]{32}", created["id"])
        assert created["aciContainerGroupId"] == (
            "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/runyard/providers"
            f"/Microsoft.ContainerInstance/containerGroups/{created['id']}"
        )
        assert created["azureFileShareName"] == f"workspace-{created['id']}"
        assert (created["status"], created["aciPublicIp"], created["vsCodeUrl"]) == ("CREATING", "", "")
        assert (created["userId"], created["name"], created["cloudProvider"]) == ("user-123", "mine", "GCP")
        assert (created["cloudRegion"], created["baseImage"]) == ("eastus", "any/image")
        assert (created["cpuCores"], created["memoryGB"], created["storageGB"]) == (1, 1, 10)
        for name in ("createdAt", "updatedAt", "lastAccessedAt"):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", created[name])
        await dev8.drop(created["id"])

    @pytest.mark.parametrize("user", [None, ""])
    async def test_without_a_user_it_is_that_of_the_default_user(self, dev8: Dev8, user: str | None):
        created = (await answer_to(dev8, userId=user)).json()["environment"]
        assert created["userId"] == "default-user"
        await dev8.drop(created["id"])

    @pytest.mark.parametrize(
        ("members", "message"),
        [
            ({"cpuCores": 0}, "cpuCores must be between 1 and 4"),
            ({"cpuCores": 5}, "cpuCores must be between 1 and 4"),
            ({"cpuCores": -1}, "cpuCores must be between 1 and 4"),
            ({"memoryGB": 0}, "memoryGB must be between 1 and 16"),
            ({"memoryGB": 17}, "memoryGB must be between 1 and 16"),
            ({"storageGB": 9}, "storageGB must be between 10 and 100"),
            ({"storageGB": 101}, "storageGB must be between 10 and 100"),
            ({"cpuCores": 10**30}, "cpuCores must be between 1 and 4"),
            ({"cpuCores": None}, "cpuCores is required"),
            ({"memoryGB": None}, "memoryGB is required"),
            ({"storageGB": None}, "storageGB is required"),
            ({"cpuCores": 2.5}, "cpuCores should be a valid integer"),
            ({"memoryGB": "2"}, "memoryGB should be a valid integer"),
            ({"storageGB": True}, "storageGB should be a valid integer"),
            ({"cloudProvider": "azure"}, "cloudProvider should be 'AZURE', 'AWS' or 'GCP'"),
            ({"cloudProvider": None}, "cloudProvider is required"),
            ({"cloudRegion": "moon"}, "cloudRegion must be one of eastus, westus, westus2, centralus"),
            ({"cloudRegion": ""}, "cloudRegion must be one of"),
            ({"cloudRegion": None}, "cloudRegion is required"),
            ({"name": None}, "name is required"),
            ({"name": " "}, "name must not be blank"),
            ({"name": "x" * 51}, "name must have at most 50 characters"),
            ({"name": 5}, "name should be a valid string"),
            ({"baseImage": None}, "baseImage is required"),
            ({"baseImage": ""}, "baseImage must not be blank"),
            ({"userId": "x" * 129}, "userId must have at most 128 characters"),
            ({"userId": 1}, "userId should be a valid string"),
            ({"sshPublicKey": "a\0b"}, "sshPublicKey must not contain a NUL character"),
            ({"githubToken": "x" * 16_385}, "githubToken must have at most 16384 characters"),
            ({"githubToken": ["x"]}, "githubToken should be a valid string"),
            ({"name": "", "cpuCores": 0}, "name must not be blank; cpuCores must be between 1 and 4"),
        ],
    )
    async def test_a_wrong_member_is_400_and_named(self, dev8: Dev8, members: dict[str, Any], message: str):
        body = {name: value for name, value in {**NEW, **members}.items() if value is not None}
        answer = await dev8.http.post(PATH, json=body)
        assert refused(answer, 400, "INVALID_REQUEST").startswith(message)
        assert answer.json()["error"] == "Invalid request"

    @pytest.mark.parametrize(
        ("content", "kind", "message"),
        [
            (b"{", "application/json", "The body is not valid JSON"),
            (b"", "application/json", "The request needs a JSON body"),
            (b"[]", "application/json", "The body must be a JSON object"),
            (b'"text"', "application/json", "The body must be a JSON object"),
            (b"{}", "text/plain", "Content-Type must be application/json, not text/plain"),
            (b'{"cpuCores": NaN}', "application/json", "The body must not contain NaN or Infinity"),
        ],
    )
    async def test_a_body_that_is_no_json_object_is_400(self, dev8: Dev8, content: bytes, kind: str, message: str):
        answer = await dev8.http.post(PATH, content=content, headers={"Content-Type": kind})
        assert refused(answer, 400, "INVALID_REQUEST").startswith(message)

    async def test_a_body_of_more_than_a_megabyte_is_refused(self, dev8: Dev8):
        refused(await dev8.http.post(PATH, json={**NEW, "ignored": "x" * 1_048_576}), 413)

    async def test_the_largest_numbers_and_unknown_members_are_accepted(self, dev8: Dev8):
        answer = await answer_to(dev8, cpuCores=4, memoryGB=16, storageGB=100, unknown=1, name="é" * 50)
        created = answer.json()["environment"]
        assert (created["cpuCores"], created["memoryGB"], created["storageGB"]) == (4, 16, 100)
        await dev8.drop(created["id"])

    async def test_a_repeat_with_the_same_key_makes_no_second_environment(self, dev8: Dev8):
        body, headers = {**NEW, "userId": new_user()}, {"Idempotency-Key": new_user()}
        first, second = [await dev8.http.post(PATH, json=body, headers=headers) for _ in range(2)]
        assert (first.status_code, second.status_code, second.json()) == (201, 201, first.json())
        listed = await dev8.http.get(PATH, params={"userId": body["userId"]})
        assert listed.json()["total"] == 1
        await dev8.drop(first.json()["environment"]["id"])


@pytest.fixture(scope="module")
async def two(dev8: Dev8) -> Any:
    """A user and two environments of it, the older one first."""
    user = new_user()
    made = [await dev8.create(userId=user, name=name) for name in ("older", "newer")]
    made = [await dev8.reach(each["id"], "RUNNING") for each in made]
    yield user, made
    await asyncio.gather(*(dev8.drop(each["id"]) for each in made))


Two = tuple[str, list[dict[str, Any]]]


class TestRead:
    async def test_a_running_environment_has_its_addresses(self, dev8: Dev8, two: Two):
        found = await dev8.get(two[1][0]["id"])
        assert found["vsCodeUrl"] == f"https://{found['aciPublicIp']}:8443"
        assert found["fqdn"] == f"{found['id']}.eastus.azurecontainer.io"

    @pytest.mark.parametrize("form", [str.upper, lambda known: f"{known} ", lambda known: known.replace("-", ""),
                                      lambda known: "env-..", lambda known: f"env-{UNKNOWN}"])  # fmt: skip
    async def test_an_id_of_another_form_is_404(self, dev8: Dev8, two: Two, form: Any):
        environment_id = form(two[1][0]["id"])
        message = refused(await dev8.http.get(f"{PATH}/{environment_id}"), 404, "NOT_FOUND")
        assert message.startswith("environment with ID '")

    async def test_nothing_is_known_under_other_paths_and_methods(self, dev8: Dev8):
        assert (await dev8.http.get("/api/v2/environments")).json()["code"] == "NOT_FOUND"
        answer = await dev8.http.patch(PATH)
        refused(answer, 405, "METHOD_NOT_ALLOWED")
        assert answer.headers["allow"] == "DELETE, GET, POST"


class TestList:
    async def test_a_user_sees_its_own_newest_first_with_all_members(self, dev8: Dev8, two: Two):
        user, made = two
        for query, headers in (({"userId": user}, {}), ({}, {"X-User-ID": user})):
            found = (await dev8.http.get(PATH, params=query, headers=headers)).json()
            assert [each["name"] for each in found["environments"]] == ["newer", "older"]
            assert (found["total"], found["page"], found["pageSize"]) == (2, 1, 20)
            assert set(found["environments"][0]) == MEMBERS
            assert found["environments"][1]["vsCodeUrl"] == made[0]["vsCodeUrl"]

    async def test_without_a_user_all_are_shown(self, dev8: Dev8, two: Two):
        found = (await dev8.http.get(PATH, params={"pageSize": 100})).json()
        assert found["total"] >= 2
        assert {each["id"] for each in two[1]} <= {each["id"] for each in found["environments"]}

    async def test_pages_follow_each_other_and_the_total_counts_all(self, dev8: Dev8, two: Two):
        async def names(page: int, size: int) -> tuple[list[str], int]:
            asked = {"userId": two[0], "page": page, "pageSize": size}
            found = (await dev8.http.get(PATH, params=asked)).json()
            return [each["name"] for each in found["environments"]], found["total"]

        assert await names(1, 1) == (["newer"], 2)
        assert await names(2, 1) == (["older"], 2)
        assert await names(99, 20) == ([], 2)
        assert await names(10**12, 100) == ([], 2)

    async def test_a_user_that_no_environment_can_have_is_400(self, dev8: Dev8):
        long = {"userId": "u" * 129}
        assert refused(await dev8.http.get(PATH, params=long), 400, "INVALID_REQUEST").startswith("userId must have")
        refused(await dev8.http.get(PATH, params={"userId": "a\0b"}), 400, "INVALID_REQUEST")
        refused(await dev8.http.get(PATH, headers={"X-User-ID": "u" * 129}), 400, "INVALID_REQUEST")
        refused(await dev8.http.post(PATH, json=NEW, params=long), 400, "INVALID_REQUEST")

    @pytest.mark.parametrize("query", ["page=0", "page=-1", "page=x", "page=1.5", "pageSize=0", "pageSize=-5", "page="])
    async def test_a_wrong_page_is_400(self, dev8: Dev8, query: str):
        assert refused(await dev8.http.get(f"{PATH}?{query}"), 400, "INVALID_REQUEST").startswith(query.split("=")[0])

    async def test_a_large_page_is_cut(self, dev8: Dev8):
        assert (await dev8.http.get(PATH, params={"pageSize": 1000})).json()["pageSize"] == 100


class TestUsers:
    async def test_the_environment_of_another_user_is_401_on_every_route(
        self, stack: Environment, dev8: Dev8, two: Two
    ):
        url = f"{PATH}/{two[1][0]['id']}"
        report = {"snapshot": {}, "timestamp": "2025-01-01T00:00:00Z"}
        named = {"workspaceId": two[1][0]["id"]}
        async with client_of(stack, **{"X-User-ID": "somebody else"}) as other:
            for method, path, body in (
                ("GET", url, None), ("DELETE", url, None), ("POST", f"{url}/start", None),
                ("POST", f"{url}/stop", None),
                ("POST", f"{url}/activity", report), ("POST", f"{PATH}/start", named), ("POST", f"{PATH}/stop", named),
                ("DELETE", PATH, named),
            ):  # fmt: skip
                message = refused(await other.http.request(method, path, json=body), 401, "UNAUTHORIZED")
                assert message == f"environment with ID '{two[1][0]['id']}' belongs to another user"
            assert (await other.http.get(PATH)).json()["total"] == 0
            refused(await other.http.post(PATH, json={**NEW, "userId": two[0]}), 401, "UNAUTHORIZED")
        assert (await dev8.get(two[1][0]["id"]))["status"] == "RUNNING"

    @pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
    async def test_a_name_in_the_header_is_that_of_the_body_in_either_encoding(self, dev8: Dev8, encoding: str):
        made = await dev8.create(userId=f"{new_user()} Jürgen")
        named = {"X-User-ID": made["userId"].encode(encoding)}
        listed = await dev8.http.get(PATH, headers=named)
        assert [each["id"] for each in listed.json()["environments"]] == [made["id"]]
        answer = await dev8.http.delete(f"{PATH}/{made['id']}", headers=named)
        assert answer.status_code == 200, answer.text

    async def test_a_named_user_creates_its_own(self, stack: Environment, two: Two):
        user = new_user()
        async with client_of(stack, **{"X-User-ID": user}) as own:
            answer = await own.http.post(PATH, json=NEW)
            assert answer.json()["environment"]["userId"] == user
            await own.drop(answer.json()["environment"]["id"])


class TestGroup:
    """The container group that is made, as the container service shows it."""

    async def test_it_is_laid_out_as_documented(self, stack: Environment, dev8: Dev8):
        made = await dev8.running(
            cpuCores=4, memoryGB=2, sshPublicKey="ssh-rsa AAAA\nssh-rsa BBBB", userId="group-user"
        )
        group = await group_body(stack, made["id"])
        properties = group["properties"]
        assert group["location"] == "eastus"
        own = {"environment": made["id"], "userId": "group-user", "managed-by": "dev8-agent"}
        assert own.items() <= group["tags"].items()
        assert (properties["osType"], properties["restartPolicy"]) == ("Linux", "OnFailure")
        assert [port["port"] for port in properties["ipAddress"]["ports"]] == [8443, 2222]
        assert properties["ipAddress"]["dnsNameLabel"] == made["id"]
        workspace, proxy = properties["containers"]
        assert (workspace["name"], workspace["properties"]["image"]) == (
            "vscode-server",
            "vaibhavsing/dev8-workspace:latest",
        )
        sizes = [each["properties"]["resources"]["requests"] for each in (workspace, proxy)]
        assert [(size["cpu"], size["memoryInGB"]) for size in sizes] == [(3.7, 1.7), (0.3, 0.3)]
        volumes = {volume["name"]: volume for volume in properties["volumes"]}
        [mount] = workspace["properties"]["volumeMounts"]
        assert mount["mountPath"] == "/workspace"
        share = volumes[mount["name"]]["azureFile"]
        assert (share["shareName"], "storageAccountKey" in share) == (made["azureFileShareName"], False)
        variables = {each["name"]: each.get("value") for each in workspace["properties"]["environmentVariables"]}
        base = f"{stack.url}/dev8"
        assert variables == {
            "WORKSPACE_ID": made["id"], "USER_ID": "group-user", "WORKSPACE_DIR": "/workspace", "AGENT_BASE_URL": base,
            "AGENT_ENABLED": "true", "MONITOR_INTERVAL": variables["MONITOR_INTERVAL"],
            "LOG_FILE_PATH": "/tmp/supervisor.log", "ENVIRONMENT_ID": made["id"], "SUPERVISOR_AGENT_BASE_URL": base,
            "SUPERVISOR_MONITOR_INTERVAL": variables["MONITOR_INTERVAL"],
            "SSH_PUBLIC_KEY": None, "CODE_SERVER_PASSWORD": None, "SUPERVISOR_AGENT_API_KEY": None,
        }  # fmt: skip
        assert re.fullmatch(r"\d+s", variables["MONITOR_INTERVAL"] or "")
        await dev8.drop(made["id"])

    async def test_without_an_ssh_key_only_the_editor_is_public(self, stack: Environment, dev8: Dev8, two: Two):
        properties = (await group_body(stack, two[1][0]["id"]))["properties"]
        assert [port["port"] for port in properties["ipAddress"]["ports"]] == [8443]
        ports = [port["port"] for each in properties["containers"] for port in each["properties"].get("ports") or []]
        assert ports == [8443]


class TestHealth:
    async def test_the_uptime_is_a_go_duration(self, dev8: Dev8):
        assert re.fullmatch(r"(\d+h\d+m|\d+m)?\d+s", (await dev8.http.get("/health")).json()["uptime"])

    @pytest.mark.parametrize(("seconds", "text"), [(0.9, "0s"), (59.9, "59s"), (60, "1m0s"), (8130, "2h15m30s"),
                                                   (3600, "1h0m0s"), (90061, "25h1m1s")])  # fmt: skip
    def test_durations_are_written_as_go_does(self, seconds: float, text: str):
        from functions.dev8.health import duration

        assert duration(seconds) == text


async def test_only_listed_origins_may_call(dev8: Dev8):
    asked = {"Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": "content-type,authorization"}
    allowed = await dev8.http.options(PATH, headers={"Origin": "http://localhost:3000", **asked})
    assert (allowed.status_code, allowed.headers["access-control-allow-credentials"]) == (200, "true")
    assert allowed.headers["access-control-allow-methods"] == "GET, POST, PUT, DELETE, OPTIONS"
    assert allowed.headers["access-control-max-age"] == "3600"
    other = await dev8.http.options(PATH, headers={"Origin": "http://localhost:4000", **asked})
    assert (other.status_code, "access-control-allow-origin" in other.headers) == (400, False)
