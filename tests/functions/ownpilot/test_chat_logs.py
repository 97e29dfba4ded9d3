"""The log of requests to models: what is kept, listed, added up, deleted."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from functions.ownpilot.chat.logs import ChatLog, clear_chat_logs, logs
from functions.ownpilot.core.owner import Person
from infra.local.environment import Environment
from tests.support.ownpilot import MODEL, OwnPilot, chatting, refused
from tests.support.records import Counting

pytestmark = pytest.mark.usefixtures("app")


def line(me: OwnPilot, days: int = 0, **members: object) -> ChatLog:
    """A line of some days ago."""
    at = datetime.now(UTC) - timedelta(days=days)
    return ChatLog.model_validate({
        "user_id": me.user, "created_at": at, "day": at.date().isoformat(), "provider": "openai", "duration_ms": 100,
        "input_tokens": 10, "output_tokens": 1, **members,
    })  # fmt: skip


async def fill(me: OwnPilot) -> list[str]:
    """Five lines, the newest first."""
    lines = [
        line(me), line(me, failed=True, status_code=500, error="no", conversation_id="c"),
        line(me, 2, provider="anthropic", duration_ms=400), line(me, 10, type="embedding"), line(me, 40),
    ]  # fmt: skip
    for each in reversed(lines):
        await logs.of(me.user).insert(each)
    return [each.id for each in sorted(lines, key=lambda each: each.id, reverse=True)]


async def test_a_message_leaves_one_line_with_all_of_it(http: httpx.AsyncClient, stack: Environment):
    me = await chatting(http, stack.ports["providers"])
    answer = await me.data("POST", "/chat", json=me.body("hello"), headers={"User-Agent": "tests"})
    [row] = (await me.get("/chat/logs"))["logs"]
    assert (row["type"], row["conversationId"], row["statusCode"]) == ("chat", answer["conversationId"], 200)
    assert row["totalTokens"] == answer["usage"]["totalTokens"] == row["inputTokens"] + row["outputTokens"]
    found = await me.get(f"/chat/logs/{row['id']}")
    assert row.items() <= found.items()
    assert (found["userId"], found["provider"], found["model"]) == (me.user, me.provider, MODEL)
    assert (found["endpoint"], found["method"], found["userAgent"]) == ("/ownpilot/api/v1/chat", "POST", "tests")
    assert found["requestBody"]["message"] == "hello" and found["responseBody"]["content"] == "You said: hello"
    assert found["ipAddress"] and found["error"] is None
    refused(await OwnPilot(http).send("GET", f"/chat/logs/{row['id']}"), 404, "NOT_FOUND")


async def test_filters_pages_and_totals(me: OwnPilot):
    ids = await fill(me)
    page = await me.get("/chat/logs", limit=2, offset=1)
    assert ([each["id"] for each in page["logs"]], page["total"], page["limit"], page["offset"]) == (ids[1:3], 5, 2, 1)
    for query, total in (
        ({"errors": "true"}, 1), ({"errors": "false"}, 4), ({"type": "embedding"}, 1), ({"conversationId": "c"}, 1),
        ({"type": "chat", "errors": "false"}, 3), ({"conversationId": "c", "errors": "false"}, 0),
    ):  # fmt: skip
        assert (await me.get("/chat/logs", **query))["total"] == total, query
    refused(await me.send("GET", "/chat/logs", params={"type": "nothing"}), 400, "INVALID_REQUEST")


async def test_stats_add_up_the_last_days(me: OwnPilot):
    await fill(me)
    assert await me.get("/chat/logs/stats") == {
        "totalRequests": 3, "errorCount": 1, "successCount": 2, "avgDurationMs": 200, "totalInputTokens": 30,
        "totalOutputTokens": 3, "byProvider": {"openai": 2, "anthropic": 1}, "byType": {"chat": 3},
    }  # fmt: skip
    found = await me.get("/chat/logs/stats", days=30)
    assert (found["totalRequests"], found["byType"]) == (4, {"chat": 3, "embedding": 1})
    assert (await OwnPilot(me.http).get("/chat/logs/stats"))["avgDurationMs"] == 0
    refused(await me.send("GET", "/chat/logs/stats", params={"days": 0}), 400, "INVALID_REQUEST")


async def test_old_lines_are_deleted_or_all(me: OwnPilot):
    await fill(me)
    assert await me.data("DELETE", "/chat/logs") == {"deleted": 1, "mode": "older than 30 days"}
    assert (await me.data("DELETE", "/chat/logs", params={"olderThanDays": 5}))["deleted"] == 1
    assert await me.data("DELETE", "/chat/logs", params={"all": "true"}) == {"deleted": 3, "mode": "all"}
    assert (await me.get("/chat/logs"))["total"] == 0
    assert (await me.get("/chat/logs/stats", days=30))["totalRequests"] == 0


async def test_old_lines_are_deleted_many_in_a_transaction(me: OwnPilot, counting: Counting):
    await asyncio.gather(*(logs.of(me.user).insert(line(me, 40)) for _ in range(15)))
    counting.reset()
    cleared = await clear_chat_logs(Person(me.user), all_=False, older=30)
    assert cleared.deleted == 15 and counting.calls["batch"] < 10
