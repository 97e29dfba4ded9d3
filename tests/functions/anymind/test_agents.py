"""Agents: made, listed, changed, deleted with everything that belongs to them."""

import asyncio
import hashlib
import json
import re
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from functions.anymind import agents as routes
from functions.anymind import deletion
from functions.anymind.bodies import SkipLimit
from functions.anymind.records import Agent, AgentStatus, AgentVersion, Execution, ExecutionStatus, User
from functions.anymind.store import agents, executions, versions
from infra.local.environment import Environment
from shared import blobs, tables
from shared.http.errors import NotFound
from shared.http.idempotency import claims
from shared.jobs import ARTIFACTS, LOGS, Job, JobState, jobs
from tests.support.anymind import BASE, Anymind, refused, registered
from tests.support.gateway import Gateway
from tests.support.records import Counting
from tests.support.waiting import eventually

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}")
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
async def newcomer(stack: Environment) -> AsyncIterator[Anymind]:
    """A user without agents."""
    async with registered(stack) as user:
        yield user


async def patched(user: Anymind, agent_id: int, body: Any, status: int = 200, **headers: str) -> Any:
    return await user.ok("PATCH", f"/agents/{agent_id}", status, json=body, headers=headers)


class TestCreate:
    async def test_a_new_agent_is_a_draft(self, anymind: Anymind):
        agent = await anymind.agent("my-agent", description="My AI agent", status="ready", extra=1)
        times = agent["created_at"], agent["updated_at"]
        assert agent == {
            "id": agent["id"], "name": "my-agent", "description": "My AI agent", "user_id": anymind.id,
            "status": "draft", "current_version_id": None, "created_at": times[0], "updated_at": times[1],
        }  # fmt: skip
        assert isinstance(agent["id"], int)
        assert MOMENT.fullmatch(times[0]) and times[0] == times[1]
        now = datetime.now(UTC).replace(tzinfo=None)
        assert abs((datetime.fromisoformat(times[0]) - now).total_seconds()) < 60
        assert await anymind.ok("GET", f"/agents/{agent['id']}") == agent

    async def test_a_token_serves_as_well_as_a_key(self, anymind: Anymind, http: httpx.AsyncClient):
        answer = await http.post(f"{BASE}/agents", json={"name": "x"}, headers=anymind.bearer)
        assert (answer.status_code, answer.json()["user_id"]) == (201, anymind.id)

    async def test_several_may_have_one_name_and_none_needs_a_description(self, anymind: Anymind):
        first, second = [await anymind.agent("same", description=None) for _ in range(2)]
        assert first["id"] < second["id"]
        assert first["description"] is None

    @pytest.mark.parametrize("name", ["", " ", None, 7, ["a"], "a" * 256])
    async def test_a_bad_name_is_400(self, anymind: Anymind, name: Any):
        answer = await anymind.http.post(f"{BASE}/agents", json={"name": name})
        assert refused(answer, 400).startswith("name: ")

    async def test_other_bad_bodies_are_400(self, anymind: Anymind):
        bad: list[tuple[dict[str, Any], str]] = [
            ({"json": {}}, "name: Field required"),
            ({"json": {"name": "a", "description": 7}}, "description: "),
            ({"content": b"{}", "headers": {"Content-Type": "text/plain"}}, "Content-Type"),
            ({"content": b'{"name": "\\ud800"}', "headers": JSON}, "surrogate"),
        ]
        for sent, text in bad:
            assert text in refused(await anymind.http.post(f"{BASE}/agents", **sent), 400)

    async def test_a_repeated_request_makes_one_agent(self, anymind: Anymind, app: None):
        key = str(uuid.uuid4())
        sent = {"json": {"name": "once"}, "headers": {"Idempotency-Key": key}}
        first = await anymind.ok("POST", "/agents", 201, **sent)
        assert await anymind.ok("POST", "/agents", 201, **sent) == first
        # As if the host had died between the record and its response:
        owner = json.dumps(["anymind", str(anymind.id), "POST", "/anymind/api/v1/agents", []])
        claim = await claims.find("key", hashlib.sha256(json.dumps([owner, key]).encode()).hexdigest())

        def forget(record: Any) -> None:
            record.status, record.until = 0, record.created_at

        await claims.update(claim.id, forget)
        assert await anymind.ok("POST", "/agents", 201, **sent) == first


