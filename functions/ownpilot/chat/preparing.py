"""Everything that is read before a model is asked, side by side; and what a request is refused for."""

import asyncio
from collections.abc import Awaitable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from functions.ownpilot.chat.context import Block, check_fits, room_of, unpacked
from functions.ownpilot.chat.conversations import (
    ChatMessage,
    ChatTurn,
    Conversation,
    Partner,
    TurnStatus,
    begin,
    begin_conversation,
    conversation_of,
    current_of,
    turns,
)
from functions.ownpilot.chat.prompt import DEFAULT, NextGoal, PromptState, system_prompt
from functions.ownpilot.chat.question import Prepared, Question, Talk
from functions.ownpilot.chat.trace import Trace
from functions.ownpilot.core.agent_store import Agent, agent_of
from functions.ownpilot.core.autonomy.rules import rules_of
from functions.ownpilot.core.budget import check_budget
from functions.ownpilot.core.catalogue.resolve import resolve
from functions.ownpilot.core.catalogue.view import MergedModel
from functions.ownpilot.core.custom_tables import custom_tables
from functions.ownpilot.core.goal_steps import ready_steps
from functions.ownpilot.core.llm import Message, ToolSchema
from functions.ownpilot.core.owner import Person
from functions.ownpilot.core.profile_store import Profile, profile_of, summary_of
from functions.ownpilot.goals import Goal, GoalStatus, goals
from functions.ownpilot.memories import memories
from functions.ownpilot.tools.meta import TOOLS as META_TOOLS
from functions.ownpilot.tools.registry import Tool, names_for, tools_for
from shared.http.errors import NotFound

ANSWER = 4096
"""Tokens that an answer may have, unless the agent or the model says otherwise."""

MEMORIES, GOALS, STEPS = 10, 5, 3
"""How many of each the prompt names; the steps are those of one goal."""

MEMORY = 500
"""Characters of a memory in the prompt."""

MOST_PAST = 200
"""Turns of the past that are looked at."""

NO_ANSWER = "(No answer arrived.)"


