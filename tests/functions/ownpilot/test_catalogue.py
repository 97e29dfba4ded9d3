"""The catalogue: what is taken over from models.dev, the merged view, and syncs that fail, run twice or are killed."""

import asyncio
import copy
import os
import random
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import httpx
import orjson
import pytest

from bench.catalogue import memory
from functions.ownpilot.core.catalogue import stored, sync
from functions.ownpilot.core.catalogue.facts import CAPABILITIES, Catalogue, Model, Provider
from functions.ownpilot.core.catalogue.merge import merged
from functions.ownpilot.core.catalogue.models_dev import SNAPSHOT, make_snapshot, mapped
from functions.ownpilot.core.catalogue.resolve import model_of, provider_of, view_of
from functions.ownpilot.core.catalogue.rows import ModelRow, OwnRows, ProviderRow, key_of
from functions.ownpilot.core.catalogue.sync import claims
from functions.ownpilot.core.catalogue.table import AGGREGATORS
from functions.ownpilot.core.local_store import LocalModel, LocalProvider, LocalServer
from infra.emulator.processes import ROOT
from infra.local.environment import Environment
from shared import recent
from shared.tables import StorageUnavailable
from tests.support.ownpilot import OwnPilot, data_of, refused

MODEL: dict[str, Any] = {
    "name": "One", "tool_call": True, "reasoning": True, "structured_output": True, "release_date": "2026-05-01",
    "modalities": {"input": ["text", "image", "audio"], "output": ["text"]},
    "cost": {"input": 1.5, "output": 6}, "limit": {"context": 1000, "output": 100},
}  # fmt: skip
PROVIDER: dict[str, Any] = {
    "id": "acme", "name": "Acme", "npm": "@ai-sdk/openai-compatible", "env": ["ACME_KEY", "ACME_ACCOUNT"],
    "api": "https://api.acme.example/v1/", "doc": "https://acme.example/docs", "models": {"one": MODEL},
}  # fmt: skip


def document(**providers: Any) -> dict[str, Any]:
    """A document of models.dev; a provider is `PROVIDER` with these members changed."""
    return {id_: {**copy.deepcopy(PROVIDER), "id": id_, **members} for id_, members in providers.items()}


