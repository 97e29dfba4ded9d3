"""The briefing of the day: what a model makes of the page, or what rules do where no model can be asked."""

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from pydantic import ValidationError

from functions.ownpilot.core.budget import check_budget
from functions.ownpilot.core.catalogue.resolve import Target, resolve
from functions.ownpilot.core.entry import Given, iso
from functions.ownpilot.core.llm import Message, ModelError, Text, Usage, ask
from functions.ownpilot.core.prices import price_in
from functions.ownpilot.core.usage import record_usage
from functions.ownpilot.dashboard import cache
from functions.ownpilot.dashboard.prompt import PROMPT, told
from shared.http.errors import HANDLED, api_error
from shared.tables import StorageUnavailable
from shared.tables.ids import new_id

log = logging.getLogger(__name__)

SECONDS = 60.0
"""How long a model may take; then rules make the briefing."""

ANSWER = 2000
"""Tokens of the answer at most."""

MOST = 10
"""Entries of a list of the briefing."""

LONGEST = 1000
"""Characters of a text of the briefing."""

BY_RULES = "rules"


class _Written(Given):
    """What a model writes."""

    summary: str
    priorities: list[str] = []
    insights: list[str] = []
    suggested_focus_areas: list[str] = []


class NoBriefing(Exception):
    """The model gave no briefing; the message says why."""


@dataclass(frozen=True)
class BriefingOrder:
    """Whose briefing is wanted, about which data, from which model; empty stands for the default."""

    owner: str
    data: Mapping[str, Mapping[str, Any]]
    provider: str = ""
    model: str = ""

    @property
    def version(self) -> str:
        """The version of what the briefing tells of: it is another one when the model would be told something else."""
        return hashlib.sha256(orjson.dumps([told(self.data), self.provider, self.model])).hexdigest()


@dataclass(frozen=True)
class Briefing:
    """A briefing as it is answered; `error` says why rules have made it."""

    body: dict[str, Any]
    error: str | None = None


async def briefing_of(asked: BriefingOrder, *, refresh: bool = False) -> Briefing:
    """Return the briefing: the one that is kept, unless `refresh`, else what a model writes now, else rules."""
    async with aclosing(briefing_parts(asked, refresh=refresh, stream=False)) as parts:
        async for part in parts:
            if isinstance(part, Briefing):
                return part
    raise RuntimeError("a briefing has an end")


async def briefing_parts(asked: BriefingOrder, *, refresh: bool, stream: bool = True) -> AsyncGenerator[str | Briefing]:
    """Yield the texts of the model as they come, and the briefing as the last part.

    1 point read; without a kept one the calls of `resolve`, the model, 1 to write what was used and 1 to keep it.
    """
    if not refresh and (kept := await cache.cached(asked.owner, asked.version)):
        yield Briefing({**kept, "cached": True})
        return
    text = ""
    try:
        async with asyncio.timeout(SECONDS):
            await check_budget(asked.owner)
            target = await resolve(asked.owner, asked.provider, asked.model)
        async with aclosing(_written(asked, target, stream)) as parts:
            async for part in parts:
                text += part
                yield part
        made = _checked(text)
    except (ModelError, NoBriefing, TimeoutError) as error:
        yield _by_rules(asked, str(error) or f"The model has not answered within {SECONDS:.0f} seconds")
    except HANDLED as error:
        yield _by_rules(asked, api_error(error).message)
    else:
        now = datetime.now(UTC)
        expires = now + cache.KEPT
        body = _body(made, now, f"{target.provider}/{target.model['modelId']}") | {"expiresAt": iso(expires)}
        try:
            await cache.keep(asked.owner, asked.version, body, expires)
        except StorageUnavailable:
            log.warning("a briefing is not kept", exc_info=True)
        yield Briefing({**body, "cached": False})