class TestList:
    async def test_agents_are_listed_by_id_from_the_lowest_on(self, newcomer: Anymind, anymind: Anymind):
        assert await newcomer.ok("GET", "/agents") == []
        made = []
        for number in range(5):
            made.append(await newcomer.agent(f"a{number}"))
            await anymind.agent("of another user")
        assert await newcomer.ok("GET", "/agents") == made
        for skip, limit in ((0, 2), (1, 3), (4, 1000), (5, 1), (0, 0), (2, 10**15)):
            found = await newcomer.ok("GET", "/agents", params={"skip": skip, "limit": limit})
            assert found == made[skip : skip + limit]

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("skip", "-1"),
            ("skip", "x"),
            ("skip", "1.5"),
            ("skip", ""),
            ("limit", "-1"),
            ("limit", "x"),
            ("limit", "1_0"),
        ],
    )
    async def test_a_part_that_is_no_number_or_negative_is_400(self, anymind: Anymind, name: str, value: str):
        answer = await anymind.http.get(f"{BASE}/agents", params={name: value})
        assert refused(answer, 400).startswith(f"{name}: ")

    async def test_a_list_costs_one_query_however_many_there_are(self, account: None, counting: Counting):
        user = User(email="", username="", password_hash="", email_key="", username_key="")
        user.id = uuid.uuid4().hex

        async def fill(count: int) -> None:
            await asyncio.gather(*(agents.insert(Agent(user_id=user.id, name="x")) for _ in range(count)))

        for count in (150, 1000):
            await fill(count)
            counting.reset()
            assert len(await routes.list_agents(user, SkipLimit(0, 100))) == 100
            assert dict(counting.calls) == {"query": 1}


class TestChange:
    async def test_only_the_given_members_change(self, anymind: Anymind):
        agent = await anymind.agent("before", description="old")
        renamed = await patched(anymind, agent["id"], {"name": "after"})
        assert renamed == {**agent, "name": "after", "updated_at": renamed["updated_at"]}
        assert renamed["updated_at"] > agent["updated_at"]
        cleared = await patched(anymind, agent["id"], {"description": None})
        assert (cleared["name"], cleared["description"]) == ("after", None)
        for status in ("archived", "ready", "draft"):
            assert (await patched(anymind, agent["id"], {"status": status}))["status"] == status

    @pytest.mark.parametrize("sent", [{"json": {}}, {}, {"json": {"id": 7, "user_id": 7}}])
    async def test_an_empty_body_changes_nothing(self, anymind: Anymind, sent: dict[str, Any]):
        agent = await anymind.agent("same", description="same")
        assert await anymind.ok("PATCH", f"/agents/{agent['id']}", **sent) == agent

    @pytest.mark.parametrize(
        "body",
        [{"name": None}, {"name": ""}, {"name": " "}, {"name": "a" * 256}, {"status": "unknown"}, {"status": None},
         {"status": 1}, {"description": 7}],
    )  # fmt: skip
    async def test_a_bad_member_is_400_and_nothing_changes(self, anymind: Anymind, body: dict[str, Any]):
        agent = await anymind.agent("same")
        answer = await anymind.http.patch(f"{BASE}/agents/{agent['id']}", json={"name": "new", **body})
        assert refused(answer, 400).startswith(f"{next(iter(body))}: ")
        assert await anymind.ok("GET", f"/agents/{agent['id']}") == agent

    async def test_a_change_can_depend_on_the_version(self, anymind: Anymind):
        agent = await anymind.agent()
        path = f"{BASE}/agents/{agent['id']}"
        version = (await anymind.http.get(path)).headers["etag"]
        assert (await anymind.http.patch(path, json={"name": "b"}, headers={"If-Match": version})).status_code == 200
        refused(await anymind.http.patch(path, json={"name": "c"}, headers={"If-Match": version}), 412)