class TestMapping:
    def test_a_provider_and_a_model_are_taken_over(self):
        [provider] = mapped(document(acme={})).providers
        assert provider[:6] == (
            "acme", "Acme", "openai-compatible", "https://api.acme.example/v1", "ACME_KEY", "https://acme.example/docs"
        )  # fmt: skip
        can = ("chat", "vision", "function_calling", "json_mode", "streaming", "audio", "reasoning")
        assert provider.models == (Model("one", "One", 1000, 100, 1.5, 6, can, "2026-05-01"),)

    @pytest.mark.parametrize(
        ("npm", "type_"),
        [("@ai-sdk/openai", "openai"), ("@ai-sdk/anthropic", "anthropic"), ("@ai-sdk/google", "google"),
         ("@ai-sdk/groq", "openai-compatible"), (None, "openai-compatible")],
    )  # fmt: skip
    def test_what_it_speaks_follows_from_its_package(self, npm: str | None, type_: str):
        assert mapped(document(acme={"npm": npm})).providers[0].type == type_

    @pytest.mark.parametrize(
        ("api", "base_url"),
        [("https://${HOST}/v1", None), ("ftp://a.example", None), (7, None), (None, None), ("https://a b", None),
         ("https://a.example/v1/chat/completions", "https://a.example/v1")],
    )  # fmt: skip
    def test_an_address_that_cannot_be_used_as_it_stands_is_none(self, api: Any, base_url: str | None):
        assert mapped(document(acme={"api": api})).providers[0].base_url == base_url

    def test_the_addresses_that_models_dev_lacks_are_our_own(self):
        found = {each.id: each.base_url for each in mapped(document(openai={"api": None}, google={})).providers}
        assert found["openai"] == "https://api.openai.com/v1"
        assert found["google"] == "https://generativelanguage.googleapis.com/v1beta/openai"

    @pytest.mark.parametrize(
        "members",
        [{"status": "deprecated"}, {"modalities": {"input": ["text"], "output": ["image"]}}],
    )  # fmt: skip
    def test_a_model_that_answers_no_text_or_is_deprecated_is_left_out(self, members: dict[str, Any]):
        [provider] = mapped(document(acme={"models": {"one": MODEL, "two": {**MODEL, **members}}})).providers
        assert [model.id for model in provider.models] == ["one"]

    def test_a_model_may_have_odd_members(self):
        odd = {"name": 7, "cost": {"input": "free", "output": -1}, "limit": [], "modalities": None, "release_date": 7}
        [provider] = mapped(document(acme={"models": {"odd-embed": odd}})).providers
        assert provider.models == (Model("odd-embed", "odd-embed", None, None, None, None, ("embeddings",), ""),)

    def test_the_newest_model_that_calls_tools_is_the_default(self):
        models = {
            "old": {**MODEL, "release_date": "2024-01"},
            "new": {**MODEL, "release_date": "2026-06-01"},
            "newest": {**MODEL, "release_date": "2026-07-01", "tool_call": False},
        }
        [provider] = mapped(document(acme={"models": models})).providers
        assert (provider.default_model, [model.id for model in provider.models]) == ("new", ["newest", "new", "old"])
        assert provider._replace(models=provider.models[:1]).default_model == "newest"
        assert provider._replace(models=()).default_model is None

    def test_providers_that_cannot_be_read_are_named_and_the_others_taken_over(self):
        given = {
            **document(acme={}, bad={"models": []}, empty={"models": {}}),
            "list": PROVIDER,
            "a b": PROVIDER,
            "x": 1,
        }
        found = mapped(given)
        assert ([each.id for each in found.providers], found.failed) == (["acme"], ["bad", "list", "a b", "x"])

    @pytest.mark.parametrize("garbage", [{}, [], None, "text", 7, {"a": {}}, {"a": {"models": {}}}])
    def test_a_document_without_a_model_is_none(self, garbage: Any):
        with pytest.raises(ValueError, match="it "):
            mapped(garbage)


class TestPacking:
    def test_the_shipped_catalogue_is_small_and_has_no_reseller(self):
        packed = SNAPSHOT.read_bytes()
        assert len(packed) <= 250_000
        shipped = Catalogue.unpack(packed)
        assert len(shipped.providers) > 100 and shipped.size > 2000 and "nano-gpt" not in shipped.providers
        assert all(
            each.base_url for each in map(shipped.providers.get, ("openai", "anthropic", "google", "groq")) if each
        )
        assert shipped.pack() == packed

    def test_a_provider_with_very_many_models_is_not_shipped(self):
        many = {f"m{number}": MODEL for number in range(201)}
        made = make_snapshot(orjson.dumps(document(acme={}, seller={"models": many})))
        assert [*made.providers] == ["acme"]

    @pytest.mark.parametrize(
        "damaged", [b"", b"{}", SNAPSHOT.read_bytes()[:1000], SNAPSHOT.read_bytes()[::-1], Catalogue([]).pack()[:-4]]
    )
    def test_anything_else_is_refused(self, damaged: bytes):
        with pytest.raises(ValueError, match="no packed catalogue"):
            Catalogue.unpack(damaged)

    def test_it_takes_little_memory_and_none_before_it_is_needed(self):
        assert memory().is_reached


CHANCE_MODELS = [f"m{number}" for number in range(6)]


