"""A uniform resource: declared beside its record, served as named routes."""

import ast
import asyncio
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.http.errors import BadRequest
from shared.http.resource import resource
from shared.http.routes import router
from shared.settings import settings
from shared.tables import Collection, Record
from tests.support.records import Counting


class Thing(Record):
    """Anything."""

    title: str


SAMPLE = Path(__file__).parent / "sample/function_app.py"


@pytest.fixture
def me() -> dict[str, str]:
    """A person without notes."""
    return {"X-Key": uuid.uuid4().hex}


async def create(sample: httpx.AsyncClient, me: dict[str, str], **members: Any) -> dict[str, Any]:
    response = await sample.post("/notes", json={"title": "t", **members}, headers=me)
    assert response.status_code == 201, response.text
    return response.json()["data"]


def test_the_declaration_is_at_most_fifteen_lines():
    tree = ast.parse(SAMPLE.read_text())
    calls = [node for node in tree.body if isinstance(node, ast.Assign) and "resource(" in ast.unparse(node)]
    assert len(calls) == 3
    assert all((node.end_lineno or 0) - node.lineno + 1 <= 15 for node in calls)


class TestCreate:
    async def test_defaults_are_the_records_own_and_the_id_has_its_form(
        self, sample: httpx.AsyncClient, me: dict[str, str]
    ):
        note = await create(sample, me, title="Milk", unknown="ignored")
        assert note["id"].startswith("note_") and len(note["id"]) == len("note_") + 32
        given = {name: note[name] for name in ("title", "content", "kind", "is_pinned", "due", "tags")}
        assert given == {"title": "Milk", "content": "", "kind": "idea", "is_pinned": False, "due": None, "tags": []}
        assert set(note) == {*given, "id", "created_at", "updated_at"}

    @pytest.mark.parametrize(
        ("body", "field"),
        [({}, "title"), ({"title": ""}, "title"), ({"title": None}, "title"), ({"title": "x" * 101}, "title"),
         ({"title": "t", "kind": "poem"}, "kind"), ({"title": "t", "due": -1}, "due"),
         ({"title": "t", "tags": [1]}, "tags.0")],
    )  # fmt: skip
    async def test_what_the_record_does_not_allow_is_refused(
        self, sample: httpx.AsyncClient, me: dict[str, str], body: dict[str, Any], field: str
    ):
        response = await sample.post("/notes", json=body, headers=me)
        assert (response.status_code, response.json()["code"]) == (400, "INVALID_REQUEST")
        assert response.json()["details"][0]["field"] == field

    async def test_what_the_house_keeps_cannot_be_set(self, sample: httpx.AsyncClient, me: dict[str, str]):
        note = await create(sample, me, id="note_" + "0" * 32, created_at="1999-01-01T00:00:00Z")
        assert note["id"] != "note_" + "0" * 32
        assert not note["created_at"].startswith("1999")

    async def test_a_repeat_with_the_same_key_creates_nothing(self, sample: httpx.AsyncClient, me: dict[str, str]):
        headers = {**me, "Idempotency-Key": uuid.uuid4().hex}
        first = await sample.post("/notes", json={"title": "once"}, headers=headers)
        second = await sample.post("/notes", json={"title": "once"}, headers=headers)
        assert first.json() == second.json()
        assert (await sample.get("/notes", headers=me)).json()["data"]["total"] == 1

    async def test_a_unique_value_is_taken_once_by_two_at_the_same_moment(
        self, sample: httpx.AsyncClient, me: dict[str, str]
    ):
        both = await asyncio.gather(*(sample.post("/tags", json={"name": "red"}, headers=me) for _ in range(2)))
        assert sorted(response.status_code for response in both) == [201, 409]
        other = await sample.post("/tags", json={"name": "red"}, headers={"X-Key": uuid.uuid4().hex})
        assert other.status_code == 201