class TestStatus:
    """The agent's status follows its newest version, and the current version is never an older one."""

    def test_the_build_of_the_newest_version_decides(self):
        agent = Agent(user_id="1", name="x")
        agent.build("9")
        assert (agent.status, agent.current_version_id) == (AgentStatus.BUILDING, None)
        agent.built("9", ready=True)
        assert (agent.status, agent.current_version_id) == (AgentStatus.READY, "9")
        agent.build("10")
        agent.built("10", ready=False)
        assert (agent.status, agent.current_version_id) == (AgentStatus.FAILED, "9")

    def test_an_older_build_that_ends_later_changes_neither(self):
        agent = Agent(user_id="1", name="x")
        agent.build("10")
        agent.build("9")  # of two uploads at once, the second was recorded first
        agent.built("9", ready=True)
        assert (agent.status, agent.current_version_id) == (AgentStatus.BUILDING, "9")
        agent.built("10", ready=True)
        agent.built("9", ready=True)
        assert (agent.status, agent.current_version_id) == (AgentStatus.READY, "10")

    def test_an_agent_that_is_archived_meanwhile_stays_so_until_the_next_upload(self):
        agent = Agent(user_id="1", name="x")
        agent.build("1")
        agent.status = AgentStatus.ARCHIVED
        agent.built("1", ready=True)
        assert (agent.status, agent.current_version_id) == (AgentStatus.ARCHIVED, "1")
        agent.build("2")
        assert agent.status is AgentStatus.BUILDING

    def test_a_deleted_agent_takes_no_upload(self):
        with pytest.raises(NotFound):
            Agent(user_id="1", name="x", deleted=True).build("1")


@pytest.mark.parametrize("agent_id", ["x", "-1", "1.0", "%F0%9F%98%80", "1e3"])
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_an_id_that_is_no_number_is_400(anymind: Anymind, method: str, agent_id: str):
    answer = await anymind.http.request(method, f"{BASE}/agents/{agent_id}")
    assert refused(answer, 400).startswith("agent_id: ")


async def gone(action: Any) -> bool:
    try:
        await action
    except (tables.RecordNotFound, blobs.BlobNotFound):
        return True
    return False


@pytest.mark.usefixtures("app")
class TestDelete:
    async def test_a_deleted_agent_is_404_from_then_on(self, anymind: Anymind):
        agent = await anymind.agent()
        path = f"/agents/{agent['id']}"
        assert await anymind.ok("DELETE", path, 204) is None
        for method in ("GET", "PATCH", "DELETE"):
            assert refused(await anymind.http.request(method, f"{BASE}{path}"), 404) == "Agent not found"
        assert agent["id"] not in [each["id"] for each in await anymind.ok("GET", "/agents", params={"limit": 1000})]
        await eventually(lambda: gone(agents.get(str(agent["id"]))))

    async def test_everything_that_belongs_to_it_goes(self, anymind: Anymind):
        agent, other = [str((await anymind.agent())["id"]) for _ in range(2)]
        left, kept = await with_records(anymind, agent, deletion.BATCH + 1), await with_records(anymind, other, 1)
        await anymind.ok("DELETE", f"/agents/{agent}", 204)

        await eventually(lambda: gone(agents.get(agent)))  # the last to go
        assert all(await asyncio.gather(*(gone(read()) for read in left)))
        assert not any(await asyncio.gather(*(gone(read()) for read in kept)))

    async def test_what_runs_is_stopped_first(self, anymind: Anymind, gateway: Gateway):
        """A run of the gateway stands for the execution's job: all kinds of jobs have the same workflow."""
        run = await gateway.run("sleep 600")
        await gateway.reach(run["id"], "running")
        agent = str((await anymind.agent())["id"])
        owned: dict[str, Any] = {"agent_id": agent, "user_id": str(anymind.id), "agent_version_id": "1"}
        execution = await executions.insert(Execution(**owned, job_id=run["id"], input_data={}))
        await anymind.ok("DELETE", f"/agents/{agent}", 204)
        await eventually(lambda: gone(agents.get(agent)))
        assert await gone(executions.get(execution.id)) and await gone(jobs.get(run["id"]))
        assert (await gateway.get(run["id"]))["completed_at"]

    async def test_records_that_cannot_be_deleted_do_not_keep_the_others(
        self, anymind: Anymind, monkeypatch: pytest.MonkeyPatch
    ):
        agent = str((await anymind.agent())["id"])
        await with_records(anymind, agent, deletion.BATCH + 1)
        oldest = min(int(each.id) for each in (await executions.page({"agent_id": agent}, limit=100)).items)
        job_id = (await executions.get(str(oldest))).job_id

        async def delete(asked: str, _: object) -> bool:
            if asked != job_id:
                raise tables.TextLost("broken")
            return True

        monkeypatch.setattr(deletion, "delete_job", delete)
        batch: Any = deletion.anymind_delete_batch._function.get_user_function().__wrapped__
        assert await batch(agent, None) == "some"
        assert await gone(executions.get(str(oldest)))
        assert await batch(agent, None) == "running"
        monkeypatch.undo()
        await anymind.ok("DELETE", f"/agents/{agent}", 204)

    async def test_a_deletion_without_its_workflow_is_continued(self, anymind: Anymind):
        agent = str((await anymind.agent())["id"])
        left = await with_records(anymind, agent, 1)
        await agents.update(agent, lambda record: setattr(record, "deleted", True))  # and the host died
        assert (await anymind.http.post("/admin/functions/maintenance_minute", json={})).status_code == 202
        for read in [*left, lambda: agents.get(agent)]:
            await eventually(lambda read=read: gone(read()))


