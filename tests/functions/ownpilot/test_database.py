"""Backups, restores and maintenance of all that a person keeps."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx
import orjson
import pytest

from functions.ownpilot import api
from functions.ownpilot.core import settings_store
from functions.ownpilot.core.collections import KEPT, LEFT_OUT
from functions.ownpilot.core.custom_records import clear_custom_table
from functions.ownpilot.core.database_operations import (
    CONTAINER,
    INTERRUPTED,
    DatabaseOperation,
    RestoreInProgress,
    delete_backup,
    folder_of,
    operations,
    operations_of,
)
from functions.ownpilot.core.usage import Price, record_usage
from functions.ownpilot.database import lines, restoring, steps
from functions.ownpilot.database.bodies import name_of
from functions.ownpilot.expenses import expenses
from functions.ownpilot.notes import notes
from functions.ownpilot.plans.records import Plan, plans
from functions.ownpilot.plans.restored import REASON
from shared import blobs, tables
from shared.sealing import sealed_fields
from shared.workflows import WorkflowClient
from tests.support.ownpilot import OwnPilot, data_of, refused
from tests.support.waiting import eventually

VIEWS = (
    "/tasks", "/notes", "/bookmarks", "/contacts", "/calendar", "/expenses", "/goals", "/memories", "/captures",
    "/profile", "/custom-data/tables", "/pomodoro/history", "/costs/usage", "/config-services",
    "/local-providers", "/autonomy/config", "/agents", "/settings/theme",
    "/debug/recent", "/chat/history", "/triggers", "/plans",
)  # fmt: skip
"""What shows the data of a person."""


async def ended(me: OwnPilot) -> dict[str, Any]:
    """The state of the person's operations, when none runs any more."""

    async def state() -> dict[str, Any]:
        return await me.get("/database/operations")

    return await eventually(state, until=lambda it: not it["isRunning"])


async def begun(me: OwnPilot, what: str, **members: Any) -> dict[str, Any]:
    """The data of the answer to the beginning of an operation."""
    answer = await me.send("POST", f"/database/{what}", json=members)
    assert answer.status_code == 202, answer.text
    return data_of(answer)


async def saved(me: OwnPilot) -> str:
    """The name of a new backup, made in this process."""
    now = datetime.now(UTC)
    backup = DatabaseOperation(
        user_id=me.user, created_at=now, operation="backup", name=name_of(now), order=[*KEPT]
    )  # fmt: skip
    await carried_out(backup)
    return backup.name or ""


async def fill(me: OwnPilot) -> dict[str, str]:
    """Keep something of each kind; return the ids that views need."""
    some, now = range(3), datetime.now(UTC)
    made: list[Any] = await asyncio.gather(
        asyncio.gather(
            *(me.post("/tasks", title=f"task {number}", dueDate="2030-01-01") for number in some),
            *(me.post("/notes", title=f"note {number}", content="c" * 1000) for number in some),
            *(me.post("/expenses", amount=number + 1, category="food", description="d") for number in some),
            *(me.post("/memories", type="fact", content=f"fact {number}", importance=0.5) for number in some),
            me.post("/notes", title="long", content="ünlikely " * 25_000),  # too long for a column
            me.post("/bookmarks", title="b", url="https://example.com"),
            me.post("/contacts", name="Ann"),
            me.post("/calendar", title="c", startTime="2030-01-01"),
            me.post("/captures", content="an idea"),
            me.post("/profile/data", category="identity", key="name", value="Ann"),
            me.post("/pomodoro/session/start", type="work", durationMinutes=25),
            me.post("/agents", name="a", systemPrompt="p"),
            me.post("/settings/theme", value="dark"),
            me.data("PATCH", "/autonomy/config", json={"level": 3}),
            me.post("/triggers", name="t", type="webhook", config={}, action={"type": "notification"}),
        ),
        record_usage(me.user, "p", "m", price=Price(1, 2), input_tokens=10, output_tokens=20, at=now),
        me.post("/goals", title="g"),
        me.post("/habits", name="h"),
        me.post("/custom-data/tables", name="recipes", displayName="r", columns=[{"name": "title", "type": "text"}]),
        me.post("/local-providers", name="l", providerType="vllm", baseUrl="http://x.test"),
        me.post("/plans", name="p", goal="g"),
    )
    _, _, goal, habit, _, local, plan = made
    ids = {"goal": goal["goal"]["id"], "habit": habit["habit"]["id"], "plan": plan["plan"]["id"]}
    await asyncio.gather(
        me.post(f"/goals/{ids['goal']}/steps", title="s"),
        me.post(f"/habits/{ids['habit']}/complete", count=2),
        me.post(f"/plans/{ids['plan']}/steps", type="user_input", name="s", orderNum=1, config={"question": "q"}),
        *(me.post("/custom-data/tables/recipes/records", data={"title": f"t{number}"}) for number in some),
        me.post(f"/local-providers/{local['id']}/models", modelId="m"),
        record_usage(me.user, "p", "m", price=Price(1, 2), input_tokens=30, at=now - timedelta(days=40)),
    )
    return ids


