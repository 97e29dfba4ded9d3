"""What a model is to answer, from the script in the prompt; without one it repeats what it was told.

A script is JSON behind `script:` in the last message of the user that has one: a list of turns, each a list of parts. A
turn is chosen by the number of the model's messages after that one; the last turn is repeated for all further ones.

    "words"                                text, sent word by word
    {"text": "words", "every": 0.02}       the same, with so many seconds between the words
    {"clock": 100, "every": 0.02}          100 words, each the time at which it is sent, in seconds since 1970
    {"call": "name", "arguments": {...}}   a call of a tool; arguments that are a text are sent as they are
    {"error": 429, "message": "...", "retry_after": 1, "times": 1}   a status; `times`: only for the first requests
    {"refuse": "stream_options"}           400 for a request with this member
    {"usage": [100, 7]}  {"finish": "length"}                        in place of what is counted, and of the reason
    {"pause": 0.5}  {"stall": true}  {"break": true}                 wait; send no more; close the connection

Errors and refusals come first, wherever they stand. Without `usage`, a message counts 10 tokens, a word 1, a call 5.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

MARK = "script:"


@dataclass(frozen=True)
class ScriptedCall:
    """A call of a tool."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class ScriptedStep:
    """One thing that is done while an answer is sent: a word, or the time in place of one, a wait, or its end."""

    text: str = ""
    is_clock: bool = False
    pause: float = 0
    ends: str = ""  # "stall" or "break"


@dataclass(frozen=True)
class ScriptedFailure:
    """A status in place of an answer, for the first `times` requests (0: for all)."""

    status: int
    message: str
    retry_after: str | None = None
    times: int = 0


@dataclass
class ScriptedTurn:
    """What is answered to one request; `key` is the same for a repeat of the request."""

    key: str
    steps: list[ScriptedStep] = field(default_factory=list[ScriptedStep])
    calls: list[ScriptedCall] = field(default_factory=list[ScriptedCall])
    failures: list[ScriptedFailure] = field(default_factory=list[ScriptedFailure])
    refused: list[str] = field(default_factory=list[str])
    usage: tuple[int, int] = (0, 0)
    finish: str = ""


def turn_of(messages: Sequence[Mapping[str, Any]]) -> ScriptedTurn:
    """Return the turn that the messages ask for. ValueError when their script is none."""
    told = [(place, _text(each)) for place, each in enumerate(messages) if each.get("role") == "user"]
    scripted = [(place, text) for place, text in told if MARK in text]
    if not scripted:
        said = next((text for _, text in reversed(told) if text), "nothing")
        return _turn("", 0, [f"You said: {said}"], len(messages))
    place, text = scripted[-1]
    turns: Any = json.JSONDecoder().raw_decode(text.partition(MARK)[2].strip())[0]
    if not isinstance(turns, list) or not turns:
        raise ValueError("a script is a list of turns")
    number = sum(each.get("role") == "assistant" for each in messages[place:])
    chosen = cast("list[Any]", turns)[min(number, len(cast("list[Any]", turns)) - 1)]
    return _turn(text, number, chosen, len(messages))


def _text(message: Mapping[str, Any]) -> str:
    content: Any = message.get("content")
    if isinstance(content, str):
        return content
    blocks = cast("list[dict[str, Any]]", content or [])
    return "\n".join(str(block.get("text", "")) for block in blocks if block.get("type") == "text")


def _turn(text: str, number: int, parts: Any, messages: int) -> ScriptedTurn:
    made = ScriptedTurn(f"{number} {text}")
    usage: tuple[int, int] | None = None
    for part in cast("list[Any]", parts):
        match part:
            case str():
                made.steps += _words(part)
            case {"text": str(words)}:
                made.steps += _words(words, float(part.get("every", 0)))
            case {"clock": int(count)}:
                made.steps += [ScriptedStep(is_clock=True, pause=float(part.get("every", 0)))] * count
            case {"call": str(name)}:
                arguments = part.get("arguments", {})
                raw = arguments if isinstance(arguments, str) else json.dumps(arguments)
                made.calls.append(ScriptedCall(f"call_{number}_{len(made.calls)}", name, raw))
            case {"error": int(status)}:
                wait = part.get("retry_after")
                message = str(part.get("message", f"Error {status}"))
                made.failures.append(
                    ScriptedFailure(status, message, None if wait is None else str(wait), int(part.get("times", 0)))
                )
            case {"refuse": str(member)}:
                made.refused.append(member)
            case {"usage": [int(given), int(taken)]}:
                usage = given, taken
            case {"finish": str(reason)}:
                made.finish = reason
            case {"pause": int(seconds) | float(seconds)}:
                made.steps.append(ScriptedStep(pause=seconds))
            case {"stall": True}:
                made.steps.append(ScriptedStep(ends="stall"))
            case {"break": True}:
                made.steps.append(ScriptedStep(ends="break"))
            case _:
                raise ValueError(f"{part} is no part of a script")
    words = sum(bool(step.text or step.is_clock) for step in made.steps)
    made.usage = usage or (10 * messages, words + 5 * len(made.calls))
    return made


def _words(text: str, every: float = 0) -> list[ScriptedStep]:
    words = text.split(" ")
    return [
        ScriptedStep(f"{word} " if number < len(words) else word, pause=every) for number, word in enumerate(words, 1)
    ]
