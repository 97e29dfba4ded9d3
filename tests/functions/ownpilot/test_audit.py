"""The audit log: filters, totals, the chain of checksums, clearing."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.ownpilot.audit import MAX_VALUES, clear_audit_events
from functions.ownpilot.config_services.bodies import NewService
from functions.ownpilot.core import settings_store
from functions.ownpilot.core.audit_log import (
    AuditEvent,
    AuditOutcome,
    Severity,
    Subject,
    checksum_of,
    events,
    record_event,
    redacted,
)
from functions.ownpilot.core.entry import iso
from functions.ownpilot.core.owner import Person
from functions.ownpilot.settings.api_keys import ProviderKey, add_api_key
from shared import tables
from shared.tables.client import client
from tests.support.failing import Failing, Killed
from tests.support.ownpilot import OwnPilot, refused
from tests.support.records import Counting

TOOL, AGENT = Subject("tool", "calculate", "Calculate"), Subject("agent", "agent_1")


async def fill(owner: str) -> list[AuditEvent]:
    """Events of several kinds, one after the other."""
    return [
        await record_event(owner, "tool.success", TOOL, actor=AGENT, correlation_id="c1"),
        await record_event(owner, "tool.error", TOOL, severity=Severity.ERROR, outcome=AuditOutcome.FAILURE),
        await record_event(owner, "tool.success", Subject("tool", "uuid"), severity=Severity.DEBUG, actor=AGENT),
        await record_event(owner, "system.error", Subject("session", "s"), severity=Severity.CRITICAL),
    ]


def broken_links(found: list[AuditEvent]) -> list[str]:
    """The events whose checksum is wrong, or whose previous event is missing."""
    known = {event.checksum for event in found} | {""}
    return [e.id for e in found if checksum_of(e) != e.checksum or e.previous_checksum not in known]


@pytest.mark.usefixtures("app")
class TestList:
    async def test_filters_combine_and_totals_are_those_of_the_filter(self, me: OwnPilot):
        await fill(me.user)

        async def types(**query: Any) -> list[str]:
            found = await me.get("/audit", **query)
            assert found["count"] == len(found["events"])
            return [event["type"] for event in found["events"]]

        assert await types() == ["system.error", "tool.success", "tool.error", "tool.success"]
        assert await types(order="asc", limit=2) == ["tool.success", "tool.error"]
        assert await types(types="tool.error, system.error") == ["system.error", "tool.error"]
        assert await types(minSeverity="error") == ["system.error", "tool.error"]
        assert await types(minSeverity="info") == ["system.error", "tool.error", "tool.success"]
        assert await types(outcome="failure") == ["tool.error"]
        assert await types(actorType="agent") == ["tool.success", "tool.success"]
        assert await types(actorId="agent_1", resourceId="uuid", resourceType="tool") == ["tool.success"]
        assert await types(correlationId="c1", minSeverity="error") == []
        page = await me.get("/audit", types="tool.success,tool.error", limit=1, offset=1)
        assert (page["count"], page["total"], page["events"][0]["type"]) == (1, 3, "tool.error")

    async def test_a_type_that_is_named_twice_counts_once(self, me: OwnPilot):
        await fill(me.user)
        page = await me.get("/audit", types="tool.error,tool.error", limit=1)
        assert (len(page["events"]), page["total"]) == (1, 1)
        assert (await me.get("/audit", types="tool.error,tool.error"))["count"] == 1

    async def test_the_filters_look_for_so_many_values_together(self, me: OwnPilot):
        many = ",".join(map(str, range(MAX_VALUES)))
        assert (await me.get("/audit", types=many))["total"] == 0
        refused(await me.send("GET", "/audit", params={"types": many, "actorId": "a"}), 400, "INVALID_REQUEST")

    async def test_from_and_to_are_a_range(self, me: OwnPilot):
        first, *_, last = await fill(me.user)
        found = await me.get(
            "/audit", **{"from": iso(first.created_at), "to": iso(last.created_at), "outcome": "success"}
        )
        assert [event["type"] for event in found["events"]][-1] == "tool.success" and found["total"] == 2
        assert (await me.get("/audit", to=iso(first.created_at)))["total"] == 0
        refused(await me.send("GET", "/audit", params={"from": "yesterday"}), 400, "INVALID_REQUEST")
        refused(await me.send("GET", "/audit", params={"minSeverity": "bad"}), 400, "INVALID_REQUEST")

    async def test_filters_that_are_empty_are_absent(self, me: OwnPilot):
        await fill(me.user)
        names = ["types", "actorId", "actorType", "resourceId", "resourceType", "minSeverity", "outcome", "from", "to"]
        assert (await me.get("/audit", **dict.fromkeys([*names, "correlationId"], "")))["total"] == 4
        refused(await me.send("DELETE", "/audit", params={"before": ""}), 400, "INVALID_REQUEST")

    async def test_an_event_shows_who_did_what(self, me: OwnPilot):
        await record_event(me.user, "tool.success", TOOL, actor=AGENT, details={"durationMs": 5, "apiKey": "k"})
        [event] = (await me.get("/audit"))["events"]
        assert event["actor"] == {"type": "agent", "id": "agent_1"}
        assert event["resource"] == {"type": "tool", "id": "calculate", "name": "Calculate"}
        assert event["details"] == event["metadata"] == {"durationMs": 5, "apiKey": "[REDACTED]"}
        assert event["id"].startswith("evt_") and event["previousChecksum"] == ""

    async def test_a_change_of_a_setting_is_logged_with_the_request_that_made_it(self, me: OwnPilot):
        headers = {"X-Request-ID": "request-7"}
        await me.data("POST", "/settings/theme", json={"value": "secret-text"}, headers=headers)
        found = await me.send("GET", "/audit", params={"correlationId": "request-7"})
        [event] = found.json()["data"]["events"]
        assert (event["type"], event["resource"]["id"]) == ("config.change", "theme")
        assert "secret-text" not in found.text


@pytest.mark.usefixtures("app")
class TestChain:
    async def test_every_event_is_linked_also_when_many_are_written_at_once(self, me: OwnPilot):
        await asyncio.gather(*(record_event(me.user, "tool.success", TOOL) for _ in range(30)))
        found = (await events.of(me.user).page(limit=100)).items
        assert broken_links(found) == []
        assert sum(event.previous_checksum == "" for event in found) == 1

    async def test_a_changed_event_is_found_out(self, me: OwnPilot):
        found = await fill(me.user)
        changed = await events.of(me.user).update(found[1].id, lambda it: setattr(it, "outcome", AuditOutcome.SUCCESS))
        assert checksum_of(changed) != changed.checksum

    async def test_clearing_begins_a_new_chain_and_is_logged(self, me: OwnPilot):
        await fill(me.user)
        assert (await me.data("DELETE", "/audit"))["deleted"] == 4
        [event] = (await me.get("/audit"))["events"]
        assert (event["type"], event["details"], event["previousChecksum"]) == ("audit.clear", {"deleted": 4}, "")
        assert await me.get("/audit/stats") == {"eventCount": 1, "lastChecksum": event["checksum"]}

    async def test_what_is_older_than_a_time_is_deleted(self, me: OwnPilot):
        found = await fill(me.user)
        answer = await me.data("DELETE", "/audit", params={"before": iso(found[2].created_at)})
        assert answer["deleted"] == 2
        assert (await me.get("/audit", types="tool.error"))["total"] == 0
        later = iso(datetime.now(UTC) - timedelta(days=1))
        assert (await me.data("DELETE", "/audit", params={"before": later}))["deleted"] == 0
        refused(await me.send("DELETE", "/audit", params={"before": "x"}), 400, "INVALID_REQUEST")
        assert (await me.get("/audit/stats"))["eventCount"] == 4


class TestRedaction:
    def test_values_under_names_of_secrets_are_masked_at_any_depth(self):
        given = {"a": [{"Authorization": "x", "api_key": 1, "ok": "y"}], "userPassword": ["z"], "token-id": None}
        assert redacted(given) == {
            "a": [{"Authorization": "[REDACTED]", "api_key": "[REDACTED]", "ok": "y"}],
            "userPassword": "[REDACTED]", "token-id": "[REDACTED]",
        }  # fmt: skip

    def test_long_texts_and_lists_are_cut(self):
        cut = redacted({"text": "x" * 5000, "list": [*range(50)]})
        assert len(cut["text"]) == 1003 and cut["list"] == [*range(10), "... 40 more"]
        deep: Any = "end"
        for _ in range(50):
            deep = [deep]
        assert str(redacted(deep)).count("[") < 10


@pytest.mark.usefixtures("account")
class TestFailures:
    @pytest.mark.parametrize(
        ("table", "error", "landed"),
        [(settings_store.stored_settings.table, Killed(), True),
         (events.table, tables.StorageUnavailable("no answer"), False)],
    )  # fmt: skip
    async def test_a_change_whose_event_was_not_written_is_whole_and_its_repeat_is_logged(
        self, table: str, error: BaseException, landed: bool
    ):
        me, body = Person(f"failing {type(error).__name__}"), ProviderKey(provider="openai", api_key="k")
        await record_event(me.id, "tool.success", TOOL)
        await settings_store.write(me.id, "theme", "dark")  # so that the tables exist
        wire = client().wire
        inner, wire.transport = wire.transport, Failing(wire.transport, table, error, landed=landed)
        with pytest.raises(type(error)):
            await add_api_key(body, me)
        assert wire.transport.done
        wire.transport = inner
        assert await settings_store.api_key_of(me.id, "openai") == "k"
        await add_api_key(body, me)
        page = await events.of(me.id).page(limit=10)
        assert [event.type for event in page.items] == ["config.change", "tool.success"]
        assert (page.total, broken_links(page.items)) == (2, [])

    async def test_a_change_that_failed_is_not_logged(self):
        me = Person("failing settings")
        error = tables.StorageUnavailable("no answer")
        wire = client().wire
        inner, wire.transport = wire.transport, Failing(wire.transport, settings_store.stored_settings.table, error)
        with pytest.raises(tables.StorageUnavailable):
            await add_api_key(ProviderKey(provider="openai", api_key="k"), me)
        wire.transport = inner
        assert await events.of(me.id).count() == 0

    async def test_old_events_are_deleted_many_in_a_transaction(self, counting: Counting):
        await asyncio.gather(*(record_event("old", "tool.success", TOOL) for _ in range(60)))
        counting.reset()
        cleared = await clear_audit_events(Person("old"), datetime.now(UTC) + timedelta(seconds=1))
        assert cleared.deleted == 60 and counting.calls["batch"] <= 12, counting.calls

    async def test_a_page_and_its_total_cost_two_calls_and_an_event_one(self, counting: Counting):
        for _ in range(40):
            await record_event("costs", "tool.success", TOOL)
        counting.reset()
        await record_event("costs", "tool.success", TOOL)
        assert counting.calls == {"batch": 1}
        counting.reset()
        page = await events.of("costs").page({"type": "tool.success"}, limit=10)
        assert (page.total, counting.calls) == (41, {"query": 2})


def test_the_names_of_bodies_are_those_of_the_document():
    assert {field.alias for field in NewService.model_fields.values()} >= {"displayName", "configSchema", "docsUrl"}