class TestRead:
    async def test_it_comes_back_with_its_version(self, sample: httpx.AsyncClient, me: dict[str, str]):
        note = await create(sample, me, title="Milk", tags=["shop"])
        response = await sample.get(f"/notes/{note['id']}", headers=me)
        assert (response.status_code, response.json()["data"]) == (200, note)
        assert response.headers["etag"]

    @pytest.mark.parametrize(
        "record_id", ["note_0", "note_" + "0" * 32, "0190f7a2-0000-7000-8000-000000000000", "%00", "a%2Fb"]
    )
    async def test_an_unknown_one_is_not_found(self, sample: httpx.AsyncClient, me: dict[str, str], record_id: str):
        response = await sample.get(f"/notes/{record_id}", headers=me)
        assert (response.status_code, response.json()["message"]) == (404, "Note not found")

    async def test_another_persons_is_not_found(self, sample: httpx.AsyncClient, me: dict[str, str]):
        note, stranger = await create(sample, me), {"X-Key": uuid.uuid4().hex}
        for method in ("GET", "DELETE"):
            assert (await sample.request(method, f"/notes/{note['id']}", headers=stranger)).status_code == 404
        changed = await sample.patch(f"/notes/{note['id']}", json={"title": "mine"}, headers=stranger)
        assert changed.status_code == 404
        assert (await sample.get("/notes", headers=stranger)).json()["data"] == {"notes": [], "total": 0}


class TestList:
    async def test_order_filters_search_and_pages(self, sample: httpx.AsyncClient, me: dict[str, str]):
        for number in range(5):
            kind = "errand" if number % 2 else "idea"
            await create(
                sample, me, title=f"n{number}", kind=kind, is_pinned=number == 1, content="Größe" * (number % 3)
            )

        async def titles(**query: Any) -> list[str]:
            data = (await sample.get("/notes", params=query, headers=me)).json()["data"]
            return [note["title"] for note in data["notes"]]

        assert await titles() == ["n1", "n4", "n3", "n2", "n0"]
        assert await titles(kind="errand") == ["n1", "n3"]
        assert await titles(kind="errand", pinned="false") == ["n3"]
        assert await titles(search="GRÖSSE") == ["n1", "n4", "n2"]
        assert await titles(search="n2", kind="errand") == []
        assert await titles(limit=2, offset=1) == ["n4", "n3"]
        assert (await sample.get("/notes", params={"kind": "poem"}, headers=me)).status_code == 400

    async def test_the_link_keeps_filter_and_search(self, sample: httpx.AsyncClient, me: dict[str, str]):
        for _ in range(3):
            await create(sample, me, title="same")
        first = await sample.get("/notes", params={"search": "same", "limit": 2}, headers=me)
        link = first.headers["link"].partition(">")[0].removeprefix("</sample")
        second = await sample.get(link, headers=me)
        assert (first.json()["data"]["total"], len(second.json()["data"]["notes"])) == (3, 1)


class TestUpdate:
    async def test_only_given_members_change(self, sample: httpx.AsyncClient, me: dict[str, str]):
        note = await create(sample, me, title="Milk", due=7, tags=["shop"])
        changed = await sample.patch(f"/notes/{note['id']}", json={"title": "Bread", "due": None}, headers=me)
        assert changed.status_code == 200
        expected = {**note, "title": "Bread", "due": None, "updated_at": changed.json()["data"]["updated_at"]}
        assert changed.json()["data"] == expected
        assert expected["updated_at"] > note["updated_at"]

    @pytest.mark.parametrize(
        "body", [{"title": None}, {"kind": None}, {"is_pinned": None}, {"tags": None}, {"due": -1}]
    )
    async def test_null_and_values_that_the_field_cannot_have_are_refused(
        self, sample: httpx.AsyncClient, me: dict[str, str], body: dict[str, Any]
    ):
        note = await create(sample, me)
        response = await sample.patch(f"/notes/{note['id']}", json=body, headers=me)
        assert (response.status_code, response.json()["code"]) == (400, "INVALID_REQUEST")
        assert (await sample.get(f"/notes/{note['id']}", headers=me)).json()["data"] == note

    async def test_an_empty_change_changes_nothing(self, sample: httpx.AsyncClient, me: dict[str, str]):
        note = await create(sample, me)
        assert (await sample.patch(f"/notes/{note['id']}", json={}, headers=me)).json()["data"] == note

    async def test_a_change_of_an_older_version_is_refused(self, sample: httpx.AsyncClient, me: dict[str, str]):
        note = await create(sample, me)
        path = f"/notes/{note['id']}"
        version = (await sample.get(path, headers=me)).headers["etag"]
        await sample.patch(path, json={"title": "a"}, headers=me)
        late = await sample.patch(path, json={"title": "b"}, headers={**me, "If-Match": version})
        assert (late.status_code, (await sample.get(path, headers=me)).json()["data"]["title"]) == (412, "a")