async def seen(me: OwnPilot, ids: dict[str, str]) -> dict[str, Any]:
    """What all views show."""
    paths = [
        *VIEWS, f"/goals/{ids['goal']}", f"/plans/{ids['plan']}", f"/habits/{ids['habit']}",
        f"/habits/{ids['habit']}/history", "/custom-data/tables/recipes/records", "/notes?search=long",
    ]  # fmt: skip
    found = await asyncio.gather(*(me.get(path) for path in paths))
    return dict(zip(paths, found, strict=True))


class TestRegistry:
    def test_every_collection_is_kept_or_left_out_for_a_reason(self):
        assert len(api.own_routes) > 0  # so that all of them are declared
        declared = {name for name in tables.collections if name.startswith("Ownpilot")}
        assert declared == {*KEPT, *LEFT_OUT}
        assert not {*KEPT} & {*LEFT_OUT} and all(LEFT_OUT.values())

    def test_what_lies_by_its_parent_is_replaced_before_the_parent(self):
        order = [*KEPT]
        assert all(order.index(name) < order.index(place.parent) for name, place in KEPT.items() if place.parent)

    def test_a_record_can_be_made_without_its_sealed_values(self):
        for table in sealed_fields.keys() & KEPT.keys():
            fields = tables.collections[table].model.model_fields
            assert not [name for name in sealed_fields[table] if fields[name].is_required()], table


