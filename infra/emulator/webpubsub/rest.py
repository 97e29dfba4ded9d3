"""The REST side: what the service's SDKs call to send, close, group and permit."""

import logging
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web
from multidict import MultiDict

from infra.emulator.webpubsub import tokens
from infra.emulator.webpubsub.filters import Filter, InvalidFilter
from infra.emulator.webpubsub.messages import Malformed, Message, Payload
from infra.emulator.webpubsub.service import SERVICE
from infra.emulator.webpubsub.state import Connection, Hub

log = logging.getLogger(__name__)

API_VERSION = "2024-12-01"
PAGE = 200
HUB = "{hub:[A-Za-z][A-Za-z0-9_`,.\\[\\]]{0,127}}"
PERMISSIONS = ("joinLeaveGroup", "sendToGroup")

Operation = Callable[[web.Request], Awaitable[web.Response]]


def problem(status: int, code: str, message: str) -> web.Response:
    """An error in the shape the SDKs read."""
    return web.json_response({"code": code, "message": message}, status=status)


def guarded(operation: Operation) -> Operation:
    """The operation behind the checks of version and token, with its errors as answers."""

    async def answer(request: web.Request) -> web.Response:
        service = request.app[SERVICE]
        token = service.token(request)
        try:
            if token is None:
                raise tokens.Refused("A bearer token is required")
            service.claims(token, request)
        except tokens.Refused as error:
            return problem(401, "Unauthorized", str(error))
        version = request.query.get("api-version")
        if version != API_VERSION:
            log.warning("501: api-version %s", version)
            return problem(501, "NotImplemented", f"api-version {version} is not implemented, only {API_VERSION}")
        try:
            return await operation(request)
        except (Malformed, InvalidFilter) as error:
            return problem(400, "BadRequest", str(error))

    return answer


async def unsupported(request: web.Request) -> web.Response:
    """Whatever the stand-in does not have fails loudly."""
    options = {name: value for name, value in request.query.items() if name != "access_token"}
    log.warning("501: %s %s %s", request.method, request.path, options)
    return problem(501, "NotImplemented", f"{request.method} {request.path} is not implemented by the stand-in")


def hub_of(request: web.Request) -> Hub:
    """The hub that the path names."""
    return request.app[SERVICE].hubs[request.match_info["hub"]]


def targets(request: web.Request) -> list[Connection]:
    """The connections that the path names: one, those of a group or user, or all of the hub."""
    hub, names = hub_of(request), request.match_info
    if "connection" in names:
        found: Iterable[Connection] = filter(None, [hub.connections.get(names["connection"])])
    elif "user" in names:
        found = hub.users.get(names["user"], {}).values()
    elif "group" in names:
        found = hub.groups.get(names["group"], {}).values()
    else:
        found = hub.connections.values()
    excluded = set(request.query.getall("excluded", []))
    return [connection for connection in found if connection.id not in excluded]


async def send(request: web.Request) -> web.Response:
    """POST …/:send — the body to every connection that the path, `excluded` and `filter` leave."""
    if request.query.get("messageTtlSeconds", "0") != "0":
        return await unsupported(request)  # a message does not grow old in the queue of a client
    message = Message(Payload.of_body(request.content_type, await request.read()))
    wanted = Filter.parse(request.query["filter"]) if "filter" in request.query else None
    for connection in targets(request):
        if wanted is None or wanted.matches(connection):
            connection.send(message)
    return web.Response(status=202)


async def close(request: web.Request) -> web.Response:
    """POST …/:closeConnections and DELETE of a connection."""
    for connection in targets(request):
        connection.close(request.query.get("reason", ""))
    return web.Response(status=204)


async def exists(request: web.Request) -> web.Response:
    """HEAD of a connection, group or user: 200 when it has a connection."""
    return web.Response(status=200 if targets(request) else 404)