class TestDelete:
    async def test_it_is_gone_afterwards(self, sample: httpx.AsyncClient, me: dict[str, str]):
        note = await create(sample, me)
        assert (await sample.delete(f"/notes/{note['id']}", headers=me)).json()["data"] == {"message": "Note deleted"}
        assert (await sample.delete(f"/notes/{note['id']}", headers=me)).status_code == 404


class TestChoices:
    """What a declaration may ask for beyond the usual."""

    async def aim(self, sample: httpx.AsyncClient, me: dict[str, str], **members: Any) -> dict[str, Any]:
        response = await sample.post("/aims", json={"name": "a", **members}, headers=me)
        assert response.status_code == 201, response.text
        assert response.json()["data"]["message"] == "Aim created"
        return response.json()["data"]["goal"]

    async def names(self, sample: httpx.AsyncClient, me: dict[str, str], **query: Any) -> list[str]:
        data = (await sample.get("/aims", params=query, headers=me)).json()["data"]
        assert set(data) == {"goals", "found"}
        return [aim["name"] for aim in data["goals"]]

    async def test_members_have_the_names_and_the_owner_of_the_declaration(
        self, sample: httpx.AsyncClient, me: dict[str, str]
    ):
        aim = await self.aim(sample, me, isDone=True, doneTimes=9, userId="x", rank="00")
        assert aim | {"id": "", "createdAt": "", "updatedAt": ""} == {
            "id": "", "createdAt": "", "updatedAt": "", "userId": me["X-Key"], "name": "a", "level": 5, "isDone": True,
            "isHidden": False, "doneTimes": 1,
        }  # fmt: skip
        deleted = await sample.delete(f"/aims/{aim['id']}", headers=me)
        assert deleted.json()["data"] == {"deleted": True}

    @pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": " "}, {"name": None}])
    async def test_a_required_text_must_be_given_and_not_be_blank(
        self, sample: httpx.AsyncClient, me: dict[str, str], body: dict[str, Any]
    ):
        aim = await self.aim(sample, me)
        responses = [await sample.post("/aims", json=body, headers=me)]
        if body:
            responses += [
                await sample.request(m, f"/aims/{aim['id']}", json=body, headers=me) for m in ("PUT", "PATCH")
            ]
        assert {response.status_code for response in responses} == {400}

    async def test_put_changes_the_given_members_as_patch_does(self, sample: httpx.AsyncClient, me: dict[str, str]):
        aim = await self.aim(sample, me, note="n")
        changed = await sample.put(f"/aims/{aim['id']}", json={"level": 7}, headers=me)
        assert changed.json()["data"] == {**aim, "level": 7, "updatedAt": changed.json()["data"]["updatedAt"]}

    async def test_a_toggle_inverts_each_time_also_at_the_same_moment(
        self, sample: httpx.AsyncClient, me: dict[str, str]
    ):
        path = f"/aims/{(await self.aim(sample, me))['id']}"
        assert (await sample.post(f"{path}/done", headers=me)).json()["data"]["isDone"] is True
        await asyncio.gather(*(sample.post(f"{path}/done", headers=me) for _ in range(4)))
        assert (await sample.get(path, headers=me)).json()["data"]["isDone"] is True

    async def test_a_flag_has_a_default_and_filters_take_several_values(
        self, sample: httpx.AsyncClient, me: dict[str, str]
    ):
        for name, note, hidden in (("a", "x", False), ("b", "y", False), ("c", "z", False), ("d", "x", True)):
            await self.aim(sample, me, name=name, note=note, isHidden=hidden)
        assert await self.names(sample, me) == ["c", "b", "a"]
        assert await self.names(sample, me, hidden="true") == ["d"]
        assert await self.names(sample, me, note=["x", "y"]) == ["b", "a"]
        assert await self.names(sample, me, note="") == await self.names(sample, me, hidden="") == ["c", "b", "a"]

    async def test_a_range_holds_the_lowest_value_and_those_below_the_other(
        self, sample: httpx.AsyncClient, me: dict[str, str]
    ):
        for level in (1, 2, 3, 4):
            await self.aim(sample, me, name=f"n{level}", level=level)
        assert await self.names(sample, me, least=2, below=4) == ["n2", "n3"]
        assert await self.names(sample, me, below=3) == ["n1", "n2"]
        assert await self.names(sample, me, below=0) == [], "0 is a bound too"
        assert await self.names(sample, me, least="", below="") == ["n1", "n2", "n3", "n4"], "an empty one is none"
        assert await self.names(sample, me, least=2, search="N") == ["n2", "n3", "n4"]

    async def test_what_settles_a_record_may_refuse_it(self, sample: httpx.AsyncClient, me: dict[str, str]):
        aim = await self.aim(sample, me)
        created = await sample.post("/aims", json={"name": "impossible"}, headers=me)
        changed = await sample.patch(f"/aims/{aim['id']}", json={"name": "impossible"}, headers=me)
        assert (created.status_code, changed.status_code) == (409, 409)
        assert await self.names(sample, me) == ["a"]


