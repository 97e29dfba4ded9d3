"""Custom data: tables that a person defines, and their records."""

import asyncio
from typing import Any

import httpx
import pytest

from bench.figures import Call
from functions.ownpilot import SLICE
from functions.ownpilot.core import custom_records as records
from functions.ownpilot.core.custom_records import (
    add_record,
    change_record,
    clear_custom_table,
    custom_records,
    delete_table,
    list_records,
    search_records,
)
from functions.ownpilot.core.custom_tables import (
    MAX_COLUMNS,
    CustomTable,
    create_table,
    custom_tables,
    name_of,
    table_of,
)
from shared.http.errors import BadRequest, InvalidRequest
from shared.http.operations import MAX_CHARACTERS
from shared.tables import RecordNotFound, StorageUnavailable
from tests.support.ownpilot import OwnPilot, refused
from tests.support.records import Counting
from tests.support.waiting import eventually

COLUMNS: list[dict[str, Any]] = [
    {"name": "title", "type": "text", "required": True},
    {"name": "servings", "type": "number", "defaultValue": 4},
    {"name": "vegan", "type": "boolean"},
    {"name": "day", "type": "date"},
    {"name": "at", "type": "datetime"},
    {"name": "more", "type": "json"},
]
TABLES = "/custom-data/tables"