def generated(chance: random.Random) -> tuple[Catalogue, OwnRows]:
    """A catalogue and the rows of a person, in which ids meet that are the same."""

    def model(id_: str) -> Model:
        context, output, price = (chance.choice([None, 1, 5]) for _ in range(3))
        return Model(
            id_, id_.upper(), context, output, price, price, tuple(chance.sample([*CAPABILITIES], 2)), "2026-01-01"
        )

    def some(ids: list[str]) -> list[str]:
        return chance.sample(ids, chance.randrange(len(ids) + 1))

    ids = ["openai", "togetherai", "groq", "together", "fal", "mine", "p"]
    providers = [
        Provider(id_, chance.choice("abAB"), "openai", "https://a.b", "KEY", None, (*map(model, some(CHANCE_MODELS)),))
        for id_ in some(["openai", "togetherai", "groq", "p"])
    ]  # fmt: skip
    server = LocalProvider(
        name=chance.choice("ab"), provider_type="ollama", base_url="http://a", is_enabled=chance.random() < 0.5
    )
    local = LocalServer(server, [
        LocalModel(local_provider_id=server.id, model_id=id_, display_name=id_, is_enabled=chance.random() < 0.5)
        for id_ in some(CHANCE_MODELS)
    ])  # fmt: skip
    about_providers = [
        ProviderRow(
            provider_id=id_, display_name=chance.choice([None, "Own"]), is_enabled=chance.random() < 0.5,
            is_custom=chance.random() < 0.5, is_removed=chance.random() < 0.2,
        )
        for id_ in some(ids)
    ]  # fmt: skip
    about_models = [
        ModelRow(
            key=key_of(provider, id_), provider_id=provider, model_id=id_, is_custom=chance.random() < 0.5,
            display_name=chance.choice([None, "Own"]), pricing_input=chance.choice([None, 0, 7]),
            capabilities=chance.choice([None, [], ["code"]]), is_enabled=chance.random() < 0.5,
        )
        for provider in some([*ids, server.id])
        for id_ in some([*CHANCE_MODELS, "own"])
    ]  # fmt: skip
    keys = some([*ids, "unknown"])
    return Catalogue(providers), OwnRows(about_models, about_providers, keys, [local] if chance.random() < 0.7 else [])


def reference(catalogue: Catalogue, own: OwnRows) -> list[tuple[Any, ...]]:
    """The merged view as plainly as it can be said: (provider, its name, enabled, source, models) in order."""
    rows = {row.provider_id: row for row in own.providers}
    sources: list[tuple[str, str, str, bool, Sequence[tuple[str, str, float | None, Sequence[str], bool]]]] = []
    for each in catalogue.providers.values():
        models = [(m.id, m.name, m.input_price, [*m.capabilities], True) for m in each.models]
        sources.append((each.id, "builtin", each.name, True, models))
    for id_, aggregator in AGGREGATORS.items():
        like = catalogue.providers.get(aggregator.like or "")
        models = [(m.id, m.name, m.input_price, [*m.capabilities], True) for m in (like.models if like else ())]
        models += [(id_, id_.split("/")[-1], None, ["image_generation"], True) for id_ in aggregator.images]
        sources.append((id_, "aggregator", aggregator.name, False, models))
    sources += [(row.provider_id, "custom", row.provider_id, True, []) for row in own.providers if row.is_custom]
    for server in own.local:
        models = [(m.model_id, m.display_name, 0, [*m.capabilities], m.is_enabled) for m in server.models]
        sources.append((server.provider.id, "local", server.provider.name, server.provider.is_enabled, models))
    found: list[tuple[Any, ...]] = []
    seen: set[str] = set()
    for id_, source, name, is_enabled, models in sources:
        row = rows.get(id_)
        if id_ in seen or (source == "builtin" and row and row.is_removed):
            seen.add(id_)
            continue
        seen.add(id_)
        configured = is_enabled if source == "local" else id_ in own.keys
        about = {row.model_id: row for row in own.models if row.provider_id == id_}
        shown: list[tuple[Any, ...]] = []
        for model_id, label, price, can, on in models:
            mine = about.pop(model_id, None)
            if mine:
                label, price = mine.display_name or label, price if mine.pricing_input is None else mine.pricing_input
                can = can if mine.capabilities is None else [*mine.capabilities]
                on = on if source == "local" else mine.is_enabled
            shown.append((model_id, label, price, can, on, mine is not None, source, configured))
        for model_id, mine in about.items():
            if mine.is_custom:
                can = ["chat", "streaming"] if mine.capabilities is None else [*mine.capabilities]
                label = mine.display_name or model_id
                shown.append((model_id, label, mine.pricing_input, can, mine.is_enabled, False, "custom", configured))
        found.append((
            not configured, ((row and row.display_name) or name).casefold(), id_, source,
            row.is_enabled if row else is_enabled, shown,
        ))  # fmt: skip
    return sorted(found, key=lambda each: each[:3])