@pytest.mark.usefixtures("account")
class TestLimit:
    async def test_an_owner_may_have_so_many_records(self, monkeypatch: pytest.MonkeyPatch, counting: Counting):
        monkeypatch.setenv("RUNYARD_MAX_RECORDS", "3")
        settings.cache_clear()
        made = resource(router("/limits", "limits"), Collection("LimitedThings", Thing, plain=True), Any)
        first = await made.create("me", {"title": "a"})
        await made.create("me", {"title": "b"})
        counting.reset()
        await made.create("me", {"title": "c"})
        assert counting.calls == {"write": 1}, "they are counted once a minute"
        with pytest.raises(BadRequest) as refusal:
            await made.create("me", {"title": "d"})
        assert refusal.value.code == "LIMIT_REACHED"
        await made.create("another", {"title": "a"})
        await made.delete("me", first.id)
        await made.create("me", {"title": "e"})
        settings.cache_clear()


class TestDeclaration:
    async def test_each_operation_is_a_named_function_with_a_description(self, sample: httpx.AsyncClient):
        paths = (await sample.get("/openapi.json")).json()["paths"]
        described = {
            (method, path): (operation["operationId"].partition("_notes")[0], operation["description"])
            for path in ("/notes", "/notes/{note_id}")
            for method, operation in paths[path].items()
        }
        assert described["get", "/notes"] == ("list", "The notes of the caller, a page at a time.")
        assert {description for _, description in described.values()} >= {"Create a note.", "Delete a note."}
        assert set(paths["/tags"]) == {"get", "post"} and "/tags/{tag_id}" not in paths

    async def test_openapi_shows_the_bodies_that_follow_from_the_record(self, sample: httpx.AsyncClient):
        schemas = (await sample.get("/openapi.json")).json()["components"]["schemas"]
        assert schemas["NewNote"]["required"] == ["title"]
        assert set(schemas["NewNote"]["properties"]) == {"title", "content", "kind", "is_pinned", "due", "tags"}
        assert "required" not in schemas["NotePatch"]
        assert set(schemas["NotePage"]["properties"]) == {"notes", "total"}

    async def test_nobody_reads_or_writes_without_a_credential(self, sample: httpx.AsyncClient):
        for method, path in (("GET", ""), ("POST", ""), ("GET", "/1"), ("PATCH", "/1"), ("DELETE", "/1")):
            assert (await sample.request(method, f"/notes{path}", json={})).status_code == 401

    def test_a_collection_that_is_counted_is_refused(self):
        class Line(Record):
            word: str

        with pytest.raises(ValueError, match="needs a plain collection"):
            resource(router("/lines", "lines"), Collection("SampleLines", Line), object)
