"""Generated requests, and odd headers, forms and socket frames, for every API; none may be answered with 5xx."""

import asyncio
import functools
import random
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from infra.local.environment import Environment
from tests.support.contract import Description, descriptions
from tests.support.values import UNKNOWN

APIS = {api.name: api for api in descriptions()}


def success_is_declared(ctx: Any, response: Any, case: Case) -> None:
    """A check: `default` describes refusals only, so every other status has a description of its own."""
    described = case.operation.definition.raw["responses"]
    assert response.status_code >= 400 or str(response.status_code) in described, response.status_code


CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
    success_is_declared,
]  # fmt: skip
MOST = 40
"""Operations of one API that the suite drives; of a larger API, these are a sample, and a campaign drives all."""


@functools.cache
def operations_of(api: Description) -> dict[str, tuple[Description, Any]]:
    """All operations of an API by their names."""
    return {
        f"{api.name} {found.ok().label}": (api, found.ok())
        for found in schemathesis.openapi.from_dict(api.openapi).get_all_operations()
        if isinstance(found, Ok)
    }


def _sample(api: Description) -> dict[str, tuple[Description, Any]]:
    found = operations_of(api)
    # The same ones each time: a failure that comes and goes would not be looked into.
    names = found if len(found) <= MOST else random.Random(api.name).sample(sorted(found), MOST)
    return {name: found[name] for name in names}


OPERATIONS = {name: operation for api in APIS.values() for name, operation in _sample(api).items()}
UPLOADING = {name: api for name, api in APIS.items() if "multipart/form-data" in str(api.openapi["paths"])}
"""The APIs that take files."""

HARMFUL = {"gateway DELETE /api/alerts/clear": {"run_id": "unknown"}}
"""What a generated query must contain so that the records of other tests stay."""


async def credentials(stack: Environment) -> dict[str, httpx.Headers]:
    """The headers that show a valid credential, by the API's name."""
    opened = {name: await api.open(stack) for name, api in APIS.items()}
    for client in opened.values():
        await client.aclose()
    return {name: client.headers for name, client in opened.items()}


def drive(
    operation: str, stack: Environment, callers: dict[str, httpx.Headers], *, examples: int, number: int | None = None
) -> None:
    """Send generated requests to one operation: the same each time or, with a number, those that follow from it."""
    api, described = OPERATIONS.get(operation) or operations_of(APIS[operation.partition(" ")[0]])[operation]
    headers = {"Authorization": callers[api.name]["authorization"]} if "authorization" in callers[api.name] else {}

    @given(case=described.as_strategy())
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=number is None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
    def send(case: Case) -> None:
        if operation in HARMFUL:
            case.query = {**(case.query or {}), **HARMFUL[operation]}
        case.call_and_validate(base_url=f"{stack.url}/{api.name}", checks=CHECKS, headers=headers, timeout=30)

    (send if number is None else seed(number)(send))()


ODD_VALUES = [
    b"", b"\xff\xfe", b"x" * 6000, "é\u202e".encode(), b'"', b"W/", b"*, *", b"-1", b"0-0,1-", b"bytes=9-1",
    b"bytes=" + b"9" * 400, b"multipart/form-data", b"multipart/form-data; boundary=" + b"b" * 300,
    b"multipart/form-data; boundary=\xff", b"application/json; charset=nonsense", b"application/json, text/plain",
]  # fmt: skip
HEADERS = [
    "Accept", "Authorization", "Content-Type", "Cookie", "Idempotency-Key", "If-Match", "If-None-Match", "If-Range",
    "Origin", "Range", "traceparent", "tracestate", "X-Request-ID", "X-API-Key",
]  # fmt: skip


async def send_odd_values(name: str, stack: Environment, callers: dict[str, httpx.Headers], *, share: int) -> None:
    """Send a header to each route with one of `share` odd values, each time other ones; together they get all."""
    async with httpx.AsyncClient(base_url=stack.url, trust_env=False, timeout=60) as http:
        for place, (api, operation) in enumerate(OPERATIONS.values()):
            if len(api.routes) > MOST and place % 4:  # what reads headers is the same code for all routes
                continue
            if operation.method.upper() not in ("GET", "POST") or "cleanup" in operation.path:
                continue
            path = f"/{api.name}{operation.path}".replace("{", "").replace("}", "")
            for value in ODD_VALUES[place % share :: share]:
                own = [
                    (k.encode(), v.encode()) for k, v in callers[api.name].multi_items() if k.lower() != name.lower()
                ]
                answer = await http.request(
                    operation.method, path, headers=[*own, (name.encode(), value)], content=b"{}"
                )  # fmt: skip
                assert answer.status_code < 500, (operation.label, value, answer.text)