class TestMerge:
    @pytest.mark.parametrize("seed", range(4))
    def test_it_is_what_the_plain_rules_say(self, seed: int):
        chance = random.Random(seed)
        for _ in range(150):
            catalogue, own = generated(chance)
            view = merged(catalogue, own)
            found = [
                (
                    not each.is_configured, each.name.casefold(), id_, each.source, each.is_enabled,
                    [(m["modelId"], m["displayName"], m.get("pricingInput"), m["capabilities"], m["isEnabled"],
                      m["hasOverride"], m["source"], m["isConfigured"]) for m in each.models.values()],
                )
                for id_, each in view.providers.items()
            ]  # fmt: skip
            assert found == reference(catalogue, own)
            assert all(m["providerName"] == each.name for each in view.providers.values() for m in each.models.values())

    def test_what_one_person_changes_no_other_sees(self):
        catalogue = Catalogue.unpack(SNAPSHOT.read_bytes())
        row = ModelRow(key="", provider_id="openai", model_id="gpt-4o", display_name="Mine", pricing_input=99)
        mine = merged(catalogue, OwnRows(models=[row], keys=["openai"]))
        other = merged(catalogue, OwnRows(keys=["openai"]))
        assert (mine.model("openai", "gpt-4o") or {})["displayName"] == "Mine"
        assert b"Mine" in mine.providers["openai"].encoded and b"Mine" not in other.providers["openai"].encoded


SYNC = "/model-configs/sync"


@pytest.fixture
async def models_dev(stack: Environment) -> AsyncIterator[Any]:
    """Sets what models.dev answers in this test."""
    url = f"http://127.0.0.1:{stack.ports['providers']}/local/answers"
    async with httpx.AsyncClient(trust_env=False) as client:

        async def answer(found: Any = None, **answer: Any) -> None:
            text = {"text": orjson.dumps(found).decode()} if found is not None else {}
            set_ = await client.put(url, json={"/api.json": {**text, **answer}})
            assert set_.status_code == 204, set_.text

        yield answer
        assert (await client.put(url, json={})).status_code == 204


async def has(me: OwnPilot, *providers: str) -> list[bool]:
    """Whether the catalogue has these providers."""
    known = {each["id"] for each in (await me.get("/providers"))["providers"]}
    return [each in known for each in providers]


