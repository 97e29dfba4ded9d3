"""The management API over HTTP, which the Durable client and the management URLs call."""

import asyncio
import base64
import json
import logging
import re
import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from infra.emulator.durable import views
from infra.emulator.durable.engine import Dispatcher, NotRunning
from infra.emulator.durable.links import BASE, management_urls
from infra.emulator.durable.parameters import TOKEN, RequestRefused, flag, json_body, patience, query, unquoted
from infra.emulator.durable.protocol import FINISHED, EntityCall, Instance

BAD_ID = re.compile(r"^@|[/\\#?\x00-\x1f\x7f-\x9f]")
NOT_FAILED = ("Pending", "Running", "Suspended", "Completed", "Terminated")
log = logging.getLogger(__name__)


class PythonJsonResponse(JSONResponse):
    """JSON as Python writes it, with NaN and single surrogates, because functions may return them."""

    def render(self, content: Any) -> bytes:
        """The body of the response."""
        return json.dumps(content).encode()


class ManagementApi:
    """Answers the requests below `BASE`."""

    def __init__(self, work: Dispatcher, base_url: str, hub: str):
        self._work, self._base_url, self._hub = work, base_url, hub

    async def answer(self, request: Request) -> Response:
        """The response to one request."""
        parts = request.scope["path"].removeprefix(BASE).rstrip("/").split("/")
        try:
            return await self._route(request, parts)
        except NotRunning:
            return PythonJsonResponse({"Message": "the durable engine is not running"}, 503)
        except RequestRefused as refused:
            body = {"Message": str(refused), "ExceptionMessage": str(refused)}
            return Response(status_code=404) if refused.status == 404 else PythonJsonResponse(body, refused.status)

    async def _route(self, request: Request, parts: list[str]) -> Response:
        match request.method, *parts:
            case "POST", "orchestrators", name:
                return await self._start(request, name, uuid.uuid4().hex)
            case "POST", "orchestrators", name, id:
                return await self._start(request, name, id)
            case "GET", "instances":
                return await self._list(request)
            case "GET", "instances", id:
                return await self._status(request, id)
            case "DELETE", "instances":
                return await self._purge(self._work.call(self._work.store.purge_found, query(request)))
            case "DELETE", "instances", id:
                return await self._purge(self._work.call(self._work.store.purge, id))
            case "POST", "instances", id, "raiseEvent", name:
                return await self._raise_event(request, id, name)
            case "POST", "instances", id, "restart":
                return await self._restart(request, id)
            case "POST", "instances", id, "rewind":
                return _changed(await self._work.call(self._work.store.rewind, id), NOT_FAILED)
            case "POST", "instances", id, ("terminate" | "suspend" | "resume") as operation:
                return await self._change(request, id, operation)
            case "POST", "entities", name, key:
                return await self._signal(request, name, key)
            case "GET", "entities":
                return await self._entities(request, "@")
            case "GET", "entities", name:
                return await self._entities(request, f"@{name.lower()}@")
            case "GET", "entities", name, key:
                state = await self._work.call(self._work.store.entity_state, f"@{name.lower()}@{key}")
                return (
                    Response(state, media_type="application/json") if state is not None else Response(status_code=404)
                )
        log.error("not supported by the durable engine: %s %s", request.method, request.scope["path"])
        raise RequestRefused(
            501, f"not supported by the local durable engine: {request.method} {request.scope['path']}"
        )

    async def _start(self, request: Request, name: str, id: str) -> Response:
        if not 0 < len(id) <= 100 or BAD_ID.search(id):
            raise RequestRefused(
                400, f"'{id}' is not an instance id: 1 to 100 characters, none of / \\ # ?, no leading @"
            )
        waits = patience(request)
        text, quoted = unquoted(await json_body(request))
        instance = Instance(id, name, text, request.query_params.get("version"), quoted_input=quoted)
        await self._begin(instance)
        return self._accepted(id) if waits is None else await self._wait(id, *waits)

    async def _begin(self, instance: Instance) -> None:
        if not self._work.known(instance.name):
            reason = "does not exist, is disabled, or is not an orchestrator function"
            raise RequestRefused(400, f"The function '{instance.name}' {reason}.")
        if not await self._work.call(self._work.store.start, instance):
            raise RequestRefused(409, f"An orchestration instance with the id '{instance.id}' is already running.")

    def _accepted(self, id: str) -> Response:
        links = management_urls(self._base_url, self._hub, id)
        return PythonJsonResponse(links, 202, {"Location": links["statusQueryGetUri"], "Retry-After": "10"})

    async def _wait(self, id: str, timeout: float, interval: float) -> Response:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            instance = await self._get(id)
            if instance.status == "Completed":
                return Response(instance.output, media_type="application/json")
            if instance.status in FINISHED:
                return PythonJsonResponse(
                    views.status(instance, input_too=True), 500 if instance.status == "Failed" else 200
                )
            if loop.time() >= deadline:
                return self._accepted(id)
            await asyncio.sleep(min(interval, max(0.0, deadline - loop.time())))

    async def _get(self, id: str) -> Instance:
        instance = await self._work.call(self._work.store.get, id)
        if instance is None:
            raise RequestRefused(404, f"no instance {id}")
        return instance

    async def _status(self, request: Request, id: str) -> Response:
        instance = await self._get(id)
        status = views.status(instance, flag(request, "showInput", default=True))
        if flag(request, "showHistory"):
            events = await self._work.call(self._work.store.history, id)
            status["historyEvents"] = views.history(instance, events, flag(request, "showHistoryOutput"))
        if instance.status not in FINISHED:
            location = management_urls(self._base_url, self._hub, id)["statusQueryGetUri"]
            return PythonJsonResponse(status, 202, {"Location": location, "Retry-After": "10"})
        failed = instance.status == "Failed" and flag(request, "returnInternalServerErrorOnFailure")
        return PythonJsonResponse(status, 500 if failed else 200)

    async def _list(self, request: Request) -> Response:
        wanted = query(request)
        found = await self._work.call(self._work.store.find, wanted)
        headers = {}
        if len(found) == wanted.top:
            headers[TOKEN] = base64.urlsafe_b64encode(f"{found[-1].created} {found[-1].id}".encode()).decode()
        input_too = flag(request, "showInput", default=True)
        return PythonJsonResponse([views.status(instance, input_too) for instance in found], headers=headers)

    async def _purge(self, work: Any) -> Response:
        if not (deleted := await work):
            raise RequestRefused(404, "no such finished instance")
        return PythonJsonResponse({"instancesDeleted": deleted})

    async def _raise_event(self, request: Request, id: str, name: str) -> Response:
        data = await json_body(request)
        return _changed(await self._work.call(self._work.store.raise_event, id, name, data or "null"), FINISHED)

    async def _change(self, request: Request, id: str, operation: str) -> Response:
        store = self._work.store
        if operation == "terminate":
            reason = request.query_params.get("reason", "")
            return _changed(await self._work.call(store.terminate, id, reason), FINISHED)
        return _changed(await self._work.call(store.suspend if operation == "suspend" else store.resume, id), FINISHED)

    async def _restart(self, request: Request, id: str) -> Response:
        old = await self._get(id)
        new_id = uuid.uuid4().hex if flag(request, "restartWithNewInstanceId", default=True) else id
        await self._begin(Instance(new_id, old.name, old.input, old.version, quoted_input=old.quoted_input))
        return self._accepted(new_id)

    async def _signal(self, request: Request, name: str, key: str) -> Response:
        body = await json_body(request)
        if body is not None and not isinstance(json.loads(body), str):
            body = json.dumps(body)
        call = EntityCall(f"@{name.lower()}@{key}", request.query_params.get("op", ""), body, None)
        await self._work.call(self._work.store.call_entity, call)
        return Response(status_code=202)

    async def _entities(self, request: Request, prefix: str) -> Response:
        rows = await self._work.call(self._work.store.entities, prefix)
        state_too = flag(request, "fetchState")
        found = []
        for id, state, updated in rows:
            _, name, key = id.split("@", 2)
            entry = {"entityId": {"name": name, "key": key}, "lastOperationTime": views.second(updated)}
            found.append({**entry, "state": json.loads(state)} if state_too else entry)
        return PythonJsonResponse(found)


def _changed(before: str | None, refused: tuple[str, ...]) -> Response:
    """The answer to a request that changes an instance: 404, 410 when its status `before` does not allow it, or 202."""
    return Response(status_code=404 if before is None else 410 if before in refused else 202)
