"""What REST requests do to the connections of a hub: send, close, group, permit, count and issue tokens."""

from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web
from multidict import MultiDict

from infra.emulator.webpubsub import tokens
from infra.emulator.webpubsub.filters import Filter
from infra.emulator.webpubsub.messages import Malformed, OutgoingMessage, Payload
from infra.emulator.webpubsub.service import SERVICE
from infra.emulator.webpubsub.state import Hub, HubConnection

PAGE = 200
PERMISSIONS = ("joinLeaveGroup", "sendToGroup")

RestOperation = Callable[[web.Request], Awaitable[web.Response]]


class RestError(Exception):
    """The request fails with this HTTP status, error code of the service, and message."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status, self.code = status, code


class NotSupported(Exception):
    """The emulator does not have this operation, or not with these options: the answer is 501."""


def hub_of(request: web.Request) -> Hub:
    """The hub that the path names."""
    return request.app[SERVICE].hubs[request.match_info["hub"]]


def targets(request: web.Request) -> list[HubConnection]:
    """The connections that the path names: one, those of a group or user, or all of the hub."""
    hub, names = hub_of(request), request.match_info
    if "connection" in names:
        found: Iterable[HubConnection] = filter(None, [hub.connections.get(names["connection"])])
    elif "user" in names:
        found = hub.users.get(names["user"], {}).values()
    elif "group" in names:
        found = hub.groups.get(names["group"], {}).values()
    else:
        found = hub.connections.values()
    excluded = set(request.query.getall("excluded", []))
    return [connection for connection in found if connection.id not in excluded]


async def send(request: web.Request) -> web.Response:
    """POST …/:send: the body to every connection that the path names and `excluded` and `filter` let pass."""
    if request.query.get("messageTtlSeconds", "0") != "0":
        raise NotSupported  # messages in the queue of a client do not expire
    message = OutgoingMessage(Payload.of_body(request.content_type, await request.read()))
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
    """GET the connections of a group, in pages, ordered by id."""
    size = min(_positive(request, "maxpagesize") or PAGE, PAGE)
    top, after = _positive(request, "top"), request.query.get("continuationToken", "")
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


def _positive(request: web.Request, name: str) -> int | None:
    """A query parameter that must be a whole number above 0; None when it is not given."""
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
        raise _no_connection()
    for connection in found:
        hub_of(request).join(connection, request.match_info["group"])
    return web.Response(status=200)


async def leave(request: web.Request) -> web.Response:
    """DELETE a connection, or all of a user, from one group, or from all groups when the path names none."""
    for connection in targets(request):
        group = request.match_info.get("group")
        for name in [group] if group is not None else list(connection.groups):
            hub_of(request).leave(connection, name)
    return web.Response(status=204)


async def permission(request: web.Request) -> web.Response:
    """PUT, DELETE or HEAD a permission of a connection, for the group `targetName` or for all groups."""
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
            raise _no_connection()


async def generate_token(request: web.Request) -> web.Response:
    """POST :generateToken: a client token, for callers that do not hold the access key."""
    service, query = request.app[SERVICE], request.query
    if query.get("clientType", "Default").lower() != "default":
        raise NotSupported
    token = tokens.client_token(
        f"http://{service.host}/client/hubs/{hub_of(request).name}",
        key=service.key,
        user_id=query.get("userId"),
        roles=query.getall("role", []),
        groups=query.getall("group", []),
        minutes=_positive(request, "minutesToExpire") or 60,
    )
    return web.json_response({"token": token})


def _no_connection() -> RestError:
    return RestError(404, "NotFound", "There is no such connection")