class TestSync:
    async def test_it_compares_and_then_brings_what_is_new(self, me: OwnPilot, models_dev: Any):
        await models_dev(document(sync1={}, sync2={}))
        compared = (await me.send("POST", SYNC)).json()
        assert compared["data"]["stats"] == compared["stats"]
        assert compared["stats"] == {"providers": 2, "totalModels": 2, "newModels": 2, "updatedPricing": 0}
        assert compared["message"] == compared["data"]["message"]
        assert await has(me, "sync1") == [False]
        applied = (await me.send("POST", f"{SYNC}/apply")).json()
        assert applied["stats"] == applied["data"]["stats"] == {
            "providers": 2, "failed": 0, "total": 2, "syncedProviders": ["sync1", "sync2"], "failedProviders": [],
        }  # fmt: skip
        assert await has(me, "sync1", "sync2", "openai") == [True, True, True]
        dearer = {"one": {**MODEL, "cost": {"input": 2, "output": 6}}, "two": MODEL}
        await models_dev(document(sync1={"models": dearer}, sync2={}))
        stats = (await me.data("POST", SYNC))["stats"]
        assert stats == {"providers": 2, "totalModels": 3, "newModels": 1, "updatedPricing": 1}
        await me.data("POST", f"{SYNC}/apply")
        assert (await me.get("/model-configs/sync1/one"))["pricingInput"] == 2

    async def test_chosen_providers_are_synced_alone(self, me: OwnPilot, models_dev: Any):
        await models_dev({**document(only1={}, only2={}), "broken": 1})
        offered = await me.get("/models/sync/providers")
        assert (offered["total"], offered["source"]) == (2, "models.dev")
        assert offered["providers"][0] == {"id": "only1", "name": "Acme", "modelCount": 1}
        done = await me.post("/models/sync", providers=["only1", "nobody", "broken"])
        assert (done["synced"], done["failed"], done["notFound"], done["total"]) == (
            ["only1"],
            ["broken"],
            ["nobody"],
            1,
        )
        assert await has(me, "only1", "only2") == [True, False]
        assert (await me.post("/models/sync"))["synced"] == ["only1", "only2"]

    async def test_a_reset_drops_what_is_gone_and_what_the_person_has_changed(self, me: OwnPilot, models_dev: Any):
        await models_dev(document(gone1={}, stays1={}))
        await me.data("POST", f"{SYNC}/apply")
        await me.post("/model-configs", providerId="openai", modelId="mine")
        await me.data("PUT", "/providers/openai/config", json={"notes": "n"})
        other = OwnPilot(me.http)
        await other.post("/model-configs", providerId="openai", modelId="mine")
        await models_dev(document(stays1={}))
        reset = (await me.send("POST", f"{SYNC}/reset")).json()
        stats = reset["stats"]
        assert "gone1" in stats["deletedFilesList"] and "stays1" not in stats["deletedFilesList"]
        assert stats["deletedFiles"] == len(stats["deletedFilesList"])
        assert stats["database"] == {"modelConfigs": 1, "providerConfigs": 1}
        assert (stats["synced"], stats["syncedProviders"], stats["failed"]) == (1, ["stays1"], 0)
        assert await has(me, "gone1", "stays1", "openai", "anthropic") == [False, True, True, True]
        refused(await me.send("GET", "/model-configs/openai/mine"), 404)
        assert (await me.get("/providers/openai"))["hasOverride"] is False
        assert (await other.get("/model-configs/openai/mine"))["isCustom"] is True

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [({"text": "garbage"}, "not JSON"), ({"text": "{}"}, "no provider"), ({"text": "[1]"}, "no JSON object"),
         ({"text": orjson.dumps(document(half={})).decode()[:200]}, "not JSON"), ({"status": 503}, "status 503"),
         ({"size": 200_000_000}, "longer than the limit"),
         ({"status": 302, "headers": {"Location": "http://169.254.169.254/metadata"}}, "not public")],
        ids=["garbage", "nothing", "a list", "half a file", "503", "200 MB", "a redirect to the machine's metadata"],
    )  # fmt: skip
    async def test_without_a_usable_answer_all_stays_as_it_is(
        self, me: OwnPilot, models_dev: Any, answer: dict[str, Any], reason: str
    ):
        await models_dev(**answer)
        await me.post("/model-configs", providerId="openai", modelId="mine")
        known = (await me.get("/providers"))["total"]
        for method, path in (
            ("POST", SYNC), ("POST", f"{SYNC}/apply"), ("POST", f"{SYNC}/reset"), ("POST", "/models/sync"),
            ("GET", "/models/sync/providers"), ("DELETE", f"{SYNC}/provider/openai?resync=true"),
        ):  # fmt: skip
            assert reason in refused(await me.send(method, path), 502, "FETCH_ERROR")
        assert (await me.get("/providers"))["total"] == known
        assert (await me.get("/model-configs/openai/mine"))["isCustom"] is True

    async def test_of_two_at_once_one_is_told_to_wait(self, me: OwnPilot, models_dev: Any):
        await models_dev(document(twice={}))
        answers = await asyncio.gather(*(me.send("POST", f"{SYNC}/apply") for _ in range(6)))
        statuses = {answer.status_code for answer in answers}
        assert statuses <= {200, 409} and 200 in statuses
        for answer in answers:
            if answer.status_code == 409:
                refused(answer, 409, "SYNC_IN_PROGRESS")
        assert (await me.send("POST", f"{SYNC}/apply")).status_code == 200

    @pytest.mark.usefixtures("app")
    async def test_when_storage_fails_the_old_catalogue_counts_and_the_next_sync_may_run(
        self, me: OwnPilot, models_dev: Any, monkeypatch: pytest.MonkeyPatch
    ):
        await models_dev(document(unwritten={}))
        held = await stored.current(fresh=True)

        async def fail(*_: Any) -> None:
            raise StorageUnavailable("no answer")

        with monkeypatch.context() as patch:
            patch.setattr(stored.blobs, "put", fail)
            with pytest.raises(StorageUnavailable):
                await sync.apply(me.user)
        assert "unwritten" not in (await stored.current()).providers and await stored.current() is held
        await me.data("POST", f"{SYNC}/apply")
        assert await has(me, "unwritten") == [True]

    @pytest.mark.usefixtures("app")
    @pytest.mark.parametrize("moment", ["before", "after"])
    async def test_one_that_is_killed_leaves_the_old_catalogue_or_the_new_one(
        self, me: OwnPilot, models_dev: Any, stack: Environment, moment: str
    ):
        name = f"killed-{moment}"
        await models_dev(document(**{name: {}}))
        code = f"""
import asyncio, os
from functions.ownpilot.core.catalogue import stored, sync
from shared.storage import connect
write = stored.replace
async def killed(catalogue):
    if {moment == "after"}:
        await write(catalogue)
    os._exit(9)
stored.replace = killed
connect()
asyncio.run(sync.apply("someone"))
"""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, cwd=ROOT, env={**os.environ, **stack.app_settings}
        )
        assert await process.wait() == 9
        refused(await me.send("POST", f"{SYNC}/apply"), 409, "SYNC_IN_PROGRESS")
        claim = await claims.find("name", "catalogue")
        await claims.update(claim.id, lambda it: setattr(it, "until", datetime.now(UTC)))
        stored.forget()
        assert (name in (await stored.current()).providers) is (moment == "after")
        await me.data("POST", f"{SYNC}/apply")
        assert await has(me, name, "openai") == [True, True]

    @pytest.mark.usefixtures("app")
    async def test_a_sync_keeps_what_another_instance_has_just_synced(self, me: OwnPilot, models_dev: Any):
        await stored.current()
        await models_dev(document(first={}, second={}))
        await me.post("/models/sync", providers=["first"])
        await sync.apply(me.user, ["second"])
        stored.forget()
        assert {"first", "second"} <= (await stored.current()).providers.keys()

    @pytest.mark.usefixtures("app")
    async def test_another_instance_sees_the_new_one_within_a_minute(
        self, me: OwnPilot, models_dev: Any, monkeypatch: pytest.MonkeyPatch
    ):
        stored.forget()
        held = await stored.current(fresh=True)
        await models_dev(document(seen={}))
        await me.data("POST", f"{SYNC}/apply")
        assert await stored.current() is held
        pass_by(60, monkeypatch)
        found = await stored.current()
        assert "seen" in found.providers and found is not held
        pass_by(60, monkeypatch)
        assert await stored.current() is found, "an unchanged blob is not read again"


