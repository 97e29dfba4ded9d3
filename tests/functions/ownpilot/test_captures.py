"""Thoughts that are jotted down, and what becomes of them."""

import asyncio
from typing import Any

import pytest

from functions.ownpilot.captures import ProcessedAs, captures, process
from functions.ownpilot.core.capture_kinds import CaptureType, kind_of
from functions.ownpilot.core.links import links_in
from functions.ownpilot.notes import notes
from functions.ownpilot.tasks import tasks
from shared.http.errors import Conflict
from shared.tables.client import client
from tests.support.failing import Failing, Killed
from tests.support.ownpilot import OwnPilot, data_of, refused
from tests.support.records import Counting


class TestKinds:
    @pytest.mark.parametrize(
        ("text", "kind"),
        [("See https://example.com/a?b=1.", "link"), ("HTTP://EXAMPLE.COM", "link"), ("Where is it?", "question"),
         ("Where is it?\n", "question"), ("What if pigs could fly", "idea"), ("Idea: a pond", "idea"),
         ("todo call Ann", "todo"), ("- [ ] call Ann", "todo"), ("Remember to call Ann", "todo"),
         ("“To be or not”", "quote"), ("> as he said", "quote"), ("```\nx = 1\n```", "snippet"),
         ("def f(): pass", "snippet"), ("The sky is blue", "thought"), ("ideal weather", "thought"), ("?!", "thought"),
         ("xhttps://", "thought")],
    )  # fmt: skip
    def test_a_kind_follows_from_the_text(self, text: str, kind: str):
        assert kind_of(text) is CaptureType(kind)

    @pytest.mark.parametrize(
        ("text", "link"),
        [("(see https://example.com/a_b).", "https://example.com/a_b"), ("<https://a.b>, https://c.d", "https://a.b"),
         ("(https://a.b/x_(y)).", "https://a.b/x_(y)"), ("https://a.b/?c=[d]!", "https://a.b/?c=[d]"),
         ("[https://a.b](c)", "https://a.b"), ("https://a.b)))", "https://a.b"),
         ("ftp://a.b", None), ("none", None), ("https:// a", None)],
    )  # fmt: skip
    def test_the_first_address_is_found_without_what_is_behind_it(self, text: str, link: str | None):
        assert next(links_in(text), None) == link


class TestCaptures:
    async def test_a_new_one_is_in_the_inbox(self, me: OwnPilot):
        first = await me.post("/captures", content="See https://example.com", tags=["web"])
        assert (first["inboxCount"], first["message"]) == (1, "Captured: link")
        capture = first["capture"]
        assert capture["id"].startswith("cap_") and capture["userId"] == me.user
        assert (capture["type"], capture["url"], capture["processed"]) == ("link", "https://example.com", False)
        assert "processedAsType" not in capture and "source" not in capture
        given = (await me.post("/captures", content="Why?", type="idea", url="https://a.b", processed=True))["capture"]
        assert (given["type"], given["url"], given["processed"]) == ("idea", "https://a.b", False)
        assert (await me.post("/captures", content="x"))["inboxCount"] == 3

    @pytest.mark.parametrize("body", [{}, {"content": " "}, {"content": "x", "type": "poem"}, {"content": 1}])
    async def test_what_is_wrong_is_refused(self, me: OwnPilot, body: dict[str, Any]):
        refused(await me.send("POST", "/captures", json=body), 400, "INVALID_REQUEST")

    async def test_filters_combine_and_count_all_that_match(self, me: OwnPilot):
        for content, tags in (("a?", ["x"]), ("b?", ["x", "y"]), ("c", ["xy"]), ("d?", ["x"])):
            await me.post("/captures", content=content, tags=tags)
        found = await me.get("/captures", tag="x", limit=1, offset=1)
        assert [each["content"] for each in found["captures"]] == ["b?"]
        assert (found["count"], found["limit"], found["offset"]) == (3, 1, 1)
        newest = (await me.get("/captures", limit=2))["captures"]
        assert [each["content"] for each in newest] == ["d?", "c"]
        await me.post(f"/captures/{newest[0]['id']}/process", processedAsType="discarded")
        left = await me.get("/captures", type="question", tag="x", processed="false")
        assert [each["content"] for each in left["captures"]] == ["b?", "a?"]
        assert (await me.get("/captures", processed="true"))["count"] == 1
        assert (await me.get("/captures", type=["question", "thought"], tag="", processed=""))["count"] == 4
        refused(await me.send("GET", "/captures", params={"type": "poem"}), 400, "INVALID_REQUEST")

    @pytest.mark.parametrize("query", [{}, {"tag": "x"}])
    async def test_the_link_leads_from_page_to_page(self, me: OwnPilot, query: dict[str, str]):
        for content in "abcde":
            await me.post("/captures", content=content, tags=["x"])
        answer, seen = await me.send("GET", "/captures", params={"limit": 2, **query}), ""
        while True:
            seen += "".join(each["content"] for each in data_of(answer)["captures"])
            if "next" not in answer.links:
                break
            answer = await me.http.get(answer.links["next"]["url"])
        assert seen == "edcba"
        refused(await me.send("GET", "/captures", params={"cursor": "x", **query}), 400, "BAD_REQUEST")

    async def test_a_change_leaves_what_was_processed(self, me: OwnPilot):
        capture = (await me.post("/captures", content="x"))["capture"]
        body = {"content": "y", "tags": ["z"], "processed": True, "processedAsType": "note"}
        changed = await me.data("PATCH", f"/captures/{capture['id']}", json=body)
        assert (changed["content"], changed["tags"], changed["processed"]) == ("y", ["z"], False)
        assert await me.get(f"/captures/{capture['id']}") == changed
        assert await me.data("DELETE", f"/captures/{capture['id']}") == {"message": "Quick capture deleted"}

    async def test_an_address_that_was_found_follows_the_content_and_one_that_was_given_stays(self, me: OwnPilot):
        found = (await me.post("/captures", content="See https://exmaple.com"))["capture"]
        own = (await me.post("/captures", content="See https://exmaple.com", url="https://b.example"))["capture"]

        async def changed(capture: dict[str, Any], **members: Any) -> str | None:
            return (await me.data("PATCH", f"/captures/{capture['id']}", json=members)).get("url")

        for each in (found, own):
            assert await changed(each, tags=["a"]) == each["url"]
        assert await changed(found, content="See https://example.com") == "https://example.com"
        assert await changed(found, content="nothing") is None
        assert await changed(own, content="See https://example.com") == "https://b.example"
        assert await changed(own, url=None) == "https://example.com"

    async def test_another_person_sees_none_of_it(self, me: OwnPilot):
        capture = (await me.post("/captures", content="x"))["capture"]
        other = OwnPilot(me.http)
        assert (await other.get("/captures"))["count"] == 0
        for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/process")):
            body = {"processedAsType": "note"} if path else {}
            refused(await other.send(method, f"/captures/{capture['id']}{path}", json=body), 404, "NOT_FOUND")