FORM = '--x\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n{}\r\n'
FILE = FORM.format("file", '; filename="a"', "abc")
ODD_FORMS = [
    "", "--x--", "--x\r\n", FILE, FILE + "--x", FILE + "--x--", FILE.replace("abc", "") + "--x--", FILE * 2 + "--x--",
    FILE.replace('"a"', '"' + "../" * 500 + '"') + "--x--", FILE.replace('"a"', '"\udcff\x00/\\"') + "--x--",
    FILE.replace("\r\n\r\n", "\r\nContent-Type: \udcff;;\r\n\r\n") + "--x--",
    FILE.replace('name="file"', "name") + "--x--",
]  # fmt: skip
FIELDS = ["tags", "metadata", "name", "execution_id", "step_id", "artifact_type", "description", "\udcff"]
ODD_TEXTS = ['["\\ud800"]', '{"a": "\\ud800"}', "\udcff", "[" * 5000, "NaN", UNKNOWN, "\x00", '{"a": 1e999}']


async def send_odd_forms(
    api: Description, stack: Environment, callers: dict[str, httpx.Headers], *, share: int
) -> None:
    """Send to each upload all odd forms, and each field with one of `share` odd texts, each time other ones."""
    forms = list(ODD_FORMS)
    for place, field in enumerate(FIELDS):
        forms += [FILE + FORM.format(field, "", text) + "--x--" for text in ODD_TEXTS[place % share :: share]]
    headers = {**callers[api.name], "Content-Type": "multipart/form-data; boundary=x"}
    uploads = [
        route for route in api.routes if route.method == "POST" and "multipart/form-data" in str(body_of(api, route))
    ]
    async with httpx.AsyncClient(base_url=stack.url, headers=headers, trust_env=False, timeout=60) as http:
        for route in uploads:
            path = f"/{api.name}{route.path}"
            if "{" in path:
                path = path.replace(path[path.index("{") : path.index("}") + 1], await api.id_for(route))
            for form in forms:
                answer = await http.post(path, content=form.encode("utf-8", "surrogateescape"))
                assert answer.status_code < 500, (form[:200], answer.text)


def body_of(api: Description, route: Any) -> Any:
    return api.openapi["paths"].get(route.path, {}).get("post", {}).get("requestBody")


ODD_FRAMES: list[str | bytes] = [
    "", "{", "[]", "null", "NaN", "[" * 5000, '{"type": 1e999}', '{"type": "\\ud800"}', b"\xff\xfe", "x" * 100_000,
]  # fmt: skip
FRAME = '{{"type": "{0}", "execution_id": {1}, "data": {1}, "api_key": {1}}}'
KINDS = ["auth", "subscribe", "unsubscribe", "get_status", "ping", "connect"]
ODD_JSON = ['"\\ud800"', '"\\u0000"', "[]", "null", '"a b/é"', "1e999", '"' + "x" * 5000 + '"']
SOCKETS = ["/gateway/ws", "/stepflow/ws", "/ownpilot/ws"]


async def send_odd_frames(path: str, stack: Environment, *, share: int) -> None:
    """Send all odd frames, and each kind of message with one of `share` odd values, each time other ones."""
    frames = list(ODD_FRAMES)
    for place, kind in enumerate(KINDS):
        frames += [FRAME.format(kind, value) for value in ODD_JSON[place % share :: share]]
    address = f"ws://127.0.0.1:{stack.ports['host']}{path}"
    log = stack.state / "logs/host.log"
    before = log.stat().st_size
    for frame in frames:
        async with connect(address, proxy=None) as socket:
            await socket.send(frame)
            try:
                async with asyncio.timeout(30):
                    await socket.send('{"type": "ping"}')
                    while "pong" not in str(await socket.recv()):
                        pass
            except ConnectionClosed as error:  # the gateway closes a socket that does not begin with its key
                assert (path, error.rcvd and error.rcvd.code) == ("/gateway/ws", 1000), frame
    with log.open("rb") as lines:
        lines.seek(before)
        assert b"Traceback" not in lines.read()