@pytest.mark.usefixtures("app")
class TestBackups:
    async def test_a_restore_brings_back_what_was_and_removes_what_was_not(self, me: OwnPilot):
        ids = await fill(me)
        await settings_store.seal_key(me.user, "openai", "sk-the-old-key")
        before, counts = await seen(me, ids), await me.get("/audit/stats")
        assert (await me.get("/costs/usage"))["total"] == 1
        started = await begun(me, "backup", format="sql")
        assert started["format"] == "jsonl" and "workspaces" in started["message"]
        done = await ended(me)
        assert (done["lastResult"], done["operation"]) == ("success", "backup")
        # The beginning of the backup is an event itself, which is written beside it.
        kept = await me.get("/audit/stats")
        assert counts["eventCount"] < kept["eventCount"] <= counts["eventCount"] + 1

        for path in ("/tasks", "/notes", "/contacts"):
            for each in await me.get(path):
                await me.data("DELETE", f"{path}/{each['id']}")
        await me.data("DELETE", f"/habits/{ids['habit']}")
        await me.data("DELETE", "/custom-data/tables/recipes")
        await me.data("DELETE", f"/plans/{ids['plan']}")
        await me.post("/settings/theme", value="light")
        await me.data("PATCH", f"/goals/{ids['goal']}", json={"title": "another"})
        for number in range(3):
            await me.post("/memories", type="fact", content=f"new {number}")
        more = (await me.post("/habits", name="new"))["habit"]["id"]
        await me.post(f"/habits/{more}/complete")
        await record_usage(me.user, "p", "m", price=Price(1, 2), input_tokens=1000)
        await settings_store.seal_key(me.user, "openai", "sk-the-new-key")
        await settings_store.seal_key(me.user, "groq", "sk-another-key")
        await begun(me, "restore", filename=started["filename"])
        done = await ended(me)
        assert (done["lastResult"], done["operation"]) == ("success", "restore"), done
        after = await seen(me, ids)
        assert {path: after[path] for path in before if after[path] != before[path]} == {}
        refused(await me.send("GET", f"/habits/{more}"), 404)
        assert (await me.get("/custom-data/tables"))[0]["name"] == "recipes"
        assert await settings_store.api_key_of(me.user, "openai") == "sk-the-new-key"
        assert await settings_store.api_key_of(me.user, "groq") == "sk-another-key"
        assert [each["name"] for each in (await me.get("/database/backups"))["backups"]] == [started["filename"]]
        assert (await me.get("/audit/stats"))["eventCount"] == (await me.get("/audit", limit=1))["total"]

    async def test_plans_that_ran_then_or_run_now_end_with_their_workflows_and_can_be_executed_anew(self, me: OwnPilot):
        async def executed(id_: str) -> str:
            result = (await me.post(f"/plans/{id_}/execute"))["result"]
            assert result["status"] == "paused", result
            return (await waiting(id_, 1)).instance

        async def waiting(id_: str, turn: int) -> Plan:
            """The plan, once its workflow waits for the event of this turn."""
            return await eventually(
                lambda: plans.of(me.user).get(id_), until=lambda it: (it.turns, it.awaits) == (turn, f"wake-{turn}")
            )

        async def has_ended(instance: str) -> None:
            url = f"/runtime/webhooks/durabletask/instances/{instance}"
            await eventually(lambda: me.http.get(url), until=lambda it: it.json()["runtimeStatus"] == "Completed")

        ids = [(await me.post("/plans", name=name, goal="g"))["plan"]["id"] for name in ("then", "now", "gone")]
        for id_ in ids:
            for number in range(2):
                await me.post(
                    f"/plans/{id_}/steps", type="user_input", name="Ask", orderNum=number, config={"question": "?"}
                )
        then, now, gone = ids
        instances = [await executed(then), await executed(gone)]
        name = await saved(me)
        await me.post(f"/plans/{then}/resume", input="x")
        await waiting(then, 2)  # its workflow waits for another event than at the time of the backup
        instances.append(await executed(now))
        await me.data("DELETE", f"/plans/{gone}")
        await has_ended(instances[1])
        await begun(me, "restore", filename=name)
        assert (await ended(me))["lastResult"] == "success"
        for id_ in (then, gone):
            shown = await me.get(f"/plans/{id_}")
            assert (shown["status"], shown["error"]) == ("cancelled", REASON)
            assert [each["status"] for each in shown["steps"]] == ["pending", "pending"]
            assert (await me.get(f"/plans/{id_}/history"))["history"][0]["eventType"] == "cancelled"
        assert (await me.get(f"/plans/{now}"))["status"] == "pending"

        for instance in instances:
            await has_ended(instance)
        for id_ in ids:
            assert (await me.post(f"/plans/{id_}/execute"))["result"]["status"] == "paused"
            assert (await plans.of(me.user).get(id_)).instance not in instances

    async def test_no_secret_is_in_a_file(self, me: OwnPilot):
        await settings_store.seal_key(me.user, "openai", "sk-a-secret")
        await me.post("/local-providers", name="l", providerType="vllm", baseUrl="http://x.test", apiKey="sk-too")
        await saved(me)
        [backup] = await operations_of(me.user, cast("WorkflowClient", None))
        text = gzip.decompress(await blobs.get(CONTAINER, backup.parts[0].blob))
        assert b"sk-" not in text and b'"sealed' not in text
        found = [orjson.loads(each) for each in text.splitlines()[1:]]
        assert {"OwnpilotLocalProviders", "OwnpilotSettings"} <= {each["table"] for each in found}

    async def test_one_operation_runs_at_a_time(self, me: OwnPilot):
        answers = await asyncio.gather(*(me.send("POST", f"/database/{what}", json={}) for what in
                                         ("backup", "maintenance", "backup", "maintenance")))  # fmt: skip
        statuses = [each.status_code for each in answers]
        assert 202 in statuses and {*statuses} <= {202, 409}, statuses
        for each in answers:
            if each.status_code == 409:
                refused(each, 409, "OPERATION_IN_PROGRESS")
        assert (await ended(me))["lastResult"] == "success"
        running = await operations.of(me.user).insert(DatabaseOperation(user_id=me.user, operation="backup"))
        refused(await me.send("POST", "/database/backup", json={}), 409, "OPERATION_IN_PROGRESS")
        assert (await me.get("/database/operation/status"))["isRunning"] is True
        assert running.running

    async def test_an_operation_whose_workflow_has_died_ends_as_a_failure(self, me: OwnPilot):
        long_ago = datetime.now(UTC) - timedelta(minutes=2)
        lost = DatabaseOperation(user_id=me.user, operation="restore", created_at=long_ago)
        await operations.of(me.user).insert(lost)
        state = await me.get("/database/operations")
        assert (state["isRunning"], state["lastResult"], state["lastError"]) == (False, "failure", INTERRUPTED)
        await saved(me)

    async def test_a_backup_is_named_and_nothing_else_is(self, me: OwnPilot, http: httpx.AsyncClient):
        name = await saved(me)
        refused(await me.send("POST", "/database/restore", json={}), 400, "MISSING_FILENAME")
        refused(await me.send("POST", "/database/restore", json={"filename": " "}), 400, "MISSING_FILENAME")
        for wrong in ("../x", f"../{name}", f"/{name}", "x", name.upper(), "\x00", "%2e%2e"):
            refused(await me.send("POST", "/database/restore", json={"name": wrong}), 404, "BACKUP_NOT_FOUND")
        other = OwnPilot(http)
        refused(await other.send("POST", "/database/restore", json={"name": name}), 404, "BACKUP_NOT_FOUND")
        refused(await other.send("DELETE", f"/database/backups/{name}"), 404, "BACKUP_NOT_FOUND")
        assert (await other.get("/database/backups")) == {"backups": [], "count": 0}
        assert (await begun(me, "restore", name=name))["filename"] == name
        assert (await ended(me))["lastResult"] == "success"

    async def test_a_deleted_backup_is_gone_with_its_files(self, me: OwnPilot):
        first, second = await saved(me), await saved(me)
        shown = await me.get("/database/backups")
        assert [each["name"] for each in shown["backups"]] == [second, first] and shown["count"] == 2
        assert all(each["size"] > 0 and each["created"].endswith("Z") for each in shown["backups"])
        page = await me.get("/database/backups", limit=1, offset=1)
        assert [each["name"] for each in page["backups"]] == [first] and page["count"] == 2
        deleted = await me.data("DELETE", f"/database/backups/{first}")
        assert (deleted["name"], deleted["deleted"]) == (first, True)
        assert "deleted" in (await me.data("DELETE", f"/database/backup/{second}"))["message"]
        refused(await me.send("DELETE", f"/database/backup/{second}"), 404, "BACKUP_NOT_FOUND")
        assert [name async for name, _ in blobs.names(CONTAINER, folder_of(me.user))] == []
        assert (await me.get("/database/backups"))["count"] == 0

    async def test_status_and_figures(self, me: OwnPilot):
        await me.post("/notes", title="t", content="c")
        assert (await me.get("/database/status"))["operationStatus"] == {"isRunning": False}
        before = await me.get("/database/stats")
        assert before["database"] == {"size": "not measured yet", "sizeBytes": 0, "measuredAt": None}
        assert {each["name"]: each["rowCount"] for each in before["tables"]}["OwnpilotNotes"] == 1
        assert set(before["connections"]) == {"active", "max"} and before["version"]
        await saved(me)
        assert (await begun(me, "maintenance", type="analyze"))["type"] == "analyze"
        done = await ended(me)
        assert done["output"][-1].endswith("counted")
        status = await me.get("/database/status")
        assert (status["type"], status["connected"], status["hasLegacyData"]) == ("azure-tables", True, False)
        assert status["operationStatus"] == status["operation"] and status["operation"]["isRunning"] is False
        assert status["stats"]["databaseSize"] == status["databaseSize"] != "not measured yet"
        assert status["tableCount"] == len(KEPT) == len(before["tables"]) and len(status["backups"]) == 1
        assert {"host", "port", "database"} <= set(status)
        assert (await me.get("/database/stats"))["database"]["sizeBytes"] > 0

    async def test_maintenance_removes_what_is_lost_and_says_how_much(
        self, me: OwnPilot, monkeypatch: pytest.MonkeyPatch
    ):
        await blobs.put(CONTAINER, f"{folder_of(me.user)}lost/00000-x", b"x")
        monkeypatch.setattr("functions.ownpilot.database.cleaning.AGE", timedelta(hours=-1))
        order = DatabaseOperation(user_id=me.user, operation="maintenance", maintenance="vacuum", order=[*KEPT])
        await operations.of(me.user).insert(order)
        assert await steps.step(me.user, order.id) is False
        state = await me.get("/database/operations")
        assert state["lastResult"] == "success" and "1 lost files removed" in state["output"], state
        assert "0 old log lines removed" in state["output"]
        refused(await me.send("POST", "/database/maintenance", json={"type": "reindex"}), 400, "INVALID_REQUEST")
        refused(await me.send("POST", "/database/backup", json={"format": "zip"}), 400, "INVALID_REQUEST")


