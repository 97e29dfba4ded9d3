"""Tools on records: what each takes and does, seen in the rooms whose records they are."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.ownpilot import notes
from functions.ownpilot.tools.records import AT_ONCE, create_all
from functions.ownpilot.tools.registry import built_in, members_of
from shared.http.errors import BadRequest
from shared.http.operations import KeptCount
from tests.support.ownpilot import OwnPilot

PARAMETERS = {
    "create_task": "title:s, description?:s, due_date?:s, priority?:s, tags?:str[]",
    "create_note": "title:s, content:s, category?:s, tags?:str[]",
    "search_notes": "query:s, category?:s",
    "create_bookmark": "url:s, title:s, description?:s, tags?:str[]",
    "list_tasks": "filter?:s, tag?:s",
    "complete_task": "task_id:s",
    "add_task": "title:s, dueDate?:s, priority?:low/normal/high/urgent, category?:s, notes?:s",
    "update_task": "taskId:s, title?:s, dueDate?:s, priority?:low/normal/high/urgent, "
    "status?:pending/in_progress/completed/cancelled, category?:s, notes?:s",
    "delete_task": "taskId:s",
    "batch_add_tasks": "tasks:[title,dueDate,priority,category,notes]",
    "list_bookmarks": "tag?:s, search?:s",
    "add_bookmark": "url:s, title?:s, description?:s, category?:s, tags?:str[], isFavorite?:b",
    "delete_bookmark": "bookmarkId:s",
    "batch_add_bookmarks": "bookmarks:[url,title,description,category,tags,isFavorite]",
    "remember": "content:s, type:fact/preference/event/skill, importance?:n, tags?:str[]",
    "batch_remember": "memories:[content,type,importance,tags]",
    "recall": "query:s, type?:fact/preference/event/skill, tags?:str[], limit?:n",
    "forget": "memoryId:s",
    "list_memories": "type?:fact/preference/event/skill, limit?:n, minImportance?:n",
    "boost_memory": "memoryId:s, amount?:n",
    "memory_stats": "",
    "create_goal": "title:s, description?:s, priority?:n, dueDate?:s, parentId?:s",
    "list_goals": "status?:active/paused/completed/abandoned, limit?:n",
    "update_goal": "goalId:s, status?:active/paused/completed/abandoned, progress?:n, title?:s, description?:s, "
    "priority?:n, dueDate?:s",
    "decompose_goal": "goalId:s, steps:[title,description]",
    "get_next_actions": "limit?:n",
    "complete_step": "stepId:s, result?:s",
    "get_goal_details": "goalId:s",
    "goal_stats": "",
    "list_custom_tables": "",
    "describe_custom_table": "table:s",
    "create_custom_table": "name:s, displayName:s, description?:s, columns:[name,displayName,type,required]",
    "delete_custom_table": "table:s, confirm:b",
    "add_custom_record": "table:s, data:o",
    "batch_add_custom_records": "table:s, records:obj[]",
    "list_custom_records": "table:s, limit?:n, offset?:n, filter?:o",
    "search_custom_records": "table:s, query:s, limit?:n",
    "get_custom_record": "recordId:s",
    "update_custom_record": "recordId:s, data:o",
    "delete_custom_record": "recordId:s",
    "create_trigger": "name:s, description?:s, type:schedule/event/condition/webhook, cron?:s, event_type?:s, "
    "condition?:stale_goals/upcoming_deadline/memory_threshold/low_progress/no_activity, threshold?:n, "
    "action_type:chat/tool/notification/goal_check/memory_summary, action_payload:o, enabled?:b, priority?:n",
    "list_triggers": "type?:schedule/event/condition/webhook, enabled?:b",
    "enable_trigger": "trigger_id:s, enabled:b",
    "fire_trigger": "trigger_id:s",
    "delete_trigger": "trigger_id:s",
    "trigger_stats": "",
    "add_note": "title:s, content:s, category?:s, tags?:str[], isPinned?:b",
    "list_notes": "category?:s, pinned?:b, search?:s, limit?:n",
    "update_note": "noteId:s, title?:s, content?:s, category?:s",
    "delete_note": "noteId:s",
    "batch_add_notes": "notes:[title,content,category,tags,isPinned]",
    "add_calendar_event": "title:s, startTime:s, endTime?:s, isAllDay?:b, location?:s, description?:s, category?:s, "
    "reminder?:n",
    "list_calendar_events": "startAfter?:s, startBefore?:s, category?:s, search?:s, limit?:n",
    "delete_calendar_event": "eventId:s",
    "batch_add_calendar_events": "events:[title,startTime,endTime,isAllDay,location,description,category,reminder]",
    "add_contact": "name:s, email?:s, phone?:s, company?:s, jobTitle?:s, relationship?:s, birthday?:s, address?:s, "
    "notes?:s, isFavorite?:b",
    "list_contacts": "relationship?:s, company?:s, favorite?:b, search?:s, limit?:n",
    "update_contact": "contactId:s, name?:s, email?:s, phone?:s, company?:s, notes?:s",
    "delete_contact": "contactId:s",
    "batch_add_contacts": "contacts:[name,email,phone,company,jobTitle,relationship,birthday,address,notes,isFavorite]",
}
"""The parameters of the tools on records: `?` optional, s text, n number, b boolean, o object."""

KINDS = {"string": "s", "integer": "n", "number": "n", "boolean": "b", "object": "o"}
LISTS = {"string": "str[]", "object": "obj[]"}


def kind_of(schema: dict[str, Any]) -> str:
    """A type as the table above writes it."""
    if "enum" in schema:
        return "/".join(schema["enum"])
    if schema["type"] != "array":
        return KINDS[schema["type"]]
    items = schema["items"]
    return f"[{','.join(sorted(items['properties']))}]" if "properties" in items else LISTS[items["type"]]


def listed(parameters: str) -> set[str]:
    """The parameters of a tool, without regard to their order and to that of the members of an object."""
    found: set[str] = set()
    for each in filter(None, parameters.split(", ")):
        name, _, kind = each.partition(":")
        members = ",".join(sorted(kind[1:-1].split(",")))
        found.add(f"{name}:[{members}]" if kind.startswith("[") else each)
    return found


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_tool_takes_the_documented_parameters(name: str):
    schema = built_in()[name].parameters
    optional = {True: "", False: "?"}
    assert {
        f"{each}{optional[each in schema.get('required', ())]}:{kind_of(kind)}"
        for each, kind in schema["properties"].items()
    } == listed(PARAMETERS[name])


def test_the_table_has_every_tool_on_records():
    rooms = ["tasks", "notes", "bookmarks", "calendar", "contacts", "memory", "goals", "customData"]
    beside = {"create_task", "create_note", "search_notes", "create_bookmark"}
    beside |= {"create_trigger", "list_triggers", "enable_trigger", "fire_trigger", "delete_trigger", "trigger_stats"}
    assert {*PARAMETERS} == {*members_of(rooms)} | beside <= {*built_in()}


@dataclass
class Hand:
    """A person whose tools are used."""

    me: OwnPilot

    async def text(self, tool: str, /, **arguments: Any) -> str:
        """What a tool answers that succeeds."""
        answer = await self.me.post(f"/tools/{tool}/execute", arguments=arguments)
        assert not answer["isError"], answer
        return answer["result"]

    async def use(self, tool: str, /, **arguments: Any) -> Any:
        """The JSON that a tool answers."""
        return json.loads(await self.text(tool, **arguments))

    async def fails(self, tool: str, /, **arguments: Any) -> str:
        """What a tool answers that fails."""
        answer = await self.me.post(f"/tools/{tool}/execute", arguments=arguments)
        assert answer["isError"], answer
        return answer["result"]


@pytest.fixture
def hand(me: OwnPilot) -> Hand:
    return Hand(me)


IDS = {
    "complete_task": {"task_id": "x"}, "update_task": {"taskId": "x"}, "delete_task": {"taskId": "x"},
    "update_note": {"noteId": "x"}, "delete_note": {"noteId": "x"}, "delete_bookmark": {"bookmarkId": "x"},
    "delete_calendar_event": {"eventId": "x"}, "update_contact": {"contactId": "x"},
    "delete_contact": {"contactId": "x"}, "forget": {"memoryId": "x"}, "boost_memory": {"memoryId": "x"},
    "update_goal": {"goalId": "x"}, "get_goal_details": {"goalId": "x"}, "complete_step": {"stepId": "x"},
    "decompose_goal": {"goalId": "x", "steps": [{"title": "t"}]}, "describe_custom_table": {"table": "x"},
    "delete_custom_table": {"table": "x", "confirm": True}, "add_custom_record": {"table": "x", "data": {}},
    "batch_add_custom_records": {"table": "x", "records": [{}]}, "list_custom_records": {"table": "x"},
    "search_custom_records": {"table": "x", "query": "q"}, "get_custom_record": {"recordId": "x"},
    "update_custom_record": {"recordId": "x", "data": {}}, "delete_custom_record": {"recordId": "x"},
}  # fmt: skip


@pytest.mark.parametrize("id_", ["x", "\x00", "é" * 3000])
async def test_a_record_that_is_not_there_is_told(hand: Hand, id_: str):
    calls = [
        {"tool": name, "arguments": {each: id_ if value == "x" else value for each, value in arguments.items()}}
        for name, arguments in IDS.items()
    ]
    done = await hand.me.post("/tools/batch", executions=calls)
    for row in done["results"]:
        assert not row["success"] and ("not found" in row["error"] or "No goal has" in row["error"]), row


BATCHES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "batch_add_tasks": ("tasks", "/tasks", {"title": "t", "notes": "n", "dueDate": "2030-01-01"}),
    "batch_add_notes": ("notes", "/notes", {"title": "t", "content": "c", "isPinned": True}),
    "batch_add_bookmarks": ("bookmarks", "/bookmarks", {"url": "https://example.com", "isFavorite": True}),
    "batch_add_calendar_events": ("events", "/calendar", {"title": "t", "startTime": "2030-01-01", "reminder": 5}),
    "batch_add_contacts": ("contacts", "/contacts", {"name": "n", "jobTitle": "j"}),
}


@pytest.mark.parametrize("name", BATCHES)
async def test_several_records_are_added_at_once_or_none(hand: Hand, name: str):
    member, path, item = BATCHES[name]
    wrong = {**item, next(iter(item)): " "}
    told = await hand.fails(name, **{member: [item, wrong]})
    assert told.startswith("Nothing was added, as item 1 is wrong: ") and await hand.me.get(path) == []
    for many in ([], [item] * 101):
        assert member in await hand.fails(name, **{member: many})
    done = await hand.use(name, **{member: [item] * (AT_ONCE + 2)})
    assert done["added"] == AT_ONCE + 2 and "failed" not in done
    assert {each["id"] for each in done[member]} == {each["id"] for each in await hand.me.get(path)}


@pytest.mark.usefixtures("app")
async def test_what_storage_refuses_of_several_is_told_by_its_place(hand: Hand, monkeypatch: pytest.MonkeyPatch):
    async def admit(owner: str) -> KeptCount:
        nonlocal left
        left -= 1
        if left < 0:
            raise BadRequest("There are too many", code="LIMIT_REACHED")
        return KeptCount(0)

    left = 2
    monkeypatch.setattr(notes.notes, "admit", admit)
    done = await create_all(notes.notes, hand.me.user, "notes", [{"title": str(n), "content": "c"} for n in range(3)])
    assert done["added"] == 2 and [each["title"] for each in done["notes"]] == ["0", "1"]
    assert done["failed"] == [{"item": 2, "error": "There are too many"}]


class TestTasks:
    async def test_filters(self, hand: Hand):
        today = datetime.now(UTC).date()
        for title, day in (("late", today - timedelta(days=1)), ("now", today), ("soon", today + timedelta(days=3))):
            await hand.use("add_task", title=title, dueDate=day.isoformat(), priority="high")
        done = (await hand.use("create_task", title="done", priority="medium", tags=["Home"]))["task"]
        assert done["priority"] == "normal"
        assert (await hand.use("complete_task", task_id=done["id"]))["task"]["status"] == "completed"
        wanted = {
            None: ["late", "now", "soon"], "all": ["late", "now", "soon", "done"], "completed": ["done"],
            "today": ["now"], "overdue": ["late"], "upcoming": ["now", "soon"], "cancelled": [],
        }  # fmt: skip
        for name, titles in wanted.items():
            found = await hand.use("list_tasks", filter=name)
            assert ([each["title"] for each in found["tasks"]], found["total"]) == (titles, len(titles)), name
        tagged = await hand.use("list_tasks", filter="all", tag="home")
        assert ([each["title"] for each in tagged["tasks"]], tagged["total"]) == (["done"], 1)
        assert "must be one of open, all" in await hand.fails("list_tasks", filter="someday")

    async def test_only_what_is_given_changes(self, hand: Hand):
        task = (await hand.use("add_task", title="t", notes="n", category="c"))["task"]
        changed = (await hand.use("update_task", taskId=task["id"], status="in_progress", title=None))["task"]
        assert changed == {**task, "status": "in_progress", "updatedAt": changed["updatedAt"]}
        assert "title" in await hand.fails("update_task", taskId=task["id"], title="  ")
        assert await hand.text("delete_task", taskId=task["id"]) == "The task was deleted."
        assert await hand.me.get("/tasks") == []

    async def test_a_list_has_50_and_the_whole_number(self, hand: Hand):
        await hand.use("batch_add_tasks", tasks=[{"title": "t"}] * 60)
        found = await hand.use("list_tasks")
        assert (len(found["tasks"]), found["total"]) == (50, 60)


class TestNotesAndBookmarks:
    async def test_notes(self, hand: Hand):
        first = (await hand.use("create_note", title="Bicycle", content="Frame 4711", category="things"))["note"]
        pinned = (await hand.use("add_note", title="Pinned", content="c", isPinned=True, tags=["a"]))["note"]
        await hand.me.post("/notes", title="Archived", content="Frame", isArchived=True)
        assert [each["id"] for each in (await hand.use("list_notes"))["notes"]] == [pinned["id"], first["id"]]
        assert (await hand.use("list_notes", pinned=True))["notes"] == [pinned]
        assert (await hand.use("list_notes", search="FRAME", limit=0))["notes"] == [first]
        assert (await hand.use("search_notes", query="4711"))["notes"] == [first]
        assert (await hand.use("search_notes", query="4711", category="other"))["total"] == 0
        changed = (await hand.use("update_note", noteId=first["id"], content="Frame 4712"))["note"]
        assert (changed["content"], changed["title"]) == ("Frame 4712", "Bicycle")
        await hand.text("delete_note", noteId=first["id"])
        assert (await hand.use("list_notes", limit=5000))["total"] == 1

    async def test_bookmarks(self, hand: Hand):
        plain = (await hand.use("add_bookmark", url="https://example.com/a"))["bookmark"]
        assert plain["title"] == "https://example.com/a"
        named = (await hand.use("create_bookmark", url="https://example.com/b", title="B", tags=["Read"]))["bookmark"]
        assert (await hand.use("list_bookmarks", tag="read"))["bookmarks"] == [named]
        assert (await hand.use("list_bookmarks", search="com/a"))["bookmarks"] == [plain]
        assert "missing required parameter title" in await hand.fails("create_bookmark", url="https://example.com")
        await hand.text("delete_bookmark", bookmarkId=plain["id"])
        assert (await hand.use("list_bookmarks"))["total"] == 1


class TestCalendarAndContacts:
    async def test_events(self, hand: Hand):
        early = (await hand.use("add_calendar_event", title="Early", startTime="2030-03-01", isAllDay=True))["event"]
        assert early["allDay"] is True and early["startTime"] == "2030-03-01T00:00:00.000Z"
        late = (
            await hand.use(
                "add_calendar_event",
                title="Late",
                startTime="2030-03-02T10:00:00+02:00",
                location="Office",
                reminder=10,
            )
        )["event"]
        assert (late["startTime"], late["reminderMinutes"]) == ("2030-03-02T08:00:00.000Z", 10)
        assert (await hand.use("list_calendar_events"))["events"] == [early, late]
        assert (await hand.use("list_calendar_events", startAfter="2030-03-02"))["events"] == [late]
        assert (await hand.use("list_calendar_events", startBefore="2030-03-02", limit=1))["events"] == [early]
        assert (await hand.use("list_calendar_events", search="office"))["events"] == [late]
        told = await hand.fails("add_calendar_event", title="t", startTime="2030-03-02", endTime="2030-03-01")
        assert told == "endTime: must not be before startTime"
        assert "startTime: " in await hand.fails("add_calendar_event", title="t", startTime="tomorrow")
        await hand.text("delete_calendar_event", eventId=early["id"])
        assert (await hand.use("list_calendar_events"))["total"] == 1

    async def test_contacts(self, hand: Hand):
        ada = (await hand.use("add_contact", name="Ada", company="Engines", jobTitle="Analyst", isFavorite=True))[
            "contact"
        ]
        bob = (await hand.use("add_contact", name="Bob", relationship="friend", birthday="--02-29"))["contact"]
        assert (await hand.use("list_contacts"))["contacts"] == [ada, bob]
        assert (await hand.use("list_contacts", favorite=False))["contacts"] == [bob]
        assert (await hand.use("list_contacts", company="Engines"))["contacts"] == [ada]
        assert (await hand.use("list_contacts", search="analyst"))["contacts"] == [ada]
        changed = (await hand.use("update_contact", contactId=bob["id"], phone="1"))["contact"]
        assert (changed["phone"], changed["name"]) == ("1", "Bob")
        await hand.text("delete_contact", contactId=ada["id"])
        assert [each["name"] for each in await hand.me.get("/contacts")] == ["Bob"]


class TestMemory:
    async def test_what_is_known_is_kept_once(self, hand: Hand):
        first = await hand.use(
            "remember", content="Likes green tea", type="preference", importance=0.4, tags=["drinks"]
        )
        again = await hand.use("remember", content="likes GREEN tea", type="preference")
        assert (first["deduplicated"], again["deduplicated"]) == (False, True)
        assert (again["memory"]["id"], again["memory"]["importance"]) == (first["memory"]["id"], 0.5)
        many = await hand.use(
            "batch_remember",
            memories=[
                {"content": "Plays the cello", "type": "skill"},
                {"content": "Likes green tea", "type": "preference"},
            ],
        )
        assert [each["deduplicated"] for each in many["memories"]] == [False, True]
        assert "type: " in await hand.fails("remember", content="c", type="dream")
        assert (await hand.fails("batch_remember", memories=[{"content": " ", "type": "fact"}])).startswith(
            "Nothing was"
        )

    async def test_it_is_found_boosted_counted_and_forgotten(self, hand: Hand):
        tea = (await hand.use("remember", content="Likes green tea", type="preference", tags=["drinks"]))["memory"]
        await hand.use("remember", content="Green eyes", type="fact", importance=0.9)
        found = await hand.use("recall", query="green")
        assert found["total"] == 2 and found["memories"][0]["content"] == "Green eyes"
        assert (await hand.use("recall", query="green", type="preference"))["total"] == 1
        assert (await hand.use("recall", query="green", tags=["DRINKS"], limit=1))["total"] == 1
        boosted = (await hand.use("boost_memory", memoryId=tea["id"], amount=0.3))["memory"]
        assert boosted["importance"] == 0.8
        assert "amount: " in await hand.fails("boost_memory", memoryId=tea["id"], amount=-1)
        assert (await hand.use("list_memories", minImportance=0.85))["total"] == 1
        assert [each["type"] for each in (await hand.use("list_memories", type="fact"))["memories"]] == ["fact"]
        assert await hand.use("memory_stats") == {
            "total": 2, "byType": {"preference": 1, "fact": 1}, "averageImportance": 0.85,
        }  # fmt: skip
        await hand.text("forget", memoryId=tea["id"])
        assert (await hand.use("list_memories"))["total"] == 1


class TestGoals:
    async def test_a_goal_is_reached_step_by_step(self, hand: Hand):
        goal = (await hand.use("create_goal", title="Learn Spanish", priority=12, dueDate="2020-01-01"))["goal"]
        assert goal["priority"] == 10
        steps = [{"title": "Find a course", "description": "In May"}, {"title": "Book it"}]
        added = await hand.use("decompose_goal", goalId=goal["id"], steps=steps)
        assert added["added"] == 2
        actions = await hand.use("get_next_actions", limit=1)
        assert (actions["total"], actions["actions"][0]["goalTitle"]) == (2, "Learn Spanish")
        done = await hand.use("complete_step", stepId=added["steps"][0]["id"], result="Found one")
        assert (done["step"]["status"], done["step"]["result"], done["goalTitle"]) == (
            "completed", "Found one", "Learn Spanish",
        )  # fmt: skip
        details = (await hand.use("get_goal_details", goalId=goal["id"]))["goal"]
        assert (details["progress"], len(details["steps"])) == (50, 2)
        other = (await hand.use("create_goal", title="Other", parentId=goal["id"]))["goal"]
        assert (await hand.use("update_goal", goalId=other["id"], status="paused", progress=20))["goal"][
            "progress"
        ] == 20
        assert [each["title"] for each in (await hand.use("list_goals", status="paused"))["goals"]] == ["Other"]
        assert await hand.use("goal_stats") == {
            "total": 2, "byStatus": {"active": 1, "paused": 1}, "overdue": 1, "averageProgress": 50,
        }  # fmt: skip

    async def test_lists_have_their_own_most(self, hand: Hand):
        for place in range(31):
            await hand.me.post("/goals", title=f"goal {place}")
        found = await hand.use("list_goals", limit=1000)
        assert (len(found["goals"]), found["total"]) == (30, 31)
        goal = found["goals"][0]["id"]
        await hand.use("decompose_goal", goalId=goal, steps=[{"title": "t"}] * 25)
        actions = await hand.use("get_next_actions", limit=1000)
        assert (len(actions["actions"]), actions["total"]) == (20, 25)


class TestCustomData:
    async def test_a_table_from_its_first_to_its_last_day(self, hand: Hand):
        columns = [
            {"name": "title", "displayName": "Title of the dish", "type": "text", "required": True},
            {"name": "servings", "type": "number"},
        ]
        table = (await hand.use("create_custom_table", name="My Recipes", displayName="Recipes", columns=columns))[
            "table"
        ]
        assert (table["name"], table["columns"][0]["description"]) == ("my_recipes", "Title of the dish")
        assert "exists already" in await hand.fails(
            "create_custom_table", name="my_recipes", displayName="x", columns=columns
        )
        soup = (await hand.use("add_custom_record", table="my_recipes", data={"title": "Soup", "servings": 2}))[
            "record"
        ]
        assert "data.title: is required" in await hand.fails(
            "add_custom_record", table=table["id"], data={"servings": 2}
        )
        told = await hand.fails(
            "batch_add_custom_records",
            table="my_recipes",
            records=[{"title": "Pie"}, {"title": "Tea", "servings": "many"}],
        )
        assert told.startswith("Nothing was added, as item 1 is wrong: data.servings")
        more = await hand.use(
            "batch_add_custom_records", table="my_recipes", records=[{"title": "Pie"}, {"title": "Tea"}]
        )
        assert more["added"] == 2
        assert (await hand.use("list_custom_records", table="my_recipes", limit=1, offset=2))["records"] == [soup]
        assert (await hand.use("list_custom_records", table="my_recipes", filter={"servings": 2}))["records"] == [soup]
        assert (await hand.use("search_custom_records", table="my_recipes", query="SOU"))["records"] == [soup]
        assert (await hand.use("get_custom_record", recordId=soup["id"])) == {"table": "my_recipes", "record": soup}
        changed = (await hand.use("update_custom_record", recordId=soup["id"], data={"servings": None}))["record"]
        assert changed["data"] == {"title": "Soup"}
        await hand.text("delete_custom_record", recordId=soup["id"])
        shown = (await hand.use("describe_custom_table", table="my_recipes"))["table"]
        assert shown["recordCount"] == 2 and (await hand.use("list_custom_tables")) == {"tables": [shown], "total": 1}
        assert "Nothing was deleted" in await hand.fails("delete_custom_table", table="my_recipes", confirm=False)
        await hand.text("delete_custom_table", table="my_recipes", confirm=True)
        assert (await hand.use("list_custom_tables"))["total"] == 0
