"""The management API over HTTP: routes (their paths ignore case), parsing and answers; 501 for all other requests."""

import asyncio
import base64
import hmac
import json
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Any

from aiohttp import web

from infra.emulator.containers import logs, shares
from infra.emulator.containers.bodies import TYPE, ArmError, Json, invalid, not_found, not_implemented
from infra.emulator.containers.operations import ContainerGroups
from infra.emulator.containers.state import ContainerGroup
from infra.emulator.origins import Origins

log = logging.getLogger(__name__)

SUBSCRIPTION = "/subscriptions/{subscription}"
RESOURCE_GROUP = SUBSCRIPTION + "/resourceGroups/{resource_group}"
PROVIDER = "/providers/Microsoft.ContainerInstance"
GROUP = RESOURCE_GROUP + PROVIDER + "/containerGroups/{name}"
LOCATION = SUBSCRIPTION + PROVIDER + "/locations/{location}"
ACCOUNT = RESOURCE_GROUP + "/providers/Microsoft.Storage/storageAccounts/{account}"
SHARES = ACCOUNT + "/fileServices/default/shares"

POLL = {"x-ms-retry-after-ms": "50"}
"""The poll interval of long-running operations; the service's half minute would be long for a local machine."""

Handler = Callable[["ArmApi", web.Request, dict[str, str]], Awaitable[web.StreamResponse]]
ROUTES: list[tuple[str, re.Pattern[str], Handler]] = []


def route(method: str, template: str) -> Callable[[Handler], Handler]:
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template)

    def register(handler: Handler) -> Handler:
        ROUTES.append((method, re.compile(pattern + "/?", re.IGNORECASE), handler))
        return handler

    return register