async def _written(asked: BriefingOrder, target: Target, stream: bool) -> AsyncGenerator[str]:
    """Yield what a model writes, and write down what that used, also when it fails. `ModelError`, TimeoutError."""
    messages = [Message("system", PROMPT), Message("user", told(asked.data))]
    started, used, error = time.monotonic(), [0, 0], "interrupted"
    until = asyncio.get_running_loop().time() + SECONDS
    try:
        async with aclosing(ask(target, messages, max_tokens=ANSWER, stream=stream)) as parts:
            while True:
                async with asyncio.timeout_at(until):
                    part = await anext(parts, None)
                if part is None:
                    break
                if isinstance(part, Usage):
                    used = [used[0] + part.input_tokens, used[1] + part.output_tokens]
                if isinstance(part, Text):
                    yield part.text
        error = None
    except (ModelError, TimeoutError) as failure:
        error = str(failure) or "no answer in time"
        raise
    finally:
        await asyncio.shield(asyncio.ensure_future(_note(asked, target, used, started, error)))


async def _note(asked: BriefingOrder, target: Target, used: Sequence[int], started: float, error: str | None) -> None:
    try:
        await record_usage(
            asked.owner, target.provider, target.model["modelId"], price=price_in(target.model), input_tokens=used[0],
            output_tokens=used[1], latency_ms=(time.monotonic() - started) * 1000, error=error,
        )  # fmt: skip
    except Exception:  # the briefing is made, and must not be lost for that
        log.exception("what a briefing used was not written down")


def _checked(text: str) -> _Written:
    """Return what stands between the first `{` and the last `}`. `NoBriefing` when it is no briefing."""
    try:
        made = _Written.model_validate(orjson.loads(text[text.find("{") : text.rfind("}") + 1]))
    except (ValueError, ValidationError):
        raise NoBriefing("The model's answer is not a briefing") from None
    if not made.summary.strip():
        raise NoBriefing("The model's answer has no summary")
    return made


def _body(made: _Written, now: datetime, model: str) -> dict[str, Any]:
    def cut(texts: Sequence[str]) -> list[str]:
        return [text[:LONGEST] for text in texts[:MOST]]

    insights = cut(made.insights)
    return {
        "id": new_id(), "summary": made.summary[: 4 * LONGEST], "priorities": cut(made.priorities),
        "insights": insights, "suggestions": insights, "suggestedFocusAreas": cut(made.suggested_focus_areas),
        "generatedAt": iso(now), "expiresAt": iso(now), "modelUsed": model,
    }  # fmt: skip


def _by_rules(asked: BriefingOrder, error: str) -> Briefing:
    """Return a briefing made without a model. It is not kept, so that the next one may be a model's."""
    data = asked.data
    tasks, events, goals, habits = data["tasks"], data["calendar"], data["goals"], data["habits"]
    counts = tasks["counts"]
    said = [
        _count(counts["pending"], "open task"), _count(counts["dueToday"], "task", " due today"),
        _count(counts["overdue"], "task", " overdue"), _count(events["counts"]["today"], "event", " today"),
    ]  # fmt: skip
    at_risk = [f"The streak of {each['name']} ends unless you do it today" for each in habits["streaksAtRisk"]]
    overdue_goals = goals["stats"]["overdueCount"]
    made = _Written(
        summary=f"You have {', '.join(said[:-1])} and {said[-1]}.",
        priorities=[
            *(f"Overdue: {each['title']}" for each in tasks["overdue"]),
            *(f"Due today: {each['title']}" for each in tasks["dueToday"]),
            *(f"{each['goalTitle']}: {each['title']}" for each in goals["nextActions"]),
        ],
        insights=[
            *at_risk,
            *([f"{_count(overdue_goals, 'goal')} past the due date"] if overdue_goals else []),
            *([f"Your goals are at {goals['stats']['averageProgress']} % on average"] if goals["active"] else []),
        ],
        suggested_focus_areas=[each["title"] for each in goals["active"]],
    )  # fmt: skip
    return Briefing({**_body(made, datetime.now(UTC), BY_RULES), "cached": False}, error)


def _count(number: int, noun: str, rest: str = "") -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}{rest}"
