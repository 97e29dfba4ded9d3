"""Sending the answers of a model: what both protocols have in common."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

from aiohttp import web

from infra.emulator.providers.scripts import ScriptedFailure, ScriptedTurn, turn_of
from infra.emulator.providers.state import MODELS, STATE, ModelRequest

PIECE = 7
"""Characters of a fragment of a tool's arguments."""


class Protocol(ABC):
    """How one protocol says things."""

    @abstractmethod
    def refusal(self, request: web.Request) -> web.Response | None:
        """401 for a wrong key."""

    @abstractmethod
    def error(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
        """An error."""

    @abstractmethod
    def whole(self, body: Mapping[str, Any], turn: ScriptedTurn) -> dict[str, Any]:
        """The answer to a request that wants no stream."""

    @abstractmethod
    def begin(self, body: Mapping[str, Any], turn: ScriptedTurn) -> Iterator[str]:
        """The frames before the text."""

    @abstractmethod
    def word(self, body: Mapping[str, Any], text: str) -> str:
        """The frame of a word."""

    @abstractmethod
    def end(self, body: Mapping[str, Any], turn: ScriptedTurn) -> Iterator[str]:
        """The frames after the text: calls, usage, and the end."""


async def answer(request: web.Request, protocol: Protocol) -> web.StreamResponse:
    """Answer a request for a message of a model."""
    if refused := protocol.refusal(request):
        return refused
    state = request.app[STATE]
    try:
        body: dict[str, Any] = await request.json()
        turn = turn_of(body["messages"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return protocol.error(400, f"The request cannot be read: {error}")
    if body.get("model") not in [model.id for model in MODELS]:
        return protocol.error(404, f"The model '{body.get('model')}' does not exist")
    asked = ModelRequest(request.path, body)
    state.requests.append(asked)
    for member in turn.refused:
        if member in body:
            asked.end = "refused"
            return protocol.error(400, f"Unrecognized request argument supplied: {member}")
    for failure in turn.failures:
        if state.fails(turn.key, failure):
            asked.end = "refused"
            return _failed(protocol, failure)
    try:
        response = await _send(request, protocol, body, turn)
        asked.end = "broken" if response is None else "whole"
    except (asyncio.CancelledError, ConnectionError):
        asked.end = "left"
        raise
    return response or web.Response(status=500)


def _failed(protocol: Protocol, failure: ScriptedFailure) -> web.Response:
    wait = failure.retry_after
    return protocol.error(failure.status, failure.message, {} if wait is None else {"Retry-After": wait})


async def _send(
    request: web.Request, protocol: Protocol, body: Mapping[str, Any], turn: ScriptedTurn
) -> web.StreamResponse | None:
    """Send the answer; None when the script has broken the connection."""
    response: web.StreamResponse | None = None
    if body.get("stream"):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        for frame in protocol.begin(body, turn):
            await response.write(frame.encode())
    for step in turn.steps:
        if step.ends == "break":
            if request.transport:
                request.transport.abort()
            return None
        if step.ends == "stall":
            await asyncio.Event().wait()
        await asyncio.sleep(step.pause)
        if (text := f"{time.time()} " if step.is_clock else step.text) and response:
            await response.write(protocol.word(body, text).encode())
    if response is None:
        return web.json_response(protocol.whole(body, turn))
    for frame in protocol.end(body, turn):
        await response.write(frame.encode())
    return response


def text_of(turn: ScriptedTurn) -> str:
    """The whole text of a turn."""
    return "".join(step.text for step in turn.steps)


def pieces(text: str) -> Iterator[str]:
    """The fragments in which the arguments of a call are sent."""
    return (text[start : start + PIECE] for start in range(0, len(text), PIECE))