class ArmApi:
    """Answers every request with this bearer token from the container groups of one service."""

    def __init__(self, service: ContainerGroups, token: str, origins: Origins):
        self.service, self._token, self._origins = service, token, origins

    async def dispatch(self, request: web.Request) -> web.StreamResponse:
        """Answer a request; errors have the shape of the service."""
        try:
            self.admit(request)
            return await self.answer(request)
        except web.HTTPException:
            raise
        except ArmError as refused:
            error = refused
        except Exception as broken:
            log.exception("%s %s", request.method, request.path)
            error = ArmError(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalServerError", str(broken))
        level = logging.INFO if error.status < HTTPStatus.INTERNAL_SERVER_ERROR else logging.WARNING
        log.log(level, "%d %s %s: %s", error.status, request.method, request.path, error.message)
        headers = {"x-ms-error-code": error.code}
        if error.retry_after is not None:
            headers["Retry-After"] = str(error.retry_after)
        return web.json_response(error.body, status=error.status, headers=headers)

    def admit(self, request: web.Request) -> None:
        """Check where a request comes from, and its token. Raises ArmError."""
        headers = request.headers
        if refused := self._origins.refusal(headers.get("Host"), headers.get("Origin"), for_pages=False):
            raise ArmError(HTTPStatus(refused[0]), "AuthorizationFailed", refused[1].strip())
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(errors="replace"), self._token.encode()):
            message = "Authentication failed. The 'Authorization' header is missing or holds another token."
            raise ArmError(HTTPStatus.UNAUTHORIZED, "AuthenticationFailed", message)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        for method, pattern, handler in ROUTES:
            if method == request.method and (match := pattern.fullmatch(request.path)):
                if request.path.startswith("/subscriptions") and "api-version" not in request.query:
                    raise invalid("MissingApiVersionParameter", "The api-version query parameter is required.")
                return await handler(self, request, match.groupdict())
        raise not_implemented(f"The operation {request.method} {request.path}")

    def found(self, path: dict[str, str]) -> ContainerGroup:
        return self.service.find(path["subscription"], path["resource_group"], path["name"])

    @route("PUT", GROUP)
    async def create_group(self, request: web.Request, path: dict[str, str]) -> web.Response:
        body = await json_body(request)
        group, new = self.service.create(path["subscription"], path["resource_group"], path["name"], body)
        return web.json_response(group.view(), status=201 if new else 200, headers=operation(request, group))

    @route("GET", GROUP)
    async def get_group(self, request: web.Request, path: dict[str, str]) -> web.Response:
        return web.json_response(self.found(path).view())

    @route("PATCH", GROUP)
    async def update_group(self, request: web.Request, path: dict[str, str]) -> web.Response:
        tags = (await json_body(request)).get("tags") or {}
        group = self.found(path)
        self.service.tag(group, tags)
        return web.json_response(group.view())

    @route("DELETE", GROUP)
    async def delete_group(self, request: web.Request, path: dict[str, str]) -> web.Response:
        try:
            group = self.found(path)
        except ArmError:
            return web.Response(status=204)
        removal = self.service.delete(group)
        if not group.pending and not group.alive:
            view = group.view()
            await removal
            return web.json_response(view)
        headers = {"Location": operation_url(request, group, "operationResults"), **POLL}
        return web.json_response(group.view(), status=202, headers=headers)

    @route("GET", SUBSCRIPTION + PROVIDER + "/containerGroups")
    @route("GET", RESOURCE_GROUP + PROVIDER + "/containerGroups")
    async def list_groups(self, request: web.Request, path: dict[str, str]) -> web.Response:
        groups = self.service.select(path["subscription"], path.get("resource_group"))
        return web.json_response({"value": [group.view(instance=False) for group in groups]})

    @route("POST", GROUP + "/start")
    async def start_group(self, request: web.Request, path: dict[str, str]) -> web.Response:
        group = self.found(path)
        if group.wanted == "running" and (group.pending or group.alive):
            return web.Response(status=204)
        self.service.check_steady(group)
        self.service.launch(group)
        return web.Response(status=202, headers=operation(request, group))

    @route("POST", GROUP + "/restart")
    async def restart_group(self, request: web.Request, path: dict[str, str]) -> web.Response:
        group = self.found(path)
        self.service.check_steady(group)
        self.service.launch(group)
        return web.Response(status=204, headers=operation(request, group))

    @route("POST", GROUP + "/stop")
    async def stop_group(self, request: web.Request, path: dict[str, str]) -> web.Response:
        await self.service.stop(self.found(path))
        return web.Response(status=204)

    @route("GET", GROUP + "/containers/{container}/logs")
    async def list_logs(self, request: web.Request, path: dict[str, str]) -> web.Response:
        group = self.found(path)
        if path["container"] not in [one["name"] for one in self.service.containers(group.body)]:
            raise not_found(f"{TYPE}/containers", path["container"], path["resource_group"])
        tail = request.query.get("tail")
        if tail is not None and not tail.isdigit():
            raise invalid("InvalidTail", f"The tail '{tail}' is not a number of lines.")
        content = await asyncio.to_thread(
            logs.read,
            str(group.folder / "logs" / path["container"]),
            tail=int(tail) if tail else None,
            timestamps=request.query.get("timestamps", "").lower() == "true",
        )
        return web.json_response({"content": content})

    @route("GET", LOCATION + "/usages")
    async def list_usage(self, request: web.Request, path: dict[str, str]) -> web.Response:
        used = sum(
            group.body["location"] == path["location"].lower() for group in self.service.select(path["subscription"])
        )
        name = {"value": "ContainerGroups", "localizedValue": "Container Groups"}
        limit = self.service.limits.groups
        return web.json_response({"value": [{"unit": "Count", "currentValue": used, "limit": limit, "name": name}]})

    @route("GET", LOCATION + "/operations/{token}")
    async def get_operation(self, request: web.Request, path: dict[str, str]) -> web.Response:
        """The state of a create, start or restart operation, which is the state of its group."""
        group = self.service.find(path["subscription"], *from_token(path["token"]))
        state = group.provisioning_state(group.status())
        body: Json = {"id": request.path, "status": state, "properties": {"events": group.failure}}
        if group.failure:
            body["error"] = {"code": "Failed", "message": group.failure[0]["message"]}
        return web.json_response(body, headers=POLL)

    @route("GET", LOCATION + "/operationResults/{token}")
    async def get_deletion(self, request: web.Request, path: dict[str, str]) -> web.Response:
        """202 while the group exists, then 204."""
        try:
            self.service.find(path["subscription"], *from_token(path["token"]))
        except ArmError:
            return web.Response(status=204)
        return web.Response(status=202, headers={"Location": str(request.url), **POLL})

    @route("POST", ACCOUNT + "/listKeys")
    async def list_keys(self, request: web.Request, path: dict[str, str]) -> web.Response:
        return web.json_response({"keys": self.service.shares.keys(path["account"])})

    @route("PUT", SHARES + "/{share}")
    async def create_share(self, request: web.Request, path: dict[str, str]) -> web.Response:
        properties = (await json_body(request)).get("properties") or {}
        new = self.service.shares.create(path["account"], path["share"], properties)
        return web.json_response(self.share(path, path["share"]), status=201 if new else 200)

    @route("GET", SHARES + "/{share}")
    async def get_share(self, request: web.Request, path: dict[str, str]) -> web.Response:
        return web.json_response(self.share(path, path["share"]))

    @route("GET", SHARES)
    async def list_shares(self, request: web.Request, path: dict[str, str]) -> web.Response:
        if unknown := sorted(request.query.keys() - {"api-version"}):
            raise not_implemented(f"The parameter {', '.join(unknown)} of the list of shares")
        names = self.service.shares.names(path["account"])
        return web.json_response({"value": [self.share(path, name) for name in names]})

    @route("DELETE", SHARES + "/{share}")
    async def delete_share(self, request: web.Request, path: dict[str, str]) -> web.Response:
        existed = await asyncio.to_thread(self.service.shares.delete, path["account"], path["share"])
        return web.Response(status=200 if existed else 204)

    def share(self, path: dict[str, str], name: str) -> Json:
        properties = self.service.shares.properties(path["account"], name, path["resource_group"])
        kind, version = shares.TYPE, shares.etag(properties)
        identity = SHARES.format(**path) + f"/{name}"
        return {"id": identity, "name": name, "type": kind, "etag": version, "properties": properties}

    @route("PUT", "/local/limits")
    async def set_limits(self, request: web.Request, path: dict[str, str]) -> web.Response:
        """Not an operation of the service. Changes the members of `RegionLimits` that the body has; returns all."""
        body = await json_body(request)
        limits = self.service.limits
        if unknown := sorted(body.keys() - vars(limits).keys()):
            raise invalid("UnknownLimit", f"There is no limit {', '.join(unknown)}.")
        vars(limits).update(body)
        self.service.creations.clear()
        return web.json_response(vars(limits))