async def define(me: OwnPilot, name: str = "recipes", columns: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return await me.post(TABLES, name=name, displayName=name.title(), columns=columns or COLUMNS)


async def add(me: OwnPilot, table: str = "recipes", **data: Any) -> dict[str, Any]:
    return await me.post(f"{TABLES}/{table}/records", data=data)


async def listed(me: OwnPilot, table: str = "recipes", **query: Any) -> list[str]:
    return [record["data"]["title"] for record in (await me.get(f"{TABLES}/{table}/records", **query))["records"]]


class TestTables:
    async def test_a_table_is_found_by_its_id_and_by_its_name_in_any_spelling(self, me: OwnPilot):
        table = await me.post(TABLES, name="My Récipes!", displayName="Recipes", description="d", columns=COLUMNS)
        assert (table["name"], table["id"][:6]) == ("my_r_cipes_", "table_")
        assert table["columns"][:2] == [
            {"name": "title", "type": "text", "required": True},
            {"name": "servings", "type": "number", "required": False, "defaultValue": 4},
        ]
        for address in (table["id"], "my_r_cipes_", "MY_R_CIPES_", "My%20R%C3%A9cipes!"):
            assert await me.get(f"{TABLES}/{address}") == {**table, "stats": {"recordCount": 0}}
        record = await add(me, table["id"], title="a")
        stats = (await me.get(f"{TABLES}/{table['id']}"))["stats"]
        assert stats == {"recordCount": 1, "lastRecord": record["createdAt"]}

    async def test_a_name_is_taken_in_any_case(self, me: OwnPilot):
        await define(me, "Recipes")
        body = {"name": "rECIPES", "displayName": "x", "columns": COLUMNS}
        assert "recipes" in refused(await me.send("POST", TABLES, json=body), 400, "INVALID_REQUEST")
        answers = await asyncio.gather(*(me.send("POST", TABLES, json={**body, "name": "twice"}) for _ in range(3)))
        assert sorted(answer.status_code for answer in answers) == [201, 400, 400]
        await define(OwnPilot(me.http), "recipes")

    async def test_the_list_counts_the_records_of_each(self, me: OwnPilot):
        for name in ("b", "a", "c"):
            await define(me, name)
        for _ in range(3):
            await add(me, "b", title="x")
        gone = await add(me, "a", title="x")
        await me.data("DELETE", f"/custom-data/records/{gone['id']}")
        tables = await me.get(TABLES)
        assert [(table["displayName"], table["recordCount"]) for table in tables] == [("A", 0), ("B", 3), ("C", 0)]
        assert "description" not in tables[0]
        assert [table["name"] for table in await me.get(TABLES, limit=1, offset=1)] == ["b"]

    @pytest.mark.parametrize(
        "change",
        [{"name": None}, {"name": " "}, {"name": "x" * 129}, {"displayName": ""}, {"columns": []}, {"columns": None},
         {"columns": [{"name": "a"}]}, {"columns": [{"name": "a", "type": "money"}]},
         {"columns": [{"name": "", "type": "text"}]}, {"columns": [{"name": "a", "type": "text"}] * 2},
         {"columns": [{"name": "a", "type": "number", "defaultValue": "4"}]},
         {"columns": [{"name": f"c{n}", "type": "text"} for n in range(MAX_COLUMNS + 1)]}],
        ids=range(12),
    )  # fmt: skip
    async def test_wrong_definitions_are_refused(self, me: OwnPilot, change: dict[str, Any]):
        body = {"name": "t", "displayName": "T", "columns": [{"name": "a", "type": "text"}], **change}
        message = refused(await me.send("POST", TABLES, json=body), 400, "INVALID_REQUEST")
        assert message.startswith(next(iter(change)))
        assert len(body["columns"] or []) <= MAX_COLUMNS or str(MAX_COLUMNS) in message

    async def test_a_definition_has_so_many_characters(self, me: OwnPilot):
        body = {"name": "t", "displayName": "T", "columns": [{"name": "a", "type": "text"}]}
        long = {"description": "x" * MAX_CHARACTERS}
        for wrong in (long, {"columns": [{"name": "a", "type": "text", **long}]}):
            refused(await me.send("POST", TABLES, json={**body, **wrong}), 400, "LIMIT_REACHED")
        assert await me.get(TABLES) == []

    async def test_columns_that_differ_in_case_are_two(self, me: OwnPilot):
        await define(me, "cases", [{"name": "Title", "type": "text"}, {"name": "title", "type": "text"}])
        assert (await add(me, "cases", Title="a", title="b"))["data"] == {"Title": "a", "title": "b"}

    async def test_a_deleted_table_leaves_nothing_and_its_name_is_free_at_once(self, me: OwnPilot, app: None):
        old = await define(me)
        kept = await define(me, "kept")
        record = await add(me, title="old")
        await add(me, "kept", title="stays")
        assert await me.data("DELETE", f"{TABLES}/recipes") == {"deleted": True}
        for method, path in [
            ("GET", f"{TABLES}/recipes"), ("DELETE", f"{TABLES}/{old['id']}"),
            ("GET", f"{TABLES}/{old['id']}/records/{record['id']}"), ("PUT", f"/custom-data/records/{record['id']}"),
        ]:  # fmt: skip
            refused(await me.send(method, path, json={"data": {}}), 404, "NOT_FOUND")
        new = await define(me)
        assert (new["id"] != old["id"], await listed(me)) == (True, [])
        await eventually(
            lambda: custom_records.of(me.user).count({"table_id": old["id"]}), until=lambda left: left == 0
        )
        assert await listed(me, kept["id"]) == ["stays"]

    async def test_another_users_tables_are_not_there(self, me: OwnPilot):
        table, record, another = await define(me), await add(me, title="secret"), OwnPilot(me.http)
        for address in (table["id"], "recipes"):
            own = f"{TABLES}/{address}"
            for method, path in [
                ("GET", own), ("DELETE", own), ("GET", f"{own}/records"), ("POST", f"{own}/records"),
                ("GET", f"{own}/search?q=s"), ("GET", f"{own}/records/{record['id']}"),
                ("PATCH", f"{own}/records/{record['id']}"), ("DELETE", f"{own}/records/{record['id']}"),
                ("PUT", f"/custom-data/records/{record['id']}"), ("DELETE", f"/custom-data/records/{record['id']}"),
            ]:  # fmt: skip
                refused(await another.send(method, path, json={"data": {"title": "x"}}), 404, "NOT_FOUND")
        assert await another.get(TABLES) == [] and await listed(me) == ["secret"]


class TestRecords:
    async def test_defaults_are_filled_and_what_belongs_to_no_column_is_left_out(self, me: OwnPilot):
        table = await define(me)
        record = await add(me, title="Soup", at="2030-01-02T10:00+02:00", day="2030-01-02", more={"a": [None]}, x=1)
        assert (record["id"][:4], record["tableId"]) == ("rec_", table["id"])
        assert record["data"] == {
            "title": "Soup", "servings": 4, "day": "2030-01-02", "at": "2030-01-02T08:00:00.000Z",
            "more": {"a": [None]},
        }  # fmt: skip
        assert set(record) == {"id", "tableId", "data", "createdAt", "updatedAt"}
        assert await me.get(f"{TABLES}/recipes/records/{record['id']}") == record
        assert (await add(me, title="Tea", servings=None))["data"] == {"title": "Tea"}

    @pytest.mark.parametrize(
        ("column", "value"),
        [("title", 1), ("title", ["a"]), ("servings", "4"), ("servings", True), ("servings", 10**400), ("vegan", "yes"),
         ("vegan", 0), ("day", "2030-02-30"), ("day", "2030-01-01T10:00:00Z"), ("day", 20300101), ("at", "soon"),
         ("at", 1700000000)],
        ids=str,
    )  # fmt: skip
    async def test_a_value_of_another_type_is_refused(self, me: OwnPilot, column: str, value: Any):
        await define(me)
        record = await add(me, title="t")
        for method, path in [
            ("POST", f"{TABLES}/recipes/records"), ("PATCH", f"{TABLES}/recipes/records/{record['id']}"),
            ("PUT", f"/custom-data/records/{record['id']}"),
        ]:  # fmt: skip
            answer = await me.send(method, path, json={"data": {"title": "t", column: value}})
            assert refused(answer, 400, "INVALID_REQUEST").startswith(f"data.{column}: must be")
        assert await listed(me) == ["t"]

    async def test_what_json_cannot_hold_or_is_nested_too_deep_is_refused(self, me: OwnPilot):
        await define(me)
        path, headers = f"{TABLES}/recipes/records", {"Content-Type": "application/json"}
        deep = "[" * 101 + "]" * 101
        for value in ("NaN", "Infinity", '"\\ud800"', deep):
            body = f'{{"data": {{"title": "t", "more": {value}}}}}'
            refused(await me.send("POST", path, content=body, headers=headers), 400)
        nested: Any = 0
        for _ in range(45):
            nested = {"in": [nested]}
        assert (await add(me, title="t", more=nested))["data"]["more"] == nested
        assert (await me.get(path))["records"][0]["data"]["more"] == nested

    async def test_a_required_value_is_needed(self, me: OwnPilot):
        await define(me)
        path = f"{TABLES}/recipes/records"
        for data in ({}, {"title": None}, {"servings": 1}):
            assert "data.title" in refused(await me.send("POST", path, json={"data": data}), 400, "ADD_FAILED")
        refused(await me.send("POST", path, json={}), 400, "INVALID_REQUEST")
        refused(await me.send("POST", path, json={"data": []}), 400, "INVALID_REQUEST")
        record = await add(me, title="t")
        answer = await me.send("PATCH", f"{path}/{record['id']}", json={"data": {"title": None}})
        refused(answer, 400, "INVALID_REQUEST")

    async def test_a_change_is_merged_and_null_removes(self, me: OwnPilot):
        await define(me)
        record = await add(me, title="Soup", vegan=True, more=1)
        path = f"{TABLES}/recipes/records/{record['id']}"
        changed = await me.data("PATCH", path, json={"data": {"servings": 2, "vegan": None, "x": 1}})
        assert changed["data"] == {"title": "Soup", "servings": 2, "more": 1}
        assert changed["updatedAt"] > record["updatedAt"]
        put = await me.data("PUT", f"/custom-data/records/{record['id']}", json={"data": {"title": "Stew"}})
        assert put["data"] == {"title": "Stew", "servings": 2, "more": 1}
        await asyncio.gather(
            me.data("PATCH", path, json={"data": {"servings": 9}}),
            me.data("PATCH", path, json={"data": {"vegan": False}}),
        )
        read = await me.send("GET", path)
        assert read.json()["data"]["data"] == {"title": "Stew", "servings": 9, "vegan": False, "more": 1}
        await me.data("PATCH", path, json={"data": {"servings": 1}}, headers={"If-Match": read.headers["etag"]})
        stale = await me.send("PATCH", path, json={"data": {}}, headers={"If-Match": read.headers["etag"]})
        refused(stale, 412, "PRECONDITION_FAILED")

    async def test_a_record_is_of_the_table_in_the_path(self, me: OwnPilot):
        await define(me)
        await define(me, "others")
        record = await add(me, title="t")
        for method in ("GET", "PATCH", "DELETE"):
            path = f"{TABLES}/others/records/{record['id']}"
            refused(await me.send(method, path, json={"data": {"title": "x"}}), 404, "NOT_FOUND")
        assert await listed(me) == ["t"]
        assert await me.data("DELETE", f"{TABLES}/recipes/records/{record['id']}") == {"deleted": True}
        refused(await me.send("DELETE", f"/custom-data/records/{record['id']}"), 404, "NOT_FOUND")
        assert await listed(me) == []

    async def test_lists_are_paged_with_the_newest_first_and_an_exact_total(self, me: OwnPilot):
        await define(me)
        await define(me, "others")
        for number in range(5):
            await add(me, title=str(number), servings=number % 2)
            await add(me, "others", title="other")
        page = await me.get(f"{TABLES}/recipes/records", limit=2, offset=1)
        assert [record["data"]["title"] for record in page.pop("records")] == ["3", "2"]
        assert page == {"total": 5, "limit": 2, "offset": 1, "hasMore": True}
        last = await me.send("GET", f"{TABLES}/recipes/records", params={"limit": 3, "offset": 2})
        assert last.json()["data"]["hasMore"] is False and "link" not in last.headers
        first = await me.send("GET", f"{TABLES}/recipes/records", params={"limit": 3})
        second = await me.http.get(first.headers["link"].partition(">")[0].removeprefix("<"))
        assert [record["data"]["title"] for record in second.json()["data"]["records"]] == ["1", "0"]
        assert second.json()["data"]["hasMore"] is False
        query = {"limit": 1, "filter": '{"servings": 0}'}
        seen: list[str] = []
        answer = await me.send("GET", f"{TABLES}/recipes/records", params=query)
        while True:
            seen += [record["data"]["title"] for record in answer.json()["data"]["records"]]
            assert answer.json()["data"]["hasMore"] is ("link" in answer.headers)
            if "link" not in answer.headers:
                break
            answer = await me.http.get(answer.headers["link"].partition(">")[0].removeprefix("<"))
        assert seen == ["4", "2", "0"]
        cursor = httpx.URL(first.headers["link"].partition(">")[0].removeprefix("<")).params["cursor"]
        refused(await me.send("GET", f"{TABLES}/recipes/records", params={**query, "cursor": cursor}), 400)

    async def test_a_filter_asks_for_exact_values(self, me: OwnPilot):
        await define(me)
        for number in range(4):
            at = "2030-01-01T10:00:00Z" if number == 0 else None
            await add(me, title=str(number), servings=1.0 if number % 2 else 0, vegan=number == 3, at=at)
        assert await listed(me, filter='{"servings": 1}') == ["3", "1"]
        assert await listed(me, filter='{"servings": 1, "vegan": false}') == ["1"]
        assert await listed(me, filter='{"at": "2030-01-01T11:00:00+01:00"}') == ["0"]
        assert await listed(me, filter='{"at": null, "servings": 0}') == ["2"]
        assert await listed(me, filter='{"title": "1"}') == ["1"] and await listed(me, filter='{"more": 1}') == []
        page = await me.get(f"{TABLES}/recipes/records", filter='{"vegan": false}', limit=1, offset=1)
        assert (page["records"][0]["data"]["title"], page["total"], page["hasMore"]) == ("1", 3, True)
        for wrong in ("x", "[]", '"a"', "1", '{"x": 1}', '{"servings": "1"}', '{"vegan": 1}', "[" * 5000):
            answer = await me.send("GET", f"{TABLES}/recipes/records", params={"filter": wrong})
            assert refused(answer, 400, "INVALID_REQUEST").startswith("filter")

    async def test_true_is_not_one_in_a_filter(self, me: OwnPilot):
        await define(me)
        await add(me, title="number", more=1)
        await add(me, title="truth", more=True)
        assert await listed(me, filter='{"more": true}') == ["truth"]
        assert await listed(me, filter='{"more": 1}') == ["number"]

    async def test_a_search_looks_into_every_value_whatever_its_case(self, me: OwnPilot):
        await define(me)
        await add(me, title="Soup", servings=12.5, vegan=True)
        await add(me, title="Stew", more={"with": ["Größe"]}, day="2031-05-06")
        for text, expected in [
            ("SOUP", ["Soup"]), ("12.5", ["Soup"]), ("true", ["Soup"]), ("grösse", ["Stew"]), ("2031-05", ["Stew"]),
            ("S", ["Stew", "Soup"]), ("nothing", []),
        ]:  # fmt: skip
            posted = await me.post(f"{TABLES}/recipes/search", query=text)
            assert [record["data"]["title"] for record in posted["records"]] == expected
            assert (posted["total"], posted["query"]) == (len(expected), text)
            assert await me.get(f"{TABLES}/recipes/search", q=text) == posted["records"]
        part = await me.post(f"{TABLES}/recipes/search", query="s", limit=1, offset=1)
        assert ([record["data"]["title"] for record in part["records"]], part["total"]) == (["Soup"], 2)
        assert len(await me.get(f"{TABLES}/recipes/search", q="s", limit=1)) == 1
        refused(await me.send("POST", f"{TABLES}/recipes/search", json={"query": ""}), 400, "INVALID_REQUEST")
        refused(await me.send("GET", f"{TABLES}/recipes/search"), 400, "INVALID_REQUEST")

    async def test_a_long_record_is_whole_in_lists_and_one_over_the_limit_is_refused(self, me: OwnPilot):
        await define(me)
        text = "ж" * 400_000
        record = await add(me, title=text)
        assert await listed(me) == [text] == [(await me.get(f"{TABLES}/recipes/search", q="ЖЖ"))[0]["data"]["title"]]
        answer = await me.send("POST", f"{TABLES}/recipes/records", json={"data": {"title": "x" * 1_100_000}})
        assert "1 MiB" in refused(answer, 400, "LIMIT_REACHED")
        path = f"{TABLES}/recipes/records/{record['id']}"
        refused(await me.send("PATCH", path, json={"data": {"more": text}}), 400, "LIMIT_REACHED")

    async def test_a_repeated_create_with_a_key_makes_one_record(self, me: OwnPilot):
        await define(me)
        headers = {"Idempotency-Key": me.user}
        for _ in range(2):
            answer = await me.send("POST", f"{TABLES}/recipes/records", json={"data": {"title": "a"}}, headers=headers)
            assert answer.status_code == 201
        assert await listed(me) == ["a"]


@pytest.mark.parametrize(
    ("given", "name"), [("Recipes", "recipes"), ("a b-c.d", "a_b_c_d"), ("ÄÖ", "__"), ("1_2", "1_2")]
)
def test_a_name_has_small_letters_digits_and_underscores(given: str, name: str):
    assert name_of(given) == name


async def new_table(owner: str, rows: int = 0) -> CustomTable:
    table = await create_table(owner, {"name": "t", "displayName": "T", "columns": [{"name": "n", "type": "number"}]})
    await asyncio.gather(*(add_record(owner, table, {"n": number}) for number in range(rows)))
    return table


@pytest.mark.usefixtures("account")
class TestDeletion:
    """The work that a deletion leaves for later, which this process does itself."""

    @pytest.fixture(autouse=True)
    def orders(self, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
        """The orders that are sent."""
        sent: list[dict[str, str]] = []

        async def defer(handler: str, value: dict[str, str], **_: Any) -> None:
            assert f"ownpilot.{SLICE.deferred[0].__name__}" == handler
            sent.append(value)

        monkeypatch.setattr(records, "defer", defer)
        return sent

    async def left(self, owner: str, table: CustomTable) -> int:
        return await custom_records.of(owner).count({"table_id": table.id})

    async def test_after_a_crash_behind_the_order_the_table_is_deleted_whole(
        self, monkeypatch: pytest.MonkeyPatch, orders: list[dict[str, str]]
    ):
        table = await new_table("crash", 3)

        async def fail(*_: Any) -> None:
            raise StorageUnavailable

        with monkeypatch.context() as patched:
            patched.setattr(type(custom_tables), "delete", fail)
            with pytest.raises(StorageUnavailable):
                await delete_table("crash", "t")
        assert await self.left("crash", await table_of("crash", "t")) == 3
        [order] = orders
        for _ in range(2):  # done twice, it is the same
            await clear_custom_table(order)
            with pytest.raises(RecordNotFound):
                await table_of("crash", "t")
            assert await self.left("crash", table) == 0

    async def test_an_interrupted_deletion_of_many_records_is_continued(
        self, monkeypatch: pytest.MonkeyPatch, orders: list[dict[str, str]]
    ):
        table = await new_table("many", 30)
        other = await create_table(
            "many", {"name": "o", "displayName": "O", "columns": [{"name": "n", "type": "text"}]}
        )
        await add_record("many", other, {"n": "stays"})
        monkeypatch.setattr(records, "TURN", 0)
        await clear_custom_table({"user": "many", "table": table.id})
        assert await self.left("many", table) == 30 and orders == [{"user": "many", "table": table.id}]
        monkeypatch.setattr(records, "TURN", 60)
        await clear_custom_table(orders[0])
        assert (await self.left("many", table), await self.left("many", other), len(orders)) == (0, 1, 1)

    async def test_an_order_that_cannot_be_sent_deletes_nothing(self, monkeypatch: pytest.MonkeyPatch):
        table = await new_table("unsent", 1)

        async def fail(*_: Any, **__: Any) -> None:
            raise ConnectionError

        monkeypatch.setattr(records, "defer", fail)
        with pytest.raises(ConnectionError):
            await delete_table("unsent", "t")
        assert (await table_of("unsent", "t"), await self.left("unsent", table)) == (table, 1)


@pytest.mark.usefixtures("account")
class TestMethods:
    """The same for other code."""

    async def test_they_check_what_requests_check(self):
        with pytest.raises(InvalidRequest, match="displayName"):
            await create_table("methods", {"name": "t", "columns": [{"name": "n", "type": "number"}]})
        table = await new_table("methods")
        with pytest.raises(InvalidRequest, match="must be a number"):
            await add_record("methods", table, {"n": "1"})
        record = await add_record("methods", table, {"n": 1})
        assert (await change_record("methods", record.id, {"n": 2}, table="t")).data == {"n": 2}

    async def test_a_person_has_so_many_tables(self, monkeypatch: pytest.MonkeyPatch):
        await new_table("limited")
        monkeypatch.setattr("functions.ownpilot.core.custom_tables.MAX_TABLES", 1)
        with pytest.raises(BadRequest, match="1 tables") as refusal:
            await new_table("limited")
        assert refusal.value.code == "LIMIT_REACHED"

    async def test_what_they_cost(self, counting: Counting):
        table = await new_table("costs", 3)
        record = await add_record("costs", table, {"n": 9})
        operations: list[tuple[Call, dict[str, int]]] = [
            (lambda: table_of("costs", table.id), {"get": 1}),
            (lambda: table_of("costs", "T"), {"get": 2}),
            (lambda: add_record("costs", table, {"n": 9}), {"batch": 1}),
            (lambda: list_records("costs", table), {"query": 2}),
            (lambda: list_records("costs", table, equal={"n": 9}), {"query": 1}),
            (lambda: search_records("costs", table, "9"), {"query": 1}),
            (lambda: change_record("costs", record.id, {"n": 8}), {"get": 2, "batch": 1}),
        ]
        for operation, cost in operations:
            counting.reset()
            await operation()
            assert counting.calls == cost
