"""The log of requests to models as clients read it, and how it is written."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import AfterValidator, Field

from functions.ownpilot.core.entry import Entry, Moment, Shown
from functions.ownpilot.core.owner import Owner, routes_for
from functions.ownpilot.core.usage import MOST
from shared import tables
from shared.http.paging import Paging, given, paging
from shared.tables import Collection

routes = routes_for("chat")

LogType = Literal["chat", "completion", "embedding", "tool", "agent", "other"]
MOST_DAYS = 366
AT_ONCE = 20  # lines that are deleted side by side, in one transaction where they meet

Tokens = Annotated[int, AfterValidator(lambda n: max(0, min(n, MOST)))]


class ChatLog(Entry):
    """One request: `duration_ms` is in milliseconds, `day` the day of `created_at` in UTC."""

    day: str
    type: LogType = "chat"
    conversation_id: str | None = None
    provider: str | None = None
    model: str | None = None
    endpoint: str | None = None
    method: str = "POST"
    status_code: int = 200
    failed: bool = False
    input_tokens: Tokens = 0
    output_tokens: Tokens = 0
    total_tokens: Tokens = 0
    duration_ms: int = 0
    error: str | None = None
    error_stack: str | None = None
    ip_address: str | None = None
    user_agent: str | None = None
    request_body: dict[str, Any] | None = None
    response_body: dict[str, Any] | None = None


_WHOLE_ONLY = {"id", "request_body", "response_body", "error_stack"}

logs = Collection(
    "OwnpilotChatLogs",
    ChatLog,
    indexes=["conversation_id", "type", "failed"],
    counters=["type", "failed"],
    sums=["input_tokens", "output_tokens", "duration_ms"],
    sums_by=[("day", "provider", "type", "failed")],
    view=[name for name in ChatLog.model_fields if name not in _WHOLE_ONLY],
)


class ChatLogSummary(Shown):
    """One line of the log."""

    id: str
    type: str
    conversation_id: str | None
    provider: str | None
    model: str | None
    status_code: int
    input_tokens: int
    output_tokens: int
    total_tokens: int
    duration_ms: int
    error: str | None
    created_at: Moment


class ChatLogShown(ChatLogSummary):
    """One request with what was asked and answered."""

    user_id: str
    endpoint: str | None
    method: str
    request_body: dict[str, Any] | None
    response_body: dict[str, Any] | None
    error_stack: str | None
    ip_address: str | None
    user_agent: str | None


class ChatLogs(Shown):
    """Part of the log; `total` is the number of all lines that match."""

    logs: list[ChatLogSummary]
    total: int
    limit: int
    offset: int


class ChatLogStats(Shown):
    """What was asked in some days; the average is in milliseconds. `by_provider` and `by_type` count requests."""

    total_requests: int
    error_count: int
    success_count: int
    avg_duration_ms: int
    total_input_tokens: int
    total_output_tokens: int
    by_provider: dict[str, int]
    by_type: dict[str, int]


class ChatLogsCleared(Shown):
    """How many lines were deleted; `mode` says which ones."""

    deleted: int
    mode: str


@routes.get("/logs")
async def list_chat_logs(
    owner: Owner,
    paging: Annotated[Paging, paging(100)],
    type_: Annotated[LogType | None, Query(alias="type")] = None,
    errors: Annotated[bool | None, Query(description="true: only failures, false: none of them")] = None,
    conversation_id: Annotated[str | None, Query(alias="conversationId")] = None,
) -> ChatLogs:
    """The requests to models that match all filters, the newest first."""
    where = given(conversation_id=conversation_id or None, type=type_, failed=errors)
    page = await paging.page(logs.of(owner.id), where)
    lines = [ChatLogSummary.model_validate(each) for each in page.items]
    return ChatLogs(logs=lines, total=page.total, limit=paging.limit, offset=paging.offset)


@routes.get("/logs/stats")
async def get_chat_log_stats(owner: Owner, days: Annotated[int, Field(ge=1, le=MOST_DAYS)] = 7) -> ChatLogStats:
    """What was asked in the last days, today included, in UTC."""
    today = datetime.now(UTC).date()
    first = (today - timedelta(days=days - 1)).isoformat()
    n, errors, duration, tokens = 0, 0, 0, [0, 0]
    providers, types = Counter[str](), Counter[str]()
    totals = await logs.of(owner.id).totals()
    for (day, provider, kind, failed), amounts in totals.amounts("day", "provider", "type", "failed").items():
        count = int(amounts.get("n", 0))
        if day < first or not count:
            continue
        n += count
        errors += count if failed else 0
        duration += int(amounts.get("duration_ms", 0))
        tokens[0] += int(amounts.get("input_tokens", 0))
        tokens[1] += int(amounts.get("output_tokens", 0))
        providers[provider or "unknown"] += count
        types[kind] += count
    return ChatLogStats(
        total_requests=n, error_count=errors, success_count=n - errors,
        avg_duration_ms=round(duration / n) if n else 0, total_input_tokens=tokens[0], total_output_tokens=tokens[1],
        by_provider=dict(providers), by_type=dict(types),
    )  # fmt: skip


@routes.get("/logs/{log_id}", response_model=ChatLogShown)
async def get_chat_log(log_id: str, owner: Owner) -> ChatLog:
    """One request with what was asked and answered."""
    return await logs.of(owner.id).get(log_id)


@routes.delete("/logs")
async def clear_chat_logs(
    owner: Owner,
    all_: Annotated[bool, Query(alias="all")] = False,
    older: Annotated[int, Query(alias="olderThanDays", ge=0, le=36_500)] = 30,
) -> ChatLogsCleared:
    """Delete the lines that are older than some days, or with `all=true` every one."""
    own, deleted = logs.of(owner.id), 0
    if all_:
        return ChatLogsCleared(deleted=await own.clear(), mode="all")
    old = [line.id async for line in own.all(before=datetime.now(UTC) - timedelta(days=older))]
    for first in range(0, len(old), AT_ONCE):
        deleted += sum(await asyncio.gather(*(_delete(own, id_) for id_ in old[first : first + AT_ONCE])))
    return ChatLogsCleared(deleted=deleted, mode=f"older than {older} days")


async def _delete(own: Collection[ChatLog], log_id: str) -> int:
    """Delete a line; return 0 when another request has deleted it, else 1."""
    try:
        await own.delete(log_id)
    except tables.RecordNotFound:
        return 0
    return 1