@pytest.fixture
async def small_parts(monkeypatch: pytest.MonkeyPatch, app: None) -> AsyncIterator[None]:
    """Files of some lines, and steps that end after one of them."""
    monkeypatch.setattr(steps, "MAX_LINES", 9)
    monkeypatch.setattr(steps, "SECONDS", -1.0)
    yield


async def carried_out(operation: DatabaseOperation, hindered: Callable[[int], bool] = lambda _: False) -> int:
    """Take all steps of an operation in this process, some of which are interrupted; return how many there were."""
    await operations.of(operation.user_id).insert(operation)
    for number in range(500):
        if hindered(number):
            attempt = asyncio.create_task(steps.step(operation.user_id, operation.id))
            await asyncio.sleep(0.002 * (number % 7))
            attempt.cancel()
            await asyncio.wait([attempt])
        elif not await steps.step(operation.user_id, operation.id):
            return number + 1
    raise AssertionError("the operation has no end")


async def rows_of(user: str) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Every record of a person that a backup holds, as its columns."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    async for row in lines.stored_rows(user, [*KEPT], None):
        found[row.table, row.partition, row.collection.id_of(row.row)] = await row.values() or {}
    return found


@pytest.mark.usefixtures("small_parts")
class TestSteps:
    async def test_many_small_files_and_interruptions_restore_the_same_records(self, me: OwnPilot):
        ids = await fill(me)
        before = await rows_of(me.user)
        backup = DatabaseOperation(user_id=me.user, operation="backup", name="b", order=[*KEPT])
        assert await carried_out(backup, hindered=lambda number: number % 3 == 1) >= len(before) / 9
        backup = await operations.of(me.user).get(backup.id)
        assert backup.result == "success" and backup.records == len(before) > 30
        assert sum(part.records for part in backup.parts) == len(before)
        await self._damage(me, ids)
        restore = DatabaseOperation(user_id=me.user, operation="restore", name="b", source=backup.id)
        await carried_out(restore, hindered=lambda number: number % 2 == 1)
        done = await operations.of(me.user).get(restore.id)
        assert (done.result, done.error, done.left_out) == ("success", None, 0)
        after = await rows_of(me.user)
        new = {key for key in after if key not in before}
        assert {key[0] for key in new} <= {"OwnpilotAudit"}  # the event that tells of the restore
        assert {key: after.get(key) for key in before if after.get(key) != before[key]} == {}

    async def test_of_two_records_whose_unique_values_were_swapped_none_removes_the_other_that_is_back(
        self, me: OwnPilot, monkeypatch: pytest.MonkeyPatch
    ):
        for content in ("one", "two"):
            await me.post("/memories", type="fact", content=content)
        kept = tables.collections["OwnpilotMemories"].of(me.user)
        first, second = [each async for each in kept.all()]
        await self._swap(me, first.id, second.id)
        find = type(kept).find

        async def find_late(collection: Any, field: str, value: object) -> Any:
            monkeypatch.setattr(type(kept), "find", find)
            holder = await find(collection, field, value)
            await restoring._put(kept, second, ())
            return holder

        monkeypatch.setattr(type(kept), "find", find_late)
        assert await restoring._put(kept, first, ())
        assert {each.id: each.content async for each in kept.all()} == {
            first.id: first.content, second.id: second.content
        }  # fmt: skip

    async def _swap(self, me: OwnPilot, first: str, second: str) -> None:
        """Swap the contents of two memories, which must be unique."""
        one, two = [(await me.get(f"/memories/{each}"))["content"] for each in (first, second)]
        for memory, content in ((first, "swapping"), (second, one), (first, two)):
            await me.data("PATCH", f"/memories/{memory}", json={"content": content})

    async def _damage(self, me: OwnPilot, ids: dict[str, str]) -> None:
        """Delete, change and add; swap values that must be unique."""
        await me.data("DELETE", f"/habits/{ids['habit']}")
        first, second, *_ = (await me.get("/memories"))["memories"]
        await self._swap(me, first["id"], second["id"])
        for note in (await me.get("/notes"))[:2]:
            await me.data("DELETE", f"/notes/{note['id']}")
        await me.data("DELETE", "/custom-data/tables/recipes")
        await me.post("/custom-data/tables", name="recipes", displayName="x", columns=[{"name": "a", "type": "text"}])
        await me.post("/custom-data/tables/recipes/records", data={"a": "b"})
        for number in range(5):
            await me.post("/expenses", amount=number + 1, category="food", description="new")

    async def test_a_file_that_is_no_backup_of_this_person_changes_nothing(self, me: OwnPilot):
        for number in range(4):
            await me.post("/notes", title=f"n{number}", content="c")
        backup = DatabaseOperation(user_id=me.user, operation="backup", name="b", order=[*KEPT])
        await carried_out(backup)
        backup = await operations.of(me.user).get(backup.id)
        place = next(number for number, part in enumerate(backup.parts) if part.records)
        part = backup.parts[place]
        good = gzip.decompress(await blobs.get(CONTAINER, part.blob))
        header, *rest = good.splitlines()
        line = orjson.loads(rest[0])

        def packed(*texts: bytes) -> bytes:
            return gzip.compress(b"\n".join([header, *texts, *rest[len(texts) :]]))

        def with_values(**members: Any) -> bytes:
            return packed(orjson.dumps({**line, "values": {**line["values"], **members}}))

        await me.post("/notes", title="later", content="c")
        kept = await me.get("/notes")
        for bad in (
            b"no archive", gzip.compress(good)[:-5], gzip.compress(b"\n".join([*rest])), packed(b"{"), packed(b"[]"),
            gzip.compress(good.replace(me.user.encode(), b"another")),
            packed(orjson.dumps({**line, "table": "Clients"})),
            packed(orjson.dumps({**line, "partition": "default"})), packed(orjson.dumps({**line, "id": "../x"})),
            with_values(created_at="yesterday"), with_values(user_id="another"),
            gzip.compress(b"\n".join([header, *rest[::-1]])) if len(rest) > 1 else b"", gzip.compress(header),
        ):  # fmt: skip
            await blobs.put(CONTAINER, part.blob, bad)
            restore = DatabaseOperation(user_id=me.user, operation="restore", name="b", source=backup.id)
            await carried_out(restore)
            done = await operations.of(me.user).get(restore.id)
            assert done.result == "failure" and "Nothing was changed" in (done.error or ""), bad[:60]
            assert await me.get("/notes") == kept
        await blobs.delete(CONTAINER, part.blob)
        restore = DatabaseOperation(user_id=me.user, operation="restore", name="b", source=backup.id)
        await carried_out(restore)
        assert "missing" in ((await operations.of(me.user).get(restore.id)).error or "")

    async def test_a_deletion_that_was_ordered_before_a_restore_does_not_come_after_it(self, me: OwnPilot):
        columns = [{"name": "title", "type": "text"}]
        table = await me.post("/custom-data/tables", name="t", displayName="t", columns=columns)
        await me.post("/custom-data/tables/t/records", data={"title": "kept"})
        backup = DatabaseOperation(user_id=me.user, operation="backup", name="b", order=[*KEPT])
        await carried_out(backup)
        order = {"user": me.user, "table": table["id"], "at": datetime.now(UTC).isoformat()}
        restore = DatabaseOperation(user_id=me.user, operation="restore", name="b", source=backup.id)
        await operations.of(me.user).insert(restore)
        with pytest.raises(RestoreInProgress):
            await clear_custom_table(order)
        while await steps.step(me.user, restore.id):
            pass
        await clear_custom_table(order)
        assert (await me.get("/custom-data/tables/t/records"))["total"] == 1
        await clear_custom_table({**order, "at": datetime.now(UTC).isoformat()})
        refused(await me.send("GET", "/custom-data/tables/t/records"), 404)

    async def test_an_analysis_counts_every_record_once(self, me: OwnPilot):
        for number in range(3):
            await me.post("/notes", title=f"n{number}", content="c")
        await record_usage(me.user, "p", "m", price=None)
        order = DatabaseOperation(user_id=me.user, operation="maintenance", maintenance="full", order=[*KEPT])
        assert await carried_out(order) > 4
        done = await operations.of(me.user).get(order.id)
        assert done.result == "success" and done.records == len(await rows_of(me.user))

    async def test_a_backup_that_is_being_restored_is_not_deleted(self, me: OwnPilot):
        backup = DatabaseOperation(user_id=me.user, operation="backup", name="b", order=[*KEPT])
        await carried_out(backup)
        restore = DatabaseOperation(user_id=me.user, operation="restore", name="b", source=backup.id)
        await operations.of(me.user).insert(restore)
        refused(await me.send("DELETE", "/database/backups/b"), 409, "OPERATION_IN_PROGRESS")
        await operations.of(me.user).delete(restore.id)
        none = cast("WorkflowClient", None)
        await delete_backup(me.user, "b", none)
        assert [each.is_backup for each in await operations_of(me.user, none)] == [False]


async def test_the_notes_and_expenses_of_others_stay(app: None, me: OwnPilot, http: httpx.AsyncClient):
    """A restore reaches the records of its own person only, in collections of one partition for all too."""
    other = OwnPilot(http)
    await other.post("/notes", title="mine", content="c")
    name = await saved(me)
    await begun(me, "restore", name=name)
    await ended(me)
    assert len(await other.get("/notes")) == 1
    assert await notes.collection.of(me.user).count() == 0 == await expenses.collection.of(me.user).count()
