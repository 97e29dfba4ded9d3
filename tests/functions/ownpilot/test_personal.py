"""Personal things: tasks, notes, bookmarks, dates, people, and their numbers."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from bench.figures import Call
from functions.ownpilot.core.entry import iso
from functions.ownpilot.notes import notes
from functions.ownpilot.summary import is_upcoming_birthday
from functions.ownpilot.tasks import tasks
from infra.local.environment import Environment
from shared.http.errors import InvalidRequest
from shared.http.operations import MAX_CHARACTERS
from tests.support.ownpilot import OwnPilot, data_of, refused
from tests.support.records import Counting

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def day(number: int) -> str:
    return iso(TODAY + timedelta(days=number))[:10]


async def titles(me: OwnPilot, path: str, **query: Any) -> list[str]:
    return [item.get("title", item.get("name")) for item in await me.get(path, **query)]


class TestTasks:
    async def test_the_most_urgent_come_first_then_the_earliest_due_and_those_without_a_date_last(self, me: OwnPilot):
        for title, priority, due in [
            ("low", "low", day(1)), ("none", "high", None), ("late", "high", day(9)), ("soon", "high", day(2)),
            ("older", "normal", None), ("newer", "medium", None), ("now", "urgent", None),
        ]:  # fmt: skip
            await me.post("/tasks", title=title, priority=priority, dueDate=due)
        assert await titles(me, "/tasks") == ["now", "soon", "late", "none", "newer", "older", "low"]
        [low] = [task for task in await me.get("/tasks") if task["title"] == "low"]
        await me.data("PATCH", f"/tasks/{low['id']}", json={"priority": "urgent"})
        assert (await titles(me, "/tasks"))[:2] == ["low", "now"]

    async def test_filters_repeat_and_combine_and_empty_ones_are_absent(self, me: OwnPilot):
        for number, status in enumerate(["pending", "in_progress", "completed", "cancelled"]):
            await me.post("/tasks", title=status, status=status, projectId=f"p{number % 2}", priority="normal")
        assert sorted(await titles(me, "/tasks", status=["pending", "completed"])) == ["completed", "pending"]
        assert await titles(me, "/tasks", status=["pending", "completed", "cancelled"], projectId="p1") == ["cancelled"]
        assert len(await titles(me, "/tasks", priority="medium", category="")) == 4
        refused(await me.send("GET", "/tasks", params={"status": "open"}), 400, "INVALID_REQUEST")

    async def test_completing_sets_the_time_and_reopening_clears_it(self, me: OwnPilot):
        task = await me.post("/tasks", title="t")
        done = await me.data("POST", f"/tasks/{task['id']}/complete")
        again = await me.data("POST", f"/tasks/{task['id']}/complete")
        assert (done["status"], again["completedAt"]) == ("completed", done["completedAt"])
        reopened = await me.data("PUT", f"/tasks/{task['id']}", json={"status": "pending", "completedAt": day(0)})
        assert "completedAt" not in reopened
        assert (await me.post("/tasks", title="t", status="completed"))["completedAt"]

    async def test_days_are_those_of_utc_and_hold_open_tasks_only(self, me: OwnPilot):
        for number in (-2, -1, 0, 1, 7, 8):
            await me.post("/tasks", title=str(number), dueDate=day(number))
        await me.post("/tasks", title="late today", dueDate=f"{day(0)}T23:59:59.999Z", status="in_progress")
        await me.post("/tasks", title="none")
        for status in ("completed", "cancelled"):
            await me.post("/tasks", title=status, dueDate=day(0), status=status)
        assert await titles(me, "/tasks/today") == ["0", "late today"]
        assert await titles(me, "/tasks/overdue") == ["-2", "-1"]
        assert await titles(me, "/tasks/upcoming") == ["0", "late today", "1", "7"]
        assert await titles(me, "/tasks/upcoming", days=1) == ["0", "late today", "1"]

    @pytest.mark.parametrize(
        ("given", "shown"),
        [("2030-03-01", "2030-03-01T00:00:00.000Z"), ("2030-03-01T10:00:00", "2030-03-01T10:00:00.000Z"),
         ("2030-03-01T10:00:00.1234+02:00", "2030-03-01T08:00:00.123Z"), (None, None),
         ("tomorrow", 400), (1700000000, 400), ("2030-02-30", 400), ("0001-01-01T00:00:00+14:00", 400)],
    )  # fmt: skip
    async def test_times_are_read_as_iso_8601_and_shown_in_utc(self, me: OwnPilot, given: Any, shown: Any):
        answer = await me.send("POST", "/tasks", json={"title": "t", "dueDate": given})
        if shown == 400:
            assert refused(answer, 400, "INVALID_REQUEST").startswith("dueDate: ")
        else:
            assert data_of(answer).get("dueDate") == shown


class TestNotes:
    async def test_pinned_ones_come_first_and_archived_ones_are_hidden(self, me: OwnPilot):
        for title in ("first", "second", "old"):
            await me.post("/notes", title=title, content="c")
        old, second, first = await me.get("/notes")
        await me.data("PATCH", f"/notes/{old['id']}", json={"isArchived": True})
        pinned = await me.data("POST", f"/notes/{first['id']}/pin")
        assert (pinned["isPinned"], await titles(me, "/notes")) == (True, ["first", "second"])
        assert await titles(me, "/notes", archived="true") == ["old"]
        assert await titles(me, "/notes", pinned="true") == ["first"]
        assert await titles(me, "/notes", pinned="", archived="") == ["first", "second"]
        assert (await me.data("POST", f"/notes/{first['id']}/pin"))["isPinned"] is False
        assert second["contentType"] == "markdown" and "color" not in second

    async def test_a_long_note_is_found_by_its_last_word(self, me: OwnPilot):
        content = "word " * 12_000 + "Schlüsselwort"
        await me.post("/notes", title="other", content="c")
        note = await me.post("/notes", title="long", content=content, tags=["Größe"])
        assert [found["content"] for found in await me.get("/notes", search="SCHLÜSSEL")] == [content]
        assert await titles(me, "/notes", search="grösse") == ["long"]
        assert (await me.get(f"/notes/{note['id']}"))["content"] == content

    @pytest.mark.parametrize(
        "members", [{}, {"title": "t"}, {"title": "", "content": "c"}, {"title": "t", "content": " "}]
    )
    async def test_title_and_content_are_needed(self, me: OwnPilot, members: dict[str, str]):
        refused(await me.send("POST", "/notes", json=members), 400, "INVALID_REQUEST")

    async def test_an_absent_body_is_an_empty_object_and_another_type_is_named(self, me: OwnPilot):
        note = await me.post("/notes", title="t", content="c")
        assert refused(await me.send("POST", "/notes"), 400, "INVALID_REQUEST").startswith("title: ")
        assert (await me.data("PATCH", f"/notes/{note['id']}"))["title"] == "t"
        text = await me.send("POST", "/notes", content=b'{"title": "t"}', headers={"Content-Type": "text/plain"})
        assert "text/plain" in refused(text, 400, "BAD_REQUEST")

    async def test_a_change_leaves_the_rest_and_ignores_what_it_does_not_know(self, me: OwnPilot):
        note = await me.post("/notes", title="t", content="c", color="red", category="a")
        body = {"title": "u", "color": None, "unknown": 1, "id": "x", "userId": "another"}
        changed = await me.data("PUT", f"/notes/{note['id']}", json=body)
        expected = {**note, "title": "u", "updatedAt": changed["updatedAt"]}
        del expected["color"]
        assert changed == expected
        assert changed["updatedAt"] > note["updatedAt"]
        refused(await me.send("PATCH", f"/notes/{note['id']}", json={"title": " "}), 400, "INVALID_REQUEST")

    async def test_a_list_without_a_limit_has_all_and_a_bad_limit_is_none(self, me: OwnPilot):
        await asyncio.gather(*(me.post("/notes", title=str(number), content="c") for number in range(60)))
        assert len(await me.get("/notes")) == len(await me.get("/notes", limit="none", offset=-1)) == 60
        assert len(await me.get("/notes", limit=7, offset=55)) == 5

    async def test_another_users_note_is_not_found(self, me: OwnPilot):
        note, stranger = await me.post("/notes", title="t", content="c"), OwnPilot(me.http)
        assert await stranger.get("/notes") == []
        for method in ("GET", "DELETE", "PATCH"):
            refused(await stranger.send(method, f"/notes/{note['id']}"), 404, "NOT_FOUND")
        assert note["userId"] == me.user
        assert await me.data("DELETE", f"/notes/{note['id']}") == {"deleted": True}
        refused(await me.send("DELETE", f"/notes/{note['id']}"), 404, "NOT_FOUND")


class TestOthers:
    async def test_favourite_bookmarks_come_first_and_visits_are_the_apps_own(self, me: OwnPilot):
        for title in ("a", "b"):
            await me.post("/bookmarks", title=title, url=f"https://{title}.example", visitCount=7)
        b, a = await me.get("/bookmarks")
        assert (await me.data("POST", f"/bookmarks/{a['id']}/favorite"))["isFavorite"] is True
        assert await titles(me, "/bookmarks") == ["a", "b"]
        assert await titles(me, "/bookmarks", favorite="true") == ["a"]
        assert (b["visitCount"], await titles(me, "/bookmarks", search="B.EX")) == (0, ["b"])

    async def test_favourite_contacts_come_first_then_by_name(self, me: OwnPilot):
        for name in ("zoe", "Ben", "ann"):
            await me.post("/contacts", name=name, company="Acme", customFields={"a": [None]}, notes=f"{name} sings")
        await me.data("POST", f"/contacts/{(await me.get('/contacts', search='zoe'))[0]['id']}/favorite")
        assert await titles(me, "/contacts", company="Acme") == ["zoe", "ann", "Ben"]
        assert (await me.get("/contacts", search="BEN SINGS"))[0]["customFields"] == {"a": [None]}

    async def test_the_calendar_runs_by_time_within_a_range(self, me: OwnPilot):
        for title, start in (("c", "2030-01-03"), ("a", "2030-01-01T09:00:00Z"), ("b", "2030-01-02")):
            await me.post("/calendar", title=title, startTime=start)
        assert await titles(me, "/calendar") == ["a", "b", "c"]
        assert await titles(me, "/calendar", startAfter="2030-01-02") == ["b", "c"]
        assert await titles(me, "/calendar", startBefore="2030-01-02T00:00:00Z") == ["a"]
        assert await titles(me, "/calendar", startAfter="2030-01-01", startBefore="2030-01-03", search="B") == ["b"]
        assert await titles(me, "/calendar", startAfter="", startBefore="") == ["a", "b", "c"]
        refused(await me.send("GET", "/calendar", params={"startAfter": "soon"}), 400, "INVALID_REQUEST")

    async def test_nothing_ends_before_it_starts(self, me: OwnPilot):
        body = {"title": "t", "startTime": "2030-01-02", "endTime": "2030-01-01"}
        assert "endTime" in refused(await me.send("POST", "/calendar", json=body), 400, "INVALID_REQUEST")
        event = await me.post("/calendar", title="t", startTime="2030-01-02", endTime="2030-01-02")
        refused(await me.send("PATCH", f"/calendar/{event['id']}", json={"startTime": "2030-01-03"}), 400)

    async def test_a_reminder_beyond_all_numbers_is_refused_by_its_own_name(self, me: OwnPilot):
        for minutes in (1 << 64, -(1 << 64), 1.5, "soon"):
            body = {"title": "t", "startTime": "2030-01-02", "reminderMinutes": minutes}
            refusal = refused(await me.send("POST", "/calendar", json=body), 400, "INVALID_REQUEST")
            assert refusal.startswith("reminderMinutes: ")

    async def test_the_summary_counts_everything(self, me: OwnPilot):
        birthday = (TODAY + timedelta(days=3)).strftime("1980-%m-%d")
        for path, bodies in {
            "/tasks": [{"title": "a"}, {"title": "b", "dueDate": day(-1)}, {"title": "c", "dueDate": day(0)},
                       {"title": "d", "dueDate": day(-1), "status": "completed"}],
            "/notes": [{"title": "a", "content": "c", "isPinned": True}, {"title": "b", "content": "c"}],
            "/bookmarks": [{"title": "a", "url": "u", "isFavorite": True}],
            "/calendar": [{"title": "a", "startTime": day(number)} for number in (-1, 0, 7, 8)],
            "/contacts": [{"name": "a", "birthday": birthday}, {"name": "b", "birthday": "no date"}],
        }.items():  # fmt: skip
            for body in bodies:
                await me.post(path, **body)
        assert await me.get("/summary") == {
            "tasks": {"total": 4, "pending": 3, "overdue": 1, "dueToday": 1},
            "bookmarks": {"total": 1, "favorites": 1},
            "notes": {"total": 2, "pinned": 1},
            "calendar": {"total": 4, "today": 1, "upcoming": 2},
            "contacts": {"total": 2, "favorites": 0, "upcomingBirthdays": 1},
        }

    @pytest.mark.parametrize(
        ("birthday", "expected"),
        [(f"{TODAY:--%m-%d}", True), (f"{TODAY:1990-%m-%d}T00:00:00Z", True), ("1990-02-30", False), ("x", False),
         ((TODAY - timedelta(days=1)).strftime("1990-%m-%d"), False), ("2000-02-29", None)],
    )  # fmt: skip
    def test_birthdays_of_the_next_month_are_recognised(self, birthday: str, expected: bool | None):
        assert is_upcoming_birthday(birthday) in ({expected} if expected is not None else {True, False})


@pytest.mark.usefixtures("account")
class TestMethods:
    """The same operations for other code, under the same rules."""

    async def test_they_check_what_requests_check(self):
        with pytest.raises(InvalidRequest, match="title: must not be blank"):
            await notes.create("methods", {"title": " ", "content": "c"})
        with pytest.raises(InvalidRequest, match="is_pinned"):
            await notes.create("methods", {"title": "t", "content": "c", "is_pinned": "often"})
        note = await notes.create("methods", {"title": "t", "content": "c", "isPinned": True, "tags": ["a"]})
        assert ((await notes.get("methods", note.id)).tags, note.user_id) == (["a"], "methods")
        with pytest.raises(InvalidRequest, match="content"):
            await notes.change("methods", note.id, {"content": None})

    async def test_a_task_follows_its_rules(self):
        task = await tasks.create("methods", {"title": "t", "priority": "medium"})
        assert (await tasks.change("methods", task.id, {"status": "completed"})).completed_at
        page = await tasks.list("methods", {"status": "completed"}, text="T")
        assert (page.total, page.items[0].rank) == (1, "2 none")
        await tasks.delete("methods", task.id)

    async def test_what_they_cost(self, counting: Counting):
        note = await notes.create("costs", {"title": "first", "content": "c"})
        operations: list[tuple[Call, dict[str, int]]] = [
            (lambda: notes.create("costs", {"title": "t", "content": "c"}), {"write": 1}),
            (lambda: notes.get("costs", note.id), {"get": 1}),
            (lambda: notes.change("costs", note.id, {"title": "u"}), {"get": 1, "write": 1}),
            (lambda: notes.toggle("costs", note.id, "is_pinned"), {"get": 1, "write": 1}),
            (lambda: notes.list("costs"), {"query": 1}),
        ]
        for operation, cost in operations:
            counting.reset()
            await operation()
            assert counting.calls == cost


async def test_a_repeated_create_with_a_key_makes_one_note(me: OwnPilot):
    body, headers = {"title": "once", "content": "c"}, {"Idempotency-Key": me.user}
    both = [await me.send("POST", "/notes", json=body, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in both] == [201, 201]
    assert len(await me.get("/notes")) == 1


async def test_two_people_may_use_the_same_key(me: OwnPilot):
    another = OwnPilot(me.http)
    body, headers = {"title": "each", "content": "c"}, {"Idempotency-Key": me.user}
    made = [data_of(await each.send("POST", "/notes", json=body, headers=headers))["id"] for each in (me, another)]
    assert [[note["id"] for note in await each.get("/notes")] for each in (me, another)] == [[each] for each in made]


async def test_what_every_answer_tells(stack: Environment, me: OwnPilot):
    answer = await me.http.get("/ownpilot/api/v1/nothing", headers={"X-Request-ID": "mine-1"})
    assert refused(answer, 404, "NOT_FOUND") == "Route not found: GET /api/v1/nothing"
    assert (answer.headers["x-request-id"], answer.json()["meta"]["requestId"]) == ("mine-1", "mine-1")
    assert answer.headers["x-response-time"].endswith("ms")
    assert answer.headers["x-content-type-options"] == "nosniff"
    refused(await me.http.delete("/ownpilot/api/v1/notes"), 404, "NOT_FOUND")
    origin = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "PATCH"}
    preflight = await me.http.options("/ownpilot/api/v1/notes", headers=origin)
    assert (preflight.status_code, preflight.headers["access-control-allow-credentials"]) == (200, "true")


async def test_a_record_has_so_many_characters(me: OwnPilot):
    long = "x" * (MAX_CHARACTERS + 1)
    refused(await me.send("POST", "/notes", json={"title": "t", "content": long}), 400, "LIMIT_REACHED")
    note = await me.post("/notes", title="t", content=long[:-100])
    target = f"/notes/{note['id']}"
    refused(await me.send("PATCH", target, json={"tags": ["x" * 100]}), 400, "LIMIT_REACHED")
    assert (await me.get(target))["tags"] == []


async def test_a_body_of_too_many_bytes_is_refused(http: httpx.AsyncClient):
    big = b'{"title": "' + b"x" * 11_000_000 + b'"}'
    answer = await http.post("/ownpilot/api/v1/notes", content=big, headers={"Content-Type": "application/json"})
    refused(answer, 413, "PAYLOAD_TOO_LARGE")
