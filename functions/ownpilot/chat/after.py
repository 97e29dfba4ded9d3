"""What follows from a message and its answer: memories, steps of goals that are done, and triggers that fire."""

import contextlib
import re
from typing import Any

from functions.ownpilot.chat.conversations import turns
from functions.ownpilot.core import happenings, memory_vectors
from functions.ownpilot.core.goal_steps import OPEN, StepStatus
from functions.ownpilot.goals import GoalStatus, goals
from functions.ownpilot.goals.steps import change_step
from functions.ownpilot.memories import memories
from shared import tables
from shared.http.errors import BadRequest, Conflict

IMPORTANCE = 0.7
SOURCE = "conversation"

_WORDS = r"([^.,;!?\n]{2,80}?)(?=[.,;!?\n]|\s+(?:and|but|because)\b|$)"
_NAME = r"([A-ZÀ-ÞĀ-Ž][\w'-]*(?: [A-ZÀ-ÞĀ-Ž][\w'-]*){0,2})"

PATTERNS: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern), type_, text)
    for pattern, type_, text in (
        (rf"\b[Mm]y name is {_NAME}", "fact", "The user's name is {}"),
        (rf"\b(?:I live in|[Mm]y home is in) {_WORDS}", "fact", "The user lives in {}"),
        (rf"\bI (?:really )?(?:like|love|enjoy) {_WORDS}", "preference", "The user likes {}"),
        (rf"\bI (?:really )?(?:dislike|hate|(?:don't|do not) like) {_WORDS}", "preference", "The user dislikes {}"),
        (rf"\bI work as (?:an? )?{_WORDS}", "fact", "The user works as {}"),
        (rf"\b(?:I work at|I work for) {_WORDS}", "fact", "The user works at {}"),
        (r"\b(?:I am|I'm) (\d{1,3}) years old\b", "fact", "The user is {} years old"),
    )
)
"""What to look for in a message, the type of the memory, and its text."""

_DONE = re.compile(r"\b(?:completed?|done|finished)\b", re.IGNORECASE)
_SENTENCE = re.compile(r"[.!?\n]+")
MOST_CHARACTERS = 20_000
"""Characters of a message, and of an answer, that are looked at."""


def told(message: str) -> list[tuple[str, str]]:
    """Return what a message tells of the user: type and text of each memory."""
    text = message[:MOST_CHARACTERS]
    found = [
        (type_, words.format(match[1].strip()))
        for pattern, type_, words in PATTERNS
        for match in pattern.finditer(text)
    ]
    return [*dict.fromkeys(found)]


def said_as_done(answer: str) -> str:
    """Return the sentences of an answer that say that something is done, a line each, without regard to case."""
    sentences = _SENTENCE.split(answer[:MOST_CHARACTERS])
    return "\n".join(sentence for sentence in sentences if _DONE.search(sentence)).casefold()


def names(said: str, title: str) -> bool:
    """Whether such sentences name the step with this title."""
    wanted = title.casefold().strip()
    return bool(wanted) and wanted in said


def has_work(message: str, answer: str) -> bool:
    """Whether anything may follow from a message and its answer."""
    return bool(told(message) or said_as_done(answer))


async def ownpilot_after_chat(value: dict[str, Any]) -> None:
    """Deferred: do what follows from a turn. A repeat changes nothing more."""
    owner = value["owner"]
    try:
        turn = await turns.of(value["conversation"]).get(value["turn"])
    except tables.RecordNotFound:  # deleted meanwhile
        return
    question, answer = turn.messages[0].content, turn.messages[-1].content
    for type_, text in told(question):
        values: dict[str, Any] = {
            "type": type_, "content": text, "importance": IMPORTANCE, "source": SOURCE,
            "sourceId": value["conversation"],
        }  # fmt: skip
        with contextlib.suppress(Conflict, BadRequest):  # it is known already; there is no room
            await memories.create(owner, values)
    if told(question):
        await memory_vectors.are_written(owner)
    if said := said_as_done(answer):
        await _complete_steps(owner, said)
    if value.get("tells"):
        data = {"conversationId": value["conversation"], "message": question, "response": answer}
        await happenings.happened(owner, happenings.CHAT, data, turn.id)


async def _complete_steps(owner: str, said: str) -> None:
    found = [
        (goal.id, step.id)
        async for goal in goals.collection.of(owner).scan({"status": GoalStatus.ACTIVE})
        for step in goal.steps
        if step.status in OPEN and names(said, step.title)
    ]
    for goal_id, step_id in found:
        try:
            await change_step(owner, goal_id, step_id, {"status": StepStatus.COMPLETED})
        except tables.RecordNotFound:  # deleted meanwhile
            continue
