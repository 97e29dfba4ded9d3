"""The debug log: what is kept, shown, cut, switched off and purged."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from functions.ownpilot.core.debug_log import DebugEntry, DebugType, entries, purge_debug_log, record_debug
from shared.workflows import WorkflowClient
from tests.support.ownpilot import OwnPilot, refused
from tests.support.values import SECRET

pytestmark = pytest.mark.usefixtures("app")


async def test_entries_are_shown_newest_first_and_counted_by_type(me: OwnPilot):
    for kind in (DebugType.REQUEST, DebugType.RESPONSE, DebugType.REQUEST, DebugType.ERROR):
        await record_debug(me.user, kind, {"n": 1}, provider="openai", model="gpt-4o", duration=1.5)
    log = await me.get("/debug")
    assert [entry["type"] for entry in log["entries"]] == ["error", "request", "response", "request"]
    assert log["entries"][0] | {"timestamp": ""} == {
        "type": "error", "timestamp": "", "provider": "openai", "model": "gpt-4o", "duration": 1.5, "data": {"n": 1},
    }  # fmt: skip
    assert log["summary"] == {
        "totalEntries": 4, "requestCount": 2, "errorCount": 1, "requests": 2, "responses": 1, "toolCalls": 0,
        "errors": 1, "retries": 0, "sandboxExecutions": 0,
    }  # fmt: skip
    recent = await me.get("/debug/recent", count=2)
    assert (recent["count"], len(recent["entries"])) == (2, 2)
    assert (await me.get("/debug", count=100_000))["summary"]["totalEntries"] == 4
    refused(await me.send("GET", "/debug", params={"count": 0}), 400, "INVALID_REQUEST")
    assert (await OwnPilot(me.http).get("/debug"))["summary"]["totalEntries"] == 0


async def test_no_secret_and_no_long_text_is_kept(me: OwnPilot):
    data: dict[str, Any] = {"apiKey": "k", "prompt": f"my key {SECRET} " + "x" * 500, "parts": ["y" * 500]}
    await record_debug(me.user, DebugType.REQUEST, data)
    answer = await me.send("GET", "/debug")
    kept = answer.json()["data"]["entries"][0]["data"]
    assert SECRET not in answer.text and kept["apiKey"] == "[REDACTED]"
    assert (len(kept["prompt"]), len(kept["parts"][0])) == (103, 103)


async def test_while_it_is_off_nothing_is_written(me: OwnPilot):
    assert (await me.data("POST", "/debug/toggle"))["enabled"] is False
    await record_debug(me.user, DebugType.REQUEST, {})
    log = await me.get("/debug")
    assert (log["enabled"], log["entries"]) == (False, [])
    assert (await me.post("/debug/toggle", enabled=False))["enabled"] is False
    assert (await me.data("POST", "/debug/toggle"))["enabled"] is True
    refused(await me.send("POST", "/debug/toggle", json={"enabled": "perhaps"}), 400, "INVALID_REQUEST")


async def test_it_is_cleared(me: OwnPilot):
    await record_debug(me.user, DebugType.REQUEST, {})
    assert (await me.data("DELETE", "/debug"))["message"] == "1 debug entries deleted"
    assert (await me.get("/debug"))["summary"]["totalEntries"] == 0


async def test_entries_older_than_a_day_are_purged(me: OwnPilot):
    old = datetime.now(UTC) - timedelta(days=1, minutes=1)
    await entries.insert(DebugEntry(user_id=me.user, created_at=old, type=DebugType.REQUEST))
    await record_debug(me.user, DebugType.RESPONSE, {})
    await purge_debug_log(cast("WorkflowClient", None))
    assert [entry["type"] for entry in (await me.get("/debug"))["entries"]] == ["response"]