class Context:
    """What the workflow of a deletion sees of its engine."""

    def __init__(self, given: Any):
        self.given, self.current_utc_datetime = given, datetime(2026, 1, 1, tzinfo=UTC)

    def get_input(self) -> Any:
        return self.given

    def call_activity_with_retry(self, name: str, retry: object, value: str) -> tuple[str, str]:
        return name, value

    def create_timer(self, at: datetime) -> float:
        return (at - self.current_utc_datetime).total_seconds()

    def continue_as_new(self, value: Any) -> None:
        self.given = value


def workflow_of(context: Context) -> Any:
    """The generator of the workflow."""
    return deletion.anymind_deletion._function.get_user_function().orchestrator_function(context)  # type: ignore[attr-defined]


def test_a_deletion_that_gets_no_further_looks_less_and_less_often():
    context, pauses = Context("7"), list[float]()
    for _ in range(12):
        workflow = workflow_of(context)
        assert next(workflow) == ("anymind_delete_batch", "7")
        pauses.append(workflow.send("running"))
        with pytest.raises(StopIteration):
            next(workflow)
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    workflow = workflow_of(context)
    next(workflow)
    with pytest.raises(StopIteration):
        workflow.send("some")
    assert context.given == {"agent": "7", "waits": 0}


async def with_records(user: Anymind, agent_id: str, count: int) -> list[Any]:
    """Store versions and executions of an agent, with the files and logs of their jobs; returns how to read each."""
    owned: dict[str, Any] = {"agent_id": agent_id, "user_id": str(user.id)}
    reads: list[Any] = []

    async def one(number: int) -> None:
        names = {name: f"tests/{agent_id}/{number}/{name}" for name in ("blob", "ready_blob", "kept")}
        version = await versions.insert(
            AgentVersion(
                **owned, number=number, tarball_path=f"agents/{agent_id}/artifacts/{number}", size=1,
                blob=names["blob"], ready_blob=names["ready_blob"],
            )
        )  # fmt: skip
        execution = await executions.insert(
            Execution(**owned, agent_version_id=version.id, input_data={}, status=ExecutionStatus.COMPLETED)
        )
        files = [{"name": "x", "blob": names["kept"]}]
        job = Job(
            id=execution.job_id,
            kind="tests.none",
            token_hash="",
            timeout=1,
            state=JobState.ENDED,
            exit={"files": files},
        )
        await jobs.insert(job)
        await blobs.put(LOGS, job.id, b"x")
        for name in names.values():
            await blobs.put(ARTIFACTS, name, b"x")
            reads.append(lambda name=name: blobs.info(ARTIFACTS, name))
        reads.extend(
            [
                lambda: versions.get(version.id), lambda: executions.get(execution.id), lambda: jobs.get(job.id),
                lambda: blobs.info(LOGS, job.id),
            ]
        )  # fmt: skip

    await asyncio.gather(*map(one, range(count)))
    return reads
