"""Uploads and downloads of archives."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

import function_app  # noqa: F401 - registers the kinds of jobs
from functions.anymind import uploads
from functions.anymind.build_job import KIND, AnymindBuild
from functions.anymind.records import Agent, AgentStatus, AgentVersion
from functions.anymind.store import agents, users, versions
from functions.jobs.ending import settle
from infra.local.environment import BODY_LIMIT, Environment
from shared import blobs
from shared.http.files import FORM_ROOM, Upload
from shared.jobs import ARTIFACTS, Exit
from shared.settings import Settings
from shared.tables import StorageUnavailable
from shared.tables.ids import new_id
from tests.support.agents import ECHO, agent_of, built, send, upload
from tests.support.anymind import BASE, Anymind, refused, registered
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
async def stranger(stack: Environment) -> AsyncIterator[Anymind]:
    """Another user."""
    async with registered(stack) as user:
        yield user


@pytest.fixture(scope="module")
async def agent(anymind: Anymind) -> int:
    """An agent to which archives are uploaded that need not be built."""
    return (await anymind.agent())["id"]


class TestUpload:
    async def test_the_version_is_queued_and_the_agent_is_building(self, anymind: Anymind):
        made = await anymind.agent()
        version = await upload(anymind, agent_of(ECHO), made["id"])
        agent = await anymind.ok("GET", f"/agents/{made['id']}")
        assert agent["status"] in ("building", "ready")  # which is not `draft`, and no leftover of another version
        assert isinstance(version.pop("id"), int)
        assert version.pop("created_at") == version.pop("updated_at")
        assert version == {
            "agent_id": made["id"],
            "version": "v1",
            "status": "queued",
            "build_log": None,
            "tarball_path": f"agents/{made['id']}/artifacts/agent_{made['id']}_agent.tar.gz",
            "entrypoint": None,
            "config": None,
        }

    @pytest.mark.parametrize("name", ["agent.zip", "agent.tgz", "agent.tar", "tar.gz.txt"])
    async def test_another_name_is_refused(self, anymind: Anymind, agent: int, name: str):
        answer = await send(anymind, agent, agent_of(ECHO), name)
        assert refused(answer, 400) == "File must be a .tar.gz archive"

    async def test_a_form_without_a_file_is_refused(self, anymind: Anymind, agent: int):
        url = f"{BASE}/uploads/agent/{agent}"
        form = await anymind.http.post(url, files={"other": ("a.tar.gz", b"x")})
        assert refused(form, 400) == "file: Field required"
        assert refused(await anymind.http.post(url), 400) == "Body must be multipart/form-data"
        assert refused(await anymind.http.post(url, json={"file": "x"}), 400) == "Body must be multipart/form-data"

    async def test_of_two_files_the_first_counts(self, anymind: Anymind, agent: int):
        files = [("file", ("first.tar.gz", b"first")), ("file", ("second.tar.gz", b"second"))]
        answer = await anymind.http.post(f"{BASE}/uploads/agent/{agent}", files=files)
        assert answer.status_code == 201
        assert answer.json()["tarball_path"].endswith("_first.tar.gz")
        found = await anymind.http.get(f"{BASE}/uploads/{answer.json()['tarball_path']}")
        assert found.content == b"first"

    async def test_a_form_that_is_sent_as_json_is_accepted(self, anymind: Anymind, agent: int):
        form = httpx.Request("POST", "http://x", files={"file": ("typed.tar.gz", b"x")})
        answer = await anymind.http.post(
            f"{BASE}/uploads/agent/{agent}", content=form.read(), headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 201, answer.text

    async def test_a_name_becomes_a_path_without_folders(self, anymind: Anymind, agent: int):
        answer = await send(anymind, agent, b"x", "../a\\b/größer ?.tar.gz")
        assert answer.json()["tarball_path"] == f"agents/{agent}/artifacts/agent_{agent}_größer _.tar.gz"
        found = await anymind.http.get(f"{BASE}/uploads/{answer.json()['tarball_path']}")
        assert found.content == b"x"

    async def test_a_second_file_of_one_name_is_kept_beside_the_first(self, anymind: Anymind):
        agent = (await anymind.agent())["id"]
        first, second = await upload(anymind, b"1", agent), await upload(anymind, b"2", agent)
        assert [first["version"], second["version"]] == ["v1", "v2"]
        assert second["tarball_path"] == f"agents/{agent}/artifacts/v2/agent_{agent}_agent.tar.gz"
        for version, content in ((first, b"1"), (second, b"2")):
            assert (await anymind.http.get(f"{BASE}/uploads/{version['tarball_path']}")).content == content

    async def test_uploads_at_the_same_moment_get_numbers_of_their_own(self, anymind: Anymind):
        agent = (await anymind.agent())["id"]
        made = await asyncio.gather(*(upload(anymind, b"x", agent) for _ in range(5)))
        assert sorted(version["version"] for version in made) == ["v1", "v2", "v3", "v4", "v5"]
        assert len({version["tarball_path"] for version in made}) == 5

    async def test_a_repeated_upload_makes_one_version(self, anymind: Anymind, agent: int):
        headers = {"Idempotency-Key": uuid.uuid4().hex}

        async def post() -> httpx.Response:
            files = {"file": ("again.tar.gz", b"x")}
            return await anymind.http.post(f"{BASE}/uploads/agent/{agent}", files=files, headers=headers)

        first, second = await post(), await post()
        assert first.status_code == second.status_code == 201
        assert first.json() == second.json()

    async def test_an_archived_agent_builds_again(self, anymind: Anymind):
        agent = (await anymind.agent())["id"]
        await anymind.ok("PATCH", f"/agents/{agent}", json={"status": "archived"})
        await upload(anymind, agent_of(ECHO), agent)
        assert (await built(anymind, agent))["status"] == "ready"

    async def test_the_limit_counts_the_file_alone(self, stack: Environment, anymind: Anymind, agent: int, app: None):
        limit = int(stack.settings["ANYMIND_UPLOAD_LIMIT"])
        largest = await send(anymind, agent, bytes(limit), "large.tar.gz")
        assert largest.status_code == 201, largest.text
        stored = await versions.get(str(largest.json()["id"]))
        assert (await blobs.info(ARTIFACTS, stored.blob)).size == limit
        assert refused(await send(anymind, agent, bytes(limit + 1), "larger.tar.gz"), 413) == "File too large"

    def test_the_host_takes_the_largest_upload_with_its_form(self):
        limit = Settings.model_validate({}).anymind_upload_limit
        assert limit == 100 * 1024 * 1024
        assert limit + FORM_ROOM <= BODY_LIMIT

    async def test_another_users_agent_is_not_found(self, stranger: Anymind, agent: int):
        assert refused(await send(stranger, agent, agent_of(ECHO)), 404) == "Agent not found"


class TestInterrupted:
    async def test_a_version_without_a_workflow_is_built(self, anymind: Anymind, app: None):
        version = await upload(anymind, agent_of(ECHO))
        agent = (await built(anymind, version["agent_id"]))["id"]
        first = await versions.get(str(version["id"]))
        # What is left when the host died right after it had stored the version's row.
        left = AgentVersion(
            agent_id=first.agent_id, user_id=first.user_id, number=2, tarball_path=f"{first.tarball_path}.2",
            job_id=new_id(datetime.now(UTC) - timedelta(minutes=5)), blob=first.blob, size=first.size,
        )  # fmt: skip
        left = await versions.insert(left)
        assert (await anymind.http.post("/admin/functions/maintenance_minute", json={})).status_code == 202
        found = await eventually(
            lambda: anymind.ok("GET", f"/agents/{agent}"), until=lambda a: a["current_version_id"] == int(left.id)
        )
        assert found["status"] == "ready"

    async def test_an_archive_stays_when_storage_fails_after_its_version_was_stored(
        self, anymind: Anymind, app: None, monkeypatch: pytest.MonkeyPatch
    ):
        agent = str((await anymind.agent())["id"])

        async def receive(_: object, container: str, blob: str, **options: object) -> tuple[dict[str, str], Upload]:
            await blobs.put(container, blob, b"x")
            return {}, Upload("agent.tar.gz", None, 1, "")

        async def fail(*_: object) -> Agent:
            raise StorageUnavailable("away")

        monkeypatch.setattr(uploads, "receive_upload", receive)
        monkeypatch.setattr(agents, "update", fail)
        user = await users.get(str(anymind.id))
        with pytest.raises(StorageUnavailable):
            await uploads.upload_agent(int(agent), user, None, None)  # pyright: ignore[reportArgumentType]
        monkeypatch.undo()
        [version] = (await versions.page({"agent_id": agent})).items
        assert await blobs.get(ARTIFACTS, version.blob) == b"x"
        await settle(version.job_id, KIND, Exit(reason="lost"))

    async def test_a_version_whose_end_did_not_reach_its_agent_is_noted_there(self, anymind: Anymind, app: None):
        version = await upload(anymind, agent_of(ECHO))
        agent = (await built(anymind, version["agent_id"]))["id"]

        def forget(record: AgentVersion) -> None:
            record.settled = False

        def rebuild(record: Agent) -> None:
            record.status, record.current_version_id = AgentStatus.BUILDING, None

        await eventually(lambda: versions.get(str(version["id"])), until=lambda version: version.settled)
        await agents.update(str(agent), rebuild)
        left = await versions.update(str(version["id"]), forget)
        await reconcile_build(left.job_id)
        found = await anymind.ok("GET", f"/agents/{agent}")
        assert (found["status"], found["current_version_id"]) == ("ready", version["id"])


async def reconcile_build(job_id: str) -> None:
    """What the upkeep does once the workflow of a job has ended: the sweep finds it among the unfinished ones."""
    unfinished = [each async for each in AnymindBuild().unfinished()]
    assert job_id in unfinished
    assert await AnymindBuild().wanted(job_id)
    await settle(job_id, KIND, Exit(reason="lost"))


class TestDownload:
    async def test_the_archive_comes_back_as_it_was(self, anymind: Anymind, agent: int):
        version = await upload(anymind, b"0123456789", agent)
        path = f"{BASE}/uploads/{version['tarball_path']}"
        whole = await anymind.http.get(path)
        assert (whole.status_code, whole.content) == (200, b"0123456789")
        assert whole.headers["Content-Type"] == "application/gzip"
        part = await anymind.http.get(path, headers={"Range": "bytes=2-4"})
        assert (part.status_code, part.content) == (206, b"234")
        known = await anymind.http.get(path, headers={"If-None-Match": whole.headers["ETag"]})
        assert known.status_code == 304

    async def test_any_other_path_is_not_found(self, anymind: Anymind, agent: int):
        stored = (await upload(anymind, b"x", agent))["tarball_path"]
        others = ("nothing", "", "/", "agents/../x", "..%2F..%2Fetc%2Fpasswd", "%2e%2e/x", f"/{stored}", stored.upper())
        for path in others:
            answer = await anymind.http.get(f"{anymind.http.base_url}{BASE}/uploads/{path}")
            assert refused(answer, 404) in ("File not found", "Not Found"), path

    async def test_another_users_file_is_not_found(self, stranger: Anymind, anymind: Anymind, agent: int):
        version = await upload(anymind, b"x", agent)
        answer = await stranger.http.get(f"{BASE}/uploads/{version['tarball_path']}")
        assert refused(answer, 404) == "File not found"


class TestAgentStatus:
    """The order in which news of versions reaches an agent changes nothing."""

    def test_the_status_follows_the_newest_version(self):
        agent = Agent(id="1", user_id="1", name="x")
        agent.build("5")
        agent.build("7")
        agent.built("5", ready=True)
        assert (agent.status, agent.current_version_id) == (AgentStatus.BUILDING, "5")
        agent.built("7", ready=False)
        assert (agent.status, agent.current_version_id) == (AgentStatus.FAILED, "5")

    def test_a_late_begin_does_not_undo_an_end(self):
        agent = Agent(id="1", user_id="1", name="x")
        agent.built("5", ready=True)
        agent.build("5")
        assert agent.status is AgentStatus.READY

    def test_an_older_version_never_becomes_the_current_one(self):
        agent = Agent(id="1", user_id="1", name="x")
        agent.built("10", ready=True)
        agent.built("9", ready=True)
        assert agent.current_version_id == "10"