async def json_body(request: web.Request) -> Any:
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise invalid("InvalidRequestContent", "The request content was invalid and could not be deserialized.")
    return body


def operation(request: web.Request, group: ContainerGroup) -> dict[str, str]:
    return {"Azure-AsyncOperation": operation_url(request, group, "operations"), **POLL}


def operation_url(request: web.Request, group: ContainerGroup, kind: str) -> str:
    """The URL to poll. It names the group, so that it stays valid after a restart of this process."""
    token = base64.urlsafe_b64encode(json.dumps([group.resource_group, group.name]).encode()).decode()
    path = LOCATION.format(subscription=group.subscription, location=group.body["location"])
    return f"{request.url.origin()}{path}/{kind}/{token}?api-version={request.query['api-version']}"


def from_token(token: str) -> tuple[str, str]:
    try:
        resource_group, name = json.loads(base64.urlsafe_b64decode(token))
    except ValueError:
        raise ArmError(HTTPStatus.NOT_FOUND, "OperationNotFound", f"There is no operation '{token}'.") from None
    return resource_group, name


def application(service: ContainerGroups, token: str, origins: Origins) -> web.Application:
    """The web application of one service; containers are continued at its start and ended at its end."""

    async def life(app: web.Application) -> AsyncIterator[None]:
        await service.open()
        yield
        await service.close()

    app = web.Application(client_max_size=4 * 1024 * 1024)
    app.cleanup_ctx.append(life)
    app.router.add_route("*", "/{path:.*}", ArmApi(service, token, origins).dispatch)
    return app
