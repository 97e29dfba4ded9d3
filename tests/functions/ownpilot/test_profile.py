"""The profile: entries, and the two vocabularies in which they are read and written."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.ownpilot.core.owner import Person
from functions.ownpilot.core.profile_store import NewEntry, entries, profile_of, put_entries
from functions.ownpilot.core.profile_words import (
    CATEGORIES,
    DOCUMENT,
    FOLDERS,
    PAGE,
    RULES,
    naming_of,
    place_of,
    shown,
    to_document,
    to_page,
    values_in,
)
from functions.ownpilot.profile import get_profile
from shared.http.errors import BadRequest, InvalidRequest
from shared.http.operations import MAX_CHARACTERS
from shared.tables.client import client
from tests.support.environments import connected
from tests.support.failing import Failing, Killed
from tests.support.ownpilot import OwnPilot, refused
from tests.support.records import Counting

WORDS = sorted({name for rule in RULES for path in rule for name in path} | {*CATEGORIES, "home", "name", "a.b", "é"})
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3),
    max_leaves=8,
)
BODIES = st.dictionaries(
    st.sampled_from(CATEGORIES), st.dictionaries(st.sampled_from(WORDS), VALUES, max_size=4), max_size=4
)


def leaves(body: dict[str, Any]) -> dict[tuple[str, ...], Any]:
    """The values of a body by the places that they mean."""
    return {place: value for category, data in body.items() for place, value in values_in(category, data)}


class TestWords:
    @settings(deadline=None, max_examples=50)
    @given(BODIES)
    def test_what_is_written_in_one_vocabulary_is_read_in_both_without_loss(self, body: dict[str, Any]):
        try:
            values = leaves(body)
        except InvalidRequest:
            return
        for categories, name in ((PAGE, to_page), (DOCUMENT, to_document)):
            assert leaves(shown(values, categories, name)) == values

    @pytest.mark.parametrize("rule", RULES)
    def test_both_names_of_a_rule_mean_one_place(self, rule: tuple[tuple[str, ...], tuple[str, ...]]):
        document, page = rule
        assert place_of(document) == place_of(page) == page
        assert to_document(page) == document

    def test_every_category_is_a_folder_of_its_vocabulary(self):
        for category in CATEGORIES:
            assert place_of((category,)) in FOLDERS
            assert naming_of(category)(place_of((category,))) == (category,)

    @pytest.mark.parametrize(
        ("path", "place"),
        [("basicInfo.city", "location.home.city"), ("identity.city", "location.home.city"),
         ("basicInfo.name", "identity.name"), ("basicInfo.location.work", "location.work"),
         ("health.allergies", "lifestyle.eatingHabits.allergies"), ("health.bloodType", "lifestyle.health.bloodType"),
         ("interests.hobbies", "lifestyle.hobbies"), ("interests.music", "lifestyle.interests.music"),
         ("preferences.theme", "aiPreferences.theme"), ("preferences.social.family", "social.family"),
         ("preferences.lifestyle.hobbies", "lifestyle.hobbies"), ("work.role", "work.role")],
    )  # fmt: skip
    def test_places(self, path: str, place: str):
        assert place_of(tuple(path.split("."))) == tuple(place.split("."))


class TestProfile:
    async def test_a_new_one_is_empty(self, me: OwnPilot):
        profile = await me.get("/profile")
        assert profile.pop("meta") == {"completeness": 0, "lastUpdated": None, "totalEntries": 0}
        assert profile.pop("userId") == me.user
        assert profile == {category: {} for category in CATEGORIES}
        assert await me.get("/profile/summary") == {"summary": ""}

    async def test_both_vocabularies_show_the_same(self, me: OwnPilot):
        await me.data("PUT", "/profile", json={
            "basicInfo": {"name": "Ann", "city": "Rome"}, "health": {"allergies": ["nuts"], "bloodType": "A"},
            "preferences": {"theme": "dark"}, "interests": {"hobbies": ["chess"]},
        })  # fmt: skip
        await me.data("PATCH", "/profile", json={"location": {"work": {"city": "Pisa"}}, "social": {"pets": 2}})
        profile = await me.get("/profile")
        assert profile["identity"] == {"name": "Ann"}
        assert profile["location"] == {"home": {"city": "Rome"}, "work": {"city": "Pisa"}}
        assert profile["lifestyle"] == {
            "eatingHabits": {"allergies": ["nuts"]}, "health": {"bloodType": "A"}, "hobbies": ["chess"],
        }  # fmt: skip
        assert profile["basicInfo"] == {"name": "Ann", "city": "Rome", "location": {"work": {"city": "Pisa"}}}
        assert profile["preferences"] == {"theme": "dark", "social": {"pets": 2}}
        assert profile["meta"]["totalEntries"] == 8 and profile["meta"]["completeness"] == 25

    async def test_put_replaces_the_named_categories_and_patch_merges(self, me: OwnPilot):
        await me.data("PUT", "/profile", json={"identity": {"name": "Ann", "age": 30}, "work": {"role": "Boss"}})
        await me.data("PATCH", "/profile", json={"identity": {"nickname": "A", "age": None}})
        assert (await me.get("/profile"))["identity"] == {"name": "Ann", "nickname": "A"}
        profile = await me.data("PUT", "/profile", json={"basicInfo": {"name": "Ben"}, "unknown": {"x": 1}})
        assert (profile["identity"], profile["work"]) == ({"name": "Ben"}, {"role": "Boss"})
        assert (await me.data("PUT", "/profile"))["identity"] == {"name": "Ben"}

    async def test_put_in_the_words_of_the_document_leaves_what_has_no_category_there(self, me: OwnPilot):
        await me.data("PUT", "/profile", json={"social": {"pets": 2}, "lifestyle": {"wakeUpTime": "7:00"}})
        profile = await me.data("PUT", "/profile", json={"preferences": {"theme": "dark"}})
        assert (profile["social"], profile["lifestyle"]) == ({"pets": 2}, {"wakeUpTime": "7:00"})
        profile = await me.data("PUT", "/profile", json={"preferences": {"social": {"pets": 3}}})
        assert (profile["social"], profile["aiPreferences"]) == ({"pets": 3}, {})
        assert profile["lifestyle"] == {"wakeUpTime": "7:00"}

    async def test_a_whole_profile_that_was_edited_in_one_vocabulary_is_taken_back(self, me: OwnPilot):
        before = await me.data("PUT", "/profile", json={"identity": {"name": "Ann", "age": 30}})
        assert await me.data("PUT", "/profile", json=before) == before
        before["identity"]["name"] = "Ben"
        after = await me.data("PUT", "/profile", json=before)
        assert (after["identity"], after["basicInfo"]["name"]) == ({"name": "Ben", "age": 30}, "Ben")
        both = {"identity": {"name": "Cid"}, "basicInfo": {"name": "Dan"}}
        assert "identity.name" in refused(await me.send("PATCH", "/profile", json=both), 400, "INVALID_REQUEST")
        assert (await me.data("PATCH", "/profile", json={"identity": {"age": True}}))["identity"]["age"] is True

    @pytest.mark.parametrize(
        "body",
        [{"identity": []}, {"location": {"home": "Rome"}}, {"identity": {"": 1}}, {"identity": {"x" * 300: 1}},
         {"aiPreferences": {"boundaries": "none"}}, {"preferences": {"social": 1}}, {"work": None},
         {"aiPreferences": {"boundaries": ["x", None]}}],
    )  # fmt: skip
    async def test_what_cannot_be_kept_is_refused_as_a_whole(self, me: OwnPilot, body: dict[str, Any]):
        answer = await me.send("PUT", "/profile", json={"goals": {"shortTerm": ["x"]}, **body})
        refused(answer, 400, "INVALID_REQUEST")
        deep: Any = 1
        for _ in range(120):
            deep = [deep]
        refused(await me.send("PATCH", "/profile", json={"work": {"x": deep}}), 400, "BAD_REQUEST")
        assert (await me.get("/profile"))["meta"]["totalEntries"] == 0

    async def test_a_category_is_shown_and_replaced_in_its_own_words(self, me: OwnPilot):
        await me.data("PUT", "/profile/lifestyle", json={"hobbies": ["chess"], "sleepTime": "23:00"})
        found = await me.data("PUT", "/profile/interests", json={"hobbies": ["go"], "music": "jazz"})
        assert (found["category"], found["count"]) == ("interests", 2)
        assert found["data"] == {"hobbies": ["go"], "music": "jazz"}
        assert [(each["category"], each["key"]) for each in found["entries"]] == [
            ("lifestyle", "hobbies"), ("lifestyle", "interests.music"),
        ]  # fmt: skip
        lifestyle = await me.get("/profile/lifestyle", limit=1, offset=1)
        assert (lifestyle["count"], len(lifestyle["entries"])) == (3, 1)
        assert lifestyle["data"] == {"hobbies": ["go"], "sleepTime": "23:00", "interests": {"music": "jazz"}}
        for method in ("GET", "PUT"):
            refused(await me.send(method, "/profile/horoscope", json={}), 400, "INVALID_REQUEST")
        refused(await me.send("PUT", "/profile/work", json=["x"]), 400, "BAD_REQUEST")

    async def test_another_person_sees_none_of_it(self, me: OwnPilot):
        await me.post("/profile/data", category="identity", key="name", value="Ann")
        other = OwnPilot(me.http)
        assert (await other.get("/profile"))["identity"] == {}
        body = {"category": "identity", "key": "name"}
        refused(await other.send("DELETE", "/profile/data", json=body), 404, "NOT_FOUND")
        assert (await me.get("/profile/export"))["count"] == 1


class TestEntries:
    async def test_one_is_stored_once_for_each_name(self, me: OwnPilot):
        first = await me.post("/profile/data", category="basicInfo", key="name", value="Ann", data={"from": "card"})
        assert (first["category"], first["key"], first["confidence"]) == ("identity", "name", 0.9)
        assert (first["source"], first["sensitive"], first["data"]) == ("user_stated", False, {"from": "card"})
        second = await me.post("/profile/data", category="identity", key="name", value="Ben", source="inferred")
        assert (second["id"], second["createdAt"]) == (first["id"], first["createdAt"])
        city = await me.post("/profile/data", category="location", key="home.city", value="Rome")
        assert (city["category"], city["key"]) == ("location", "home.city")
        assert (await me.get("/profile"))["basicInfo"] == {"name": "Ben", "city": "Rome"}
        assert await me.data("DELETE", "/profile/data", json={"category": "basicInfo", "key": "city"}) == {
            "deleted": True
        }
        refused(await me.send("DELETE", "/profile/data", json={"category": "basicInfo", "key": "city"}), 404)

    @pytest.mark.parametrize(
        "body",
        [{"category": "horoscope", "key": "a", "value": 1}, {"category": "identity", "key": "", "value": 1},
         {"category": "location", "key": "home", "value": 1}, {"category": "identity", "key": "a"},
         {"category": "identity", "key": "a", "value": None}, {"category": "work", "key": "x" * 201, "value": 1},
         {"category": "identity", "key": "a", "value": 1, "confidence": 2},
         {"category": "aiPreferences", "key": "boundaries", "value": ["x"]}],
    )  # fmt: skip
    async def test_what_is_wrong_is_refused(self, me: OwnPilot, body: dict[str, Any]):
        refused(await me.send("POST", "/profile/data", json=body), 400, "INVALID_REQUEST")

    async def test_a_value_has_as_many_characters_as_any_record(self, me: OwnPilot):
        long = "x" * (MAX_CHARACTERS + 1)
        entry = {"category": "work", "key": "a", "value": 1}
        for method, path, body in (
            ("PATCH", "/profile", {"work": {"a": 1, "b": long}}),
            ("PUT", "/profile/work", {"a": 1, "b": long}),
            ("POST", "/profile/data", entry | {"value": long}),
            ("POST", "/profile/data", entry | {"data": {"from": long}}),
            ("POST", "/profile/import", {"entries": [entry, entry | {"key": "b", "value": long}]}),
            ("POST", "/profile/quick", {"name": "Ann", "nickname": long}),
        ):
            refused(await me.send(method, path, json=body), 400, "LIMIT_REACHED")
        assert (await me.get("/profile/export"))["count"] == 0
        await me.data("PATCH", "/profile", json={"work": {"b": "x" * (MAX_CHARACTERS - 2)}})

    async def test_instructions_and_boundaries_are_items_of_lists(self, me: OwnPilot):
        for number, text in enumerate(("Be brief", "Be kind")):
            await me.post("/profile/data", category="instructions", key=f"instruction_{number}", value=text)
        await me.post("/profile/data", category="boundaries", key="b", value="No politics")
        wanted = (await me.get("/profile"))["aiPreferences"]
        assert wanted == {"customInstructions": ["Be brief", "Be kind"], "boundaries": ["No politics"]}
        await me.data("PATCH", "/profile", json={"preferences": {"customInstructions": ["b", "a", "b"]}})
        await me.post("/profile/data", category="instructions", key="a", value="c")
        profile = await me.get("/profile")
        assert profile["aiPreferences"]["customInstructions"] == ["b", "a", "b", "c"]
        assert profile["preferences"]["boundaries"] == ["No politics"]
        assert (await me.get("/profile/preferences"))["count"] == 5

    async def test_sensitive_ones_are_not_in_the_summary(self, me: OwnPilot):
        await me.data("PUT", "/profile", json={
            "identity": {"name": " Ann \n Lee", "birthday": "1990-02-29"}, "lifestyle": {"hobbies": ["chess", "go"]},
            "work": {"skills": {"main": "tea"}}, "communication": {"humor": True},
        })  # fmt: skip
        secret: dict[str, Any] = {"category": "health", "key": "illness", "value": "flu", "sensitive": True}
        await me.post("/profile/data", **secret)
        await me.post("/profile/data", category="boundaries", key="b", value="hidden", sensitive=True)
        summary = (await me.get("/profile/summary"))["summary"]
        assert summary.splitlines() == [
            "Identity name: Ann Lee", "Communication humor: yes", "Identity birthday: 1990-02-29",
            "Lifestyle hobbies: chess, go", "Work skills: main: tea",
        ]  # fmt: skip
        changed = {"health": {"illness": "cold"}, "preferences": {"boundaries": ["shown", "hidden"]}}
        await me.data("PATCH", "/profile", json=changed)
        after = (await me.get("/profile/summary"))["summary"]
        assert "shown" in after and "hidden" not in after
        assert "cold" not in (await me.get("/profile/summary"))["summary"]
        assert (await me.get("/profile"))["health"] == {"illness": "cold"}

    async def test_the_summary_is_bounded(self, me: OwnPilot):
        await me.data("PATCH", "/profile", json={"work": {f"k{number}": "x" * 999 for number in range(150)}})
        lines = (await me.get("/profile/summary"))["summary"].splitlines()
        assert (len(lines), {len(line) for line in lines}) == (100, {300})

    async def test_the_quick_set_up_completes_the_profile(self, me: OwnPilot):
        done = await me.post("/profile/quick", name="Ann", nickname="", location="Rome", autonomyLevel="medium")
        assert (done["updated"], done["profile"]["meta"]["completeness"]) == (3, 38)
        assert done["profile"]["location"] == {"home": {"city": "Rome"}}
        rest = {"nickname": "A", "timezone": "UTC", "occupation": "x", "language": "it", "communicationStyle": "mixed"}
        profile = (await me.post("/profile/quick", **rest))["profile"]
        assert (profile["meta"]["completeness"], profile["meta"]["totalEntries"]) == (100, 8)
        assert profile["communication"] == {"primaryLanguage": "it", "preferredStyle": "mixed"}
        assert (await me.post("/profile/quick"))["updated"] == 0

    async def test_two_changes_at_once_are_both_kept(self, me: OwnPilot):
        await asyncio.gather(
            *(me.data("PATCH", "/profile", json={"identity": {f"k{number}": number}}) for number in range(6))
        )
        assert (await me.get("/profile"))["identity"] == {f"k{number}": number for number in range(6)}


class TestImport:
    async def test_an_export_is_what_an_import_takes(self, me: OwnPilot):
        await me.data("PUT", "/profile", json={
            "identity": {"name": "Ann"}, "aiPreferences": {"boundaries": ["b", "a"], "x": {"y": [1, None]}},
        })  # fmt: skip
        await me.post("/profile/data", category="health", key="illness", value=1.5, confidence=0.25, sensitive=True)
        export, other = await me.get("/profile/export"), OwnPilot(me.http)
        assert export["count"] == 5
        for _ in range(2):
            assert (await other.post("/profile/import", entries=export["entries"]))["imported"] == 5
        again = await other.get("/profile/export")
        changing = ("userId", "updatedAt")
        assert [
            {name: value for name, value in entry.items() if name not in changing} for entry in again["entries"]
        ] == [{name: value for name, value in entry.items() if name not in changing} for entry in export["entries"]]
        mine, theirs = await me.get("/profile"), await other.get("/profile")
        assert mine | {"meta": 0, "userId": 0} == theirs | {"meta": 0, "userId": 0}

    async def test_many_entries_are_one_request(self, me: OwnPilot):
        entries = [
            {"category": "work", "key": f"k{number}", "value": number, "data": [0] * 40, "confidence": 1, "source": "x",
             "sensitive": False, "id": "x", "userId": "x", "createdAt": "2026-01-01", "updatedAt": "2026-01-01"}
            for number in range(500)
        ]  # fmt: skip
        assert (await me.post("/profile/import", entries=[*entries, entries[0] | {"value": "last"}]))["imported"] == 500
        too_many = await me.send("POST", "/profile/import", json={"entries": [0] * 200_001})
        refused(too_many, 413, "PAYLOAD_TOO_LARGE")
        refused(await me.send("POST", "/profile/import", json={"entries": [{}] * 10_001}), 400)
        work = (await me.get("/profile"))["work"]
        assert (len(work), work["k0"], work["k499"]) == (500, "last", 499)

    async def test_a_wrong_entry_is_named_and_nothing_is_stored(self, me: OwnPilot):
        right = {"category": "work", "key": "a", "value": 1}
        for wrong in ({"category": "horoscope"}, {"key": ""}, {"value": None}, {"confidence": "much"}):
            answer = await me.send("POST", "/profile/import", json={"entries": [right, right | wrong]})
            refused(answer, 400, "INVALID_REQUEST")
        refused(await me.send("POST", "/profile/import", json={"entries": {}}), 400, "INVALID_REQUEST")
        refused(await me.send("POST", "/profile/import", json={}), 400, "INVALID_REQUEST")
        assert (await me.get("/profile/export"))["count"] == 0


@pytest.mark.usefixtures("account")
class TestMethods:
    async def test_a_profile_costs_one_call_and_an_import_one_for_each_hundred_entries(self, counting: Counting):
        new = [NewEntry(category="work", key=f"k{number}", value=number) for number in range(250)]
        await put_entries(await profile_of("costs"), new[:1])
        counting.reset()
        await put_entries(await profile_of("costs"), new)
        assert counting.calls == {"query": 1, "batch": 3}
        counting.reset()
        assert len((await get_profile(Person("costs"))).work) == 250
        assert counting.calls == {"query": 1}

    async def test_an_import_that_was_killed_is_whole_after_its_repeat(self):
        new = [NewEntry(category="instructions", key=f"k{number}", value=number) for number in range(150)]
        await put_entries(await profile_of("killed"), new[:1])
        wire = client().wire
        inner, wire.transport = wire.transport, Failing(wire.transport, entries.table, Killed(), landed=True)
        with pytest.raises(Killed):
            await put_entries(await profile_of("killed"), new)
        wire.transport = inner
        assert len((await profile_of("killed")).entries) == 100
        await put_entries(await profile_of("killed"), new)
        assert len((await profile_of("killed")).entries) == 150

    async def test_there_is_a_limit(self, storage: str):
        async with connected(AzureWebJobsStorage=storage, RUNYARD_MAX_RECORDS="2"):
            await put_entries(await profile_of("many"), [NewEntry(category="work", key=key, value=1) for key in "ab"])
            with pytest.raises(BadRequest, match="at most 2 entries") as refusal:
                await put_entries(await profile_of("many"), [NewEntry(category="work", key="c", value=1)])
            assert refusal.value.code == "LIMIT_REACHED"
            await put_entries(await profile_of("many"), [NewEntry(category="work", key="a", value=2)])