def pass_by(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this time pass for what this process, as another instance, has just looked up."""
    before = recent.time.monotonic
    monkeypatch.setattr(recent, "time", SimpleNamespace(monotonic=lambda: before() + seconds))


@pytest.mark.usefixtures("app")
async def test_another_instance_sees_keys_and_changes_within_five_seconds(
    me: OwnPilot, monkeypatch: pytest.MonkeyPatch
):
    before = await view_of(me.user)
    assert not before.providers["openai"].is_configured
    await me.post("/settings/api-keys", provider="openai", apiKey="sk-some-key")
    await me.data("PATCH", "/providers/groq/toggle", json={"enabled": False})
    await me.post("/model-configs", providerId="openai", modelId="mine")
    pass_by(5, monkeypatch)
    after = await view_of(me.user)
    assert after.providers["openai"].is_configured and not after.providers["groq"].is_enabled
    assert after.model("openai", "mine")
    await me.data("DELETE", "/settings/api-keys/openai")
    pass_by(5, monkeypatch)
    assert not (await view_of(me.user)).providers["openai"].is_configured


@pytest.mark.usefixtures("app")
async def test_what_another_instance_has_just_made_is_found_at_once(me: OwnPilot):
    await view_of(me.user)
    await me.post("/model-configs/providers", providerId="mine", displayName="Mine")
    assert (await provider_of(me.user, "mine")).name == "Mine"
    await me.post("/model-configs", providerId="mine", modelId="m")
    assert (await model_of(me.user, "mine", "m"))[1]["isCustom"]


class TestRemoval:
    async def test_a_provider_is_hidden_from_one_person_until_the_next_sync(self, me: OwnPilot, models_dev: Any):
        await models_dev(document(hidden={}))
        await me.data("POST", f"{SYNC}/apply")
        await me.post("/model-configs", providerId="hidden", modelId="mine")
        assert await me.data("DELETE", f"{SYNC}/provider/hidden") == {
            "providerId": "hidden", "deleted": True, "resynced": False, "syncResult": None,
        }  # fmt: skip
        assert await has(me, "hidden") == [False] and await has(OwnPilot(me.http), "hidden") == [True]
        for path in ("/providers/hidden", "/models/hidden", "/model-configs/hidden", "/model-configs/hidden/mine"):
            refused(await me.send("GET", path), 404)
        refused(await me.send("DELETE", f"{SYNC}/provider/hidden"), 404)
        await me.data("POST", f"{SYNC}/apply")
        assert [each["modelId"] for each in await me.get("/model-configs/hidden")] == ["one"]

    async def test_with_resync_it_is_back_at_once(self, me: OwnPilot, models_dev: Any):
        await models_dev(document(back={}))
        await me.data("POST", f"{SYNC}/apply")
        await models_dev(document(back={"name": "Back again"}))
        done = await me.data("DELETE", f"{SYNC}/provider/back?resync=true")
        assert done == {
            "providerId": "back", "deleted": True, "resynced": True,
            "syncResult": {"synced": ["back"], "failed": [], "notFound": []},
        }  # fmt: skip
        assert (await me.get("/providers/back"))["name"] == "Back again"
        await models_dev(document(another={}))
        done = await me.data("DELETE", f"{SYNC}/provider/back?resync=true")
        assert (done["resynced"], done["syncResult"]["notFound"]) == (False, ["back"])
        assert await has(me, "back") == [False]

    async def test_only_the_catalogues_own(self, me: OwnPilot):
        await me.post("/model-configs/providers", providerId="mine", displayName="Mine")
        for id_ in ("mine", "fal", "nobody"):
            refused(await me.send("DELETE", f"{SYNC}/provider/{id_}"), 404, "PROVIDER_NOT_FOUND")


async def test_data_beside_the_envelope_is_there_for_model_configs_only(me: OwnPilot):
    answer = await me.send("GET", "/providers/categories")
    assert set(answer.json()) == {"success", "data", "meta"}
    assert data_of(answer)["categories"]["Popular"][0] == "openai"