class TestProcessing:
    async def test_each_kind_of_record_is_made(self, me: OwnPilot):
        content = f"See https://example.com\n{'more ' * 50}"

        async def processed(as_type: str) -> dict[str, Any]:
            capture = (await me.post("/captures", content=content, tags=["web"]))["capture"]
            done = await me.post(f"/captures/{capture['id']}/process", processedAsType=as_type)
            assert done["message"] == f"Processed: {as_type}"
            shown = done["capture"]
            assert (shown["processed"], shown["processedAsType"], bool(shown["processedAt"])) == (True, as_type, True)
            return shown

        note = await me.get(f"/notes/{(await processed('note'))['processedAsId']}")
        assert (note["title"], note["content"], note["tags"]) == ("See https://example.com", content, ["web"])
        task = await me.get(f"/tasks/{(await processed('task'))['processedAsId']}")
        assert (task["title"], task["description"], task["status"]) == ("See https://example.com", content, "pending")
        mark = await me.get(f"/bookmarks/{(await processed('bookmark'))['processedAsId']}")
        assert (mark["url"], mark["title"], mark["tags"]) == ("https://example.com", "See https://example.com", ["web"])
        assert "processedAsId" not in await processed("discarded")

    async def test_a_bookmark_needs_an_address(self, me: OwnPilot):
        capture = (await me.post("/captures", content="nothing"))["capture"]
        path = f"/captures/{capture['id']}/process"
        answer = await me.send("POST", path, json={"processedAsType": "bookmark"})
        assert "address" in refused(answer, 400, "INVALID_REQUEST")
        refused(await me.send("POST", path, json={"processedAsType": "poem"}), 400, "INVALID_REQUEST")
        refused(await me.send("POST", path), 400, "INVALID_REQUEST")
        assert await me.get(f"/captures/{capture['id']}") == capture

    async def test_once_is_enough(self, me: OwnPilot):
        capture = (await me.post("/captures", content="x"))["capture"]
        path, body = f"/captures/{capture['id']}/process", {"processedAsType": "task"}
        answers = await asyncio.gather(*(me.send("POST", path, json=body) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
        refused(await me.send("POST", path, json={"processedAsType": "note"}), 409, "CONFLICT")
        assert [len(await me.get(path)) for path in ("/tasks", "/notes")] == [1, 0]


@pytest.mark.usefixtures("account")
class TestFailures:
    async def test_a_repeat_after_a_crash_finds_the_record_that_was_made(self):
        capture = await captures.create("killed", {"content": "x"})
        wire = client().wire
        inner, wire.transport = wire.transport, Failing(wire.transport, captures.collection.table, Killed())
        with pytest.raises(Killed):
            await process("killed", capture.id, ProcessedAs.NOTE)
        wire.transport = inner
        assert not (await captures.get("killed", capture.id)).processed
        assert (await notes.list("killed")).total == 1
        done = await process("killed", capture.id, ProcessedAs.NOTE)
        found = await notes.list("killed")
        assert (found.total, found.items[0].id, done.processed) == (1, done.processed_as_id, True)

    async def test_of_two_kinds_at_once_one_is_left(self):
        capture = await captures.create("race", {"content": "x"})
        wanted = (ProcessedAs.NOTE, ProcessedAs.TASK, ProcessedAs.DISCARDED)
        results = await asyncio.gather(*(process("race", capture.id, each) for each in wanted), return_exceptions=True)
        assert sum(isinstance(result, Conflict) for result in results) == 2
        done = await captures.get("race", capture.id)
        made = [item.id for kind in (notes, tasks) for item in (await kind.list("race")).items]
        assert made == ([done.processed_as_id] if done.processed_as_id else [])

    async def test_processing_costs_three_calls(self, counting: Counting):
        await tasks.create("costs", {"title": "t"})
        capture = await captures.create("costs", {"content": "x"})
        counting.reset()
        await process("costs", capture.id, ProcessedAs.TASK)
        assert counting.calls == {"get": 1, "write": 2}