async def list_members(request: web.Request) -> web.Response:
    """GET the connections of a group, in pages in the order of their ids."""
    size = min(_number(request, "maxpagesize") or PAGE, PAGE)
    top, after = _number(request, "top"), request.query.get("continuationToken", "")
    found = sorted((c for c in targets(request) if c.id > after), key=lambda c: c.id)
    page = found[: min(size, top or size)]
    body: dict[str, object] = {
        "value": [{"connectionId": c.id} | ({"userId": c.user_id} if c.user_id is not None else {}) for c in page]
    }
    left = top - len(page) if top else None
    if len(page) < len(found) and left != 0:
        query = MultiDict(request.query)
        query["continuationToken"] = page[-1].id
        if left:
            query["top"] = str(left)
        body["nextLink"] = str(request.url.with_query(query))
    return web.json_response(body)


def _number(request: web.Request, name: str) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise Malformed(f"{name} must be a whole number above 0")
    return int(text)


async def join(request: web.Request) -> web.Response:
    """PUT a connection, or all present connections of a user, into a group."""
    found = targets(request)
    if not found and "connection" in request.match_info:
        return problem(404, "NotFound", "There is no such connection")
    for connection in found:
        hub_of(request).join(connection, request.match_info["group"])
    return web.Response(status=200)


async def leave(request: web.Request) -> web.Response:
    """DELETE a connection, or all of a user, from a group, or from all groups where the path names none."""
    for connection in targets(request):
        group = request.match_info.get("group")
        for name in [group] if group is not None else list(connection.groups):
            hub_of(request).leave(connection, name)
    return web.Response(status=204)


async def permission(request: web.Request) -> web.Response:
    """PUT, DELETE or HEAD a permission of a connection, for the group `targetName` or for all."""
    name = request.match_info["permission"]
    if name not in PERMISSIONS:
        raise Malformed(f"{name} is not one of {', '.join(PERMISSIONS)}")
    group = request.query.get("targetName")
    role = f"webpubsub.{name}" + (f".{group}" if group is not None else "")
    connection = next(iter(targets(request)), None)
    match request.method:
        case "PUT" if connection is not None:
            connection.roles.add(role)
            return web.Response(status=200)
        case "DELETE":
            if connection is not None:
                connection.roles.discard(role)
            return web.Response(status=204)
        case "HEAD" if connection is not None:
            granted = role in connection.roles or (group is not None and connection.may(name, group))
            return web.Response(status=200 if granted else 404)
        case _:
            return problem(404, "NotFound", "There is no such connection")


async def generate_token(request: web.Request) -> web.Response:
    """POST :generateToken — a client token, for callers that have no key themselves."""
    service, query = request.app[SERVICE], request.query
    if query.get("clientType", "Default").lower() != "default":
        return await unsupported(request)
    token = tokens.client_token(
        f"http://{service.host}/client/hubs/{hub_of(request).name}",
        key=service.key,
        user_id=query.get("userId"),
        roles=query.getall("role", []),
        groups=query.getall("group", []),
        minutes=_number(request, "minutesToExpire") or 60,
    )
    return web.json_response({"token": token})


async def health(request: web.Request) -> web.Response:
    """HEAD /api/health."""
    return web.Response()


def routes() -> list[web.AbstractRouteDef]:
    """Every operation; the last route answers the rest with 501."""
    hub = f"/api/hubs/{HUB}"
    connection, group, user = "/connections/{connection}", "/groups/{group}", "/users/{user}"
    operations: list[tuple[str, str, Operation]] = [
        *(("POST", f"{scope}/:send", send) for scope in ("", connection, group, user)),
        *(("POST", f"{scope}/:closeConnections", close) for scope in ("", group, user)),
        ("DELETE", connection, close),
        *(("HEAD", scope, exists) for scope in (connection, group, user)),
        ("GET", f"{group}/connections", list_members),
        ("PUT", f"{group}{connection}", join),
        ("DELETE", f"{group}{connection}", leave),
        ("PUT", f"{user}{group}", join),
        ("DELETE", f"{user}{group}", leave),
        ("DELETE", f"{connection}/groups", leave),
        ("DELETE", f"{user}/groups", leave),
        *((method, "/permissions/{permission}" + connection, permission) for method in ("PUT", "DELETE", "HEAD")),
        ("POST", "/:generateToken", generate_token),
    ]
    return [
        web.head("/api/health", health),
        *(web.route(method, hub + path, guarded(operation)) for method, path, operation in operations),
        web.route("*", "/{path:.*}", unsupported),
    ]