async def prepare(owner: Person, question: Question) -> Prepared:
    """Read what a turn needs, and store the user's message.

    `NotFound` for an unknown conversation, agent, provider or model; `BadRequest` when the model cannot be asked or the
    message does not fit; `TooManyRequests` when a budget is spent.
    """
    trace = Trace()
    id_ = owner.id
    reads = (
        check_budget(id_), _talk(id_, question), profile_of(id_), memories.list(id_, limit=MEMORIES),
        _goals(id_), rules_of(id_),
    )  # fmt: skip
    _, talk, profile, remembered, pursued, rules = await together(*reads)
    trace.recalls = len(remembered.items)
    allowed = await _allowed(id_, talk)
    can_call = allowed != [] and _can_call(talk.target.model)
    tools = await _offered(id_, question.direct_tools, allowed) if can_call else []
    is_told = can_call and question.include_tool_list
    catalogue = await _catalogue(id_, allowed) if is_told else ""
    trace.reads = len(reads) + 1 + is_told
    base = talk.agent.system_prompt if talk.agent else DEFAULT
    state = _state(
        base, profile, [each.content for each in remembered.items], pursued, question, rules.level, bool(tools)
    )
    system = Message("system", system_prompt(state))
    asked = Message("user", question.message + (f"\n\n{catalogue}" if catalogue else ""))
    window = talk.target.model.get("contextWindow")
    answer = talk.agent.max_tokens if talk.agent else ANSWER
    answer = min(answer, talk.target.model.get("maxOutput") or answer, (window or 2 * answer) // 2)
    room = room_of(window, answer, tools)
    check_fits(system, asked, room)
    seed = [] if talk.conversation else question.history
    past = [_block(turn) for turn in reversed(talk.past)] or [[Message(role, text)] for role, text in seed]
    seeded = [ChatMessage(role=role, content=text) for role, text in seed]
    if talk.conversation:
        conversation, turn = await begin(owner.id, talk.conversation, question.message)
    else:
        agent = talk.agent.name if talk.agent else None
        conversation, turn = await begin_conversation(
            owner.id, talk.partner, talk.pointed, question.message, seeded, agent_name=agent, system_prompt=base,
            is_current=question.source == "chat",
        )  # fmt: skip
    trace.writes += 2
    return Prepared(
        owner, question, talk.target, talk.agent, conversation, turn, system, asked, past, tools, allowed, room, answer,
        trace,
    )  # fmt: skip


async def together(*work: Awaitable[Any]) -> list[Any]:
    """Do things side by side, and return their results when all have ended; raises the error of the first that fails.

    The first in the order in which they are given: the same fault is reported whichever is found sooner.
    """
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


async def _talk(owner: str, question: Question) -> Talk:
    conversation = await conversation_of(owner, question.conversation_id) if question.conversation_id else None
    agent = await _agent(owner, question, conversation)
    target = await resolve(
        owner, question.provider or (agent.provider if agent else ""), question.model or (agent.model if agent else "")
    )
    partner = Partner(target.provider, target.model["modelId"], agent.id if agent else None)
    pointed = None
    if conversation is None and question.source == "chat":
        pointed, conversation = await current_of(owner, partner)
    past = await _past(conversation.id) if conversation else []
    return Talk(agent, target, partner, pointed, conversation, past)


async def _agent(owner: str, question: Question, conversation: Conversation | None) -> Agent | None:
    """Return the agent that is asked for, else the one of the conversation, if it still exists."""
    if question.agent_id:
        return await agent_of(owner, question.agent_id)
    if conversation is None or conversation.agent_id is None:
        return None
    try:
        return await agent_of(owner, conversation.agent_id)
    except NotFound:
        return None


async def _past(conversation_id: str) -> list[ChatTurn]:
    """Return the newest turns that have ended, the newest first."""
    now = datetime.now(UTC)
    return [turn async for turn in turns.of(conversation_id).scan(most=MOST_PAST) if not turn.is_running(now)]


def _block(turn: ChatTurn) -> Block:
    """Return a turn of the past as the model sees it: what was said, with an end where the model reached none."""
    said = [Message(each.role, each.content) for each in turn.messages]
    if turn.status is TurnStatus.SEED:
        return said
    exchange = [unpacked(each) for each in turn.exchange]
    if not exchange or exchange[-1].role != "assistant":
        exchange.append(Message("assistant", (said[1].content if len(said) > 1 else "") or NO_ANSWER))
    return [said[0], *exchange]


def _can_call(model: MergedModel) -> bool:
    """Whether a model is offered tools. Any model that is not in the catalogue is: it may be able to call them."""
    return "function_calling" in model["capabilities"] or model["source"] in ("local", "custom")


async def _goals(owner: str) -> list[NextGoal]:
    found: list[Goal] = [each async for each in goals.collection.of(owner).scan({"status": GoalStatus.ACTIVE})]
    found.sort(key=lambda each: -each.priority)
    return [
        NextGoal(each.title, each.progress, [step.title for step in ready_steps(each.steps)[:STEPS]])
        for each in found[:GOALS]
    ]


async def _allowed(owner: str, talk: Talk) -> list[str] | None:
    """Return the names of the tools that may be used, None for all.

    A conversation whose agent was deleted has none: that agent may have been held to a few.
    """
    if talk.agent:
        return await names_for(owner, talk.agent) if talk.agent.has_own_tools else None
    return [] if talk.conversation and talk.conversation.agent_id else None


async def _offered(owner: str, direct: Sequence[str], allowed: Collection[str] | None) -> list[ToolSchema]:
    """Return the tools whose schemas the model gets: those about tools, and the ones that the request names."""
    tools = await tools_for(owner, allowed) if direct else {}
    chosen: list[Tool] = [*META_TOOLS.values(), *(tools[name] for name in dict.fromkeys(direct) if name in tools)]
    return [ToolSchema(each.name, each.description, each.parameters) for each in chosen]


async def _catalogue(owner: str, allowed: Collection[str] | None) -> str:
    """Return the names of the tools that may be used by category, and the tables of the user."""
    by_category: dict[str, list[str]] = {}
    for each in (await tools_for(owner, allowed)).values():
        by_category.setdefault(each.category, []).append(each.name)
    lines = ["Tools by category:", *(f"- {name}: {', '.join(names)}" for name, names in by_category.items())]
    if own := [table.name async for table in custom_tables.of(owner).all()]:
        lines.append(f"Tables of the user: {', '.join(own)}")
    return "\n".join(lines)


def _state(
    base: str, profile: Profile, remembered: Sequence[str], pursued: Sequence[NextGoal], question: Question, level: int,
    has_tools: bool,
) -> PromptState:  # fmt: skip
    instructions = [
        str(each.value) for each in profile.in_order if each.category == "instructions" and not each.sensitive
    ]
    rest = {id_: each for id_, each in profile.entries.items() if each.category != "instructions"}
    return PromptState(
        now=datetime.now(UTC), base=base, profile=summary_of(Profile(profile.owner, rest)), instructions=instructions,
        memories=[text[:MEMORY] for text in remembered], goals=pursued, workspace=question.workspace_id, level=level,
        has_tools=has_tools,
    )  # fmt: skip
