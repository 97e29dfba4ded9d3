"""The dashboard: the day at a glance, in lists, in numbers and in words."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from fastapi import Query
from starlette.responses import StreamingResponse

from functions.ownpilot.core.entry import Moment, Shown
from functions.ownpilot.core.owner import Owner, routes_for
from functions.ownpilot.dashboard import cache
from functions.ownpilot.dashboard.briefing import Briefing, BriefingOrder, briefing_of, briefing_parts
from functions.ownpilot.dashboard.figures import figures_of
from functions.ownpilot.dashboard.page import data_of, stats_of
from shared.http.sse import event_stream

log = logging.getLogger(__name__)

routes = routes_for("dashboard")

SILENCE = 10.0
"""Seconds after which a comment is sent when the model says nothing: what is silent too long is cut off on the way."""

HEARTBEAT = b": still here\n\n"
Group = dict[str, Any]
ModelName = Annotated[str, Query(max_length=200)]
Refresh = Annotated[bool, Query(description="Do not use the briefing that is kept")]


class DashboardStats(Shown):
    """Numbers of what a person has to do and has done; costs in USD."""

    tasks: Group
    calendar: Group
    goals: Group
    habits: Group
    memories: Group
    notes: Group
    triggers: Group
    plans: Group
    costs: Group


class DashboardData(DashboardStats):
    """The day at a glance: lists of the first ten of each kind, and the counts of all."""

    custom_data: Group
    generated_at: Moment


class BriefingShown(Shown):
    """The briefing, and the data that it is about; `ai_error` says why no model has written it."""

    data: DashboardData | None = None
    ai_briefing: Group
    cached: bool
    ai_error: str | None = None


class CacheCleared(Shown):
    """Whether there was a briefing that was kept."""

    cleared: bool


def _shown(data: dict[str, Group]) -> DashboardData:
    return DashboardData.model_validate({**data, "generated_at": datetime.now(UTC)}, by_alias=True, by_name=True)


@routes.get("/data")
async def get_dashboard_data(owner: Owner) -> DashboardData:
    """The day at a glance. About 15 queries, side by side."""
    return _shown(data_of(await figures_of(owner.id)))


@routes.get("/stats")
async def get_dashboard_stats(owner: Owner) -> DashboardStats:
    """The same in numbers."""
    return DashboardStats.model_validate(stats_of(await figures_of(owner.id)))


@routes.get("/briefing", response_model_exclude_none=True)
async def get_briefing(
    owner: Owner,
    refresh: Refresh = False,
    ai_only: Annotated[bool, Query(alias="aiOnly", description="Leave the data out")] = False,
    provider: ModelName = "",
    model: ModelName = "",
) -> BriefingShown:
    """The day at a glance, and in words: those of a model, or of rules where no model can be asked.

    A model's briefing is kept for half an hour, as long as what it tells of does not change.
    """
    data = data_of(await figures_of(owner.id))
    briefing = await briefing_of(BriefingOrder(owner.id, data, provider, model), refresh=refresh)
    return BriefingShown(
        data=None if ai_only else _shown(data), ai_briefing=briefing.body, cached=briefing.body["cached"],
        ai_error=briefing.error,
    )  # fmt: skip


@routes.delete("/briefing/cache")
async def clear_briefing_cache(owner: Owner) -> CacheCleared:
    """Forget the briefing that is kept."""
    return CacheCleared(cleared=await cache.forget(owner.id))


@routes.get("/briefing/stream", response_class=StreamingResponse)
async def stream_briefing(
    owner: Owner, refresh: Refresh = False, provider: ModelName = "", model: ModelName = ""
) -> StreamingResponse:
    """The briefing as events without names: `chunk` with what the model writes, `complete`, and `[DONE]`."""
    data = data_of(await figures_of(owner.id))
    return event_stream(_frames(BriefingOrder(owner.id, data, provider, model), refresh=refresh))


async def _frames(asked: BriefingOrder, *, refresh: bool) -> AsyncGenerator[bytes]:
    """Yield the events. When the client leaves, the model's answer is given up."""
    async with aclosing(briefing_parts(asked, refresh=refresh)) as parts:
        while True:
            waiting = asyncio.ensure_future(anext(parts, None))
            try:
                while not (await asyncio.wait([waiting], timeout=SILENCE))[0]:
                    yield HEARTBEAT
                part = waiting.result()
            finally:
                waiting.cancel()
                await asyncio.wait([waiting])  # so that the generator is not closed while it runs
            if isinstance(part, Briefing):
                error = {"aiError": part.error} if part.error else {}
                yield _event({"type": "complete", "briefing": part.body, **error})
            elif part is not None:
                yield _event({"type": "chunk", "content": part})
            else:
                break
    yield b"data: [DONE]\n\n"


def _event(data: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(data)
