"""The assistant's tools for other programs, over the Model Context Protocol: streamable HTTP, stateless, JSON answers.

Spoken here, because the four requests are fewer lines than a library needs to run inside a Function.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from json import JSONDecodeError
from typing import Annotated, Any, cast

from fastapi import Depends, Header, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from functions.ownpilot.core.owner import Owner, Person
from functions.ownpilot.core.tool_context import ToolContext
from functions.ownpilot.health import VERSION
from functions.ownpilot.tools.meta import unknown
from functions.ownpilot.tools.registry import tools_for
from functions.ownpilot.tools.use import use_tool
from shared.http.api import Cors
from shared.http.errors import HANDLED, BadRequest, Forbidden, MethodNotAllowed, api_error
from shared.http.json import plain
from shared.http.routes import options, router
from shared.settings import settings

VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26")
"""The versions of the protocol that are spoken, the newest first; the oldest one has batches."""

PAGE = 100
"""Tools of a list."""

MAX_BATCH = 50
"""Messages of one request."""

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL_ERROR = -32700, -32600, -32601, -32602, -32603

INSTRUCTIONS = "The tools of a personal assistant: its user's tasks, notes, dates, people, files and more."

Params = Mapping[str, Any]


class _Refused(Exception):
    """A request that cannot be answered; `code` is one of JSON-RPC."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code


async def _check_origin(origin: Annotated[str | None, Header()] = None) -> None:
    """`Forbidden` for a page of a site that is not allowed: its address may have been made to lead to this server."""
    if origin is not None and origin != settings().base_url and not Cors.of_settings().allows(origin):
        raise Forbidden("Pages of this origin may not call: add it to RUNYARD_CORS_ORIGINS")


routes = router("/mcp", "mcp", dependencies=[Depends(_check_origin)])


@routes.post("", response_model=None)
@options(enveloped=False)
async def call_mcp(
    request: Request, owner: Owner, version: Annotated[str, Header(alias="MCP-Protocol-Version")] = VERSIONS[-1]
) -> Response:
    """The tools of the assistant over the Model Context Protocol: one JSON-RPC message, or several."""
    if version not in VERSIONS:
        raise BadRequest(f"MCP-Protocol-Version must be one of {', '.join(VERSIONS)}")
    if not request.headers.get("content-type", "").lower().startswith("application/json"):
        raise BadRequest("Content-Type must be application/json")
    try:
        given: Any = plain(await request.json())
    except (JSONDecodeError, ValueError) as error:
        return JSONResponse(_error(None, PARSE_ERROR, f"The body is not valid JSON: {error}"), 400)
    if isinstance(given, list):
        messages = cast("list[Any]", given)
        if not 0 < len(messages) <= MAX_BATCH:
            return JSONResponse(_error(None, INVALID_REQUEST, f"A batch has 1 to {MAX_BATCH} messages"), 400)
        found = await answer_batch(messages, owner)
        return JSONResponse(found) if found else Response(status_code=202)
    answer = await _answer(given, owner)
    if answer is None:
        return Response(status_code=202)
    return JSONResponse(answer, 400 if answer.get("id") is None else 200)


@routes.api_route("", methods=["GET", "DELETE"], include_in_schema=False)
async def refuse_mcp_session(owner: Owner) -> None:
    """Refuse: there are no sessions, and no messages but answers."""
    raise MethodNotAllowed("Only POST is understood: there are no sessions and no streams", headers={"Allow": "POST"})


async def answer_batch(messages: Sequence[Any], owner: Person) -> list[dict[str, Any]]:
    """Return the answers to messages. What storage or another layer refuses to one is the answer to this one alone."""

    async def one(message: Any) -> dict[str, Any] | None:
        try:
            return await _answer(message, owner)
        except HANDLED as error:
            return _error(message["id"], INTERNAL_ERROR, api_error(error).message)

    return [each for each in await asyncio.gather(*map(one, messages)) if each]


async def _answer(message: Any, owner: Person) -> dict[str, Any] | None:
    """Return the answer to a message; None for a notification, or an answer to nothing that was asked."""
    match message:
        case {"jsonrpc": "2.0", "method": str(method), "id": str() | int() as id_} if not isinstance(id_, bool):
            params: Any = message.get("params", {})
        case {"jsonrpc": "2.0", "method": str()} if "id" not in message:
            return None
        case {"jsonrpc": "2.0", "id": str() | int(), "result": _} | {"jsonrpc": "2.0", "error": _}:
            return None
        case _:
            return _error(None, INVALID_REQUEST, "A message must be an object of JSON-RPC 2.0 with a method")
    try:
        if method not in _METHODS:
            raise _Refused(METHOD_NOT_FOUND, f"There is no method {method[:100]}")
        if not isinstance(params, dict):
            raise _Refused(INVALID_PARAMS, "params must be an object")
        return {"jsonrpc": "2.0", "id": id_, "result": await _METHODS[method](cast("Params", params), owner)}
    except _Refused as error:
        return _error(id_, error.code, str(error))


def _error(id_: str | int | None, code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id_, "error": {"code": code, "message": message}}


async def _initialize(params: Params, owner: Person) -> dict[str, Any]:
    wanted = params.get("protocolVersion")
    return {
        "protocolVersion": wanted if wanted in VERSIONS else VERSIONS[0],
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "OwnPilot", "version": VERSION},
        "instructions": INSTRUCTIONS,
    }


async def _ping(params: Params, owner: Person) -> dict[str, Any]:
    return {}


async def _list_tools(params: Params, owner: Person) -> dict[str, Any]:
    """Return the next tools by name; the cursor is the name of the last one that was listed."""
    last = params.get("cursor") or ""
    if not isinstance(last, str):
        raise _Refused(INVALID_PARAMS, "cursor must be a text that a list has given")
    tools = await tools_for(owner.id)
    names = sorted(name for name in tools if name > last)
    shown = [
        {"name": name, "description": tools[name].description,
         "inputSchema": {"type": "object", **tools[name].parameters}}
        for name in names[:PAGE]
    ]  # fmt: skip
    return {"tools": shown} | ({"nextCursor": names[PAGE - 1]} if len(names) > PAGE else {})


async def _call_tool(params: Params, owner: Person) -> dict[str, Any]:
    name, arguments = params.get("name"), params.get("arguments")
    arguments = {} if arguments is None else arguments
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise _Refused(INVALID_PARAMS, "name must be a text, and arguments an object")
    tools = await tools_for(owner.id)
    if name not in tools:
        raise _Refused(INVALID_PARAMS, unknown(name, tools))
    context = ToolContext(owner.id, correlation_id=owner.request_id)
    result = await use_tool(context, name, cast("Params", arguments))
    return {"content": [{"type": "text", "text": result.content}], "isError": result.is_error}


_METHODS: Mapping[str, Callable[[Params, Person], Awaitable[dict[str, Any]]]] = {
    "initialize": _initialize, "ping": _ping, "tools/list": _list_tools, "tools/call": _call_tool,
}  # fmt: skip
