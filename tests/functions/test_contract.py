"""The contract of every API: the properties that all of its routes share.

An API is described by `routes.tsv` and `description.py` in its folder. What only one route does is tested there.
"""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from infra.local.environment import Environment
from shared.http import pages
from tests.support.contract import Description, DocumentedRoute, descriptions
from tests.support.values import UNKNOWN

APIS = descriptions()
PAGES = {(method, route.path) for route in pages.routes.routes for method in route.methods}  # type: ignore[attr-defined]
JSON = {"Content-Type": "application/json"}
ODD_IDS = ["6d1c7f0e-93a4-4c0b-8a57-0f3c9f5d2b11", "x", "a%20b", "..%2fx", "%00", "%F0%9F%98%80", "x" * 2000]
"""Ids without a record: of another version, of another form, or hard to store."""


def every_api() -> pytest.MarkDecorator:
    """Run a test for each API."""
    return pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)


def every_route(*auth: str, of: Any = lambda api, route: True) -> pytest.MarkDecorator:
    """Run a test for each documented HTTP route with this need of a credential that `of` selects."""
    chosen = [
        pytest.param(api, route, id=f"{api.name} {route}")
        for api in APIS
        for route in api.routes
        if route.method != "WS" and (not auth or route.auth in auth) and of(api, route)
    ]
    return pytest.mark.parametrize(("api", "route"), chosen)


def takes_a_body(api: Description, route: DocumentedRoute) -> bool:
    return "requestBody" in api.openapi["paths"].get(route.path, {}).get(route.method.lower(), {})


def example(api: Description, schema: dict[str, Any]) -> Any:
    """The example of a schema, as the page of an API shows it."""
    if "$ref" in schema:
        return example(api, api.openapi["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if "examples" in schema:
        return schema["examples"][0]
    return example(api, schema["anyOf"][0]) if "anyOf" in schema else schema["enum"][0]


def has_an_id(api: Description, route: DocumentedRoute) -> bool:
    return "{" in route.path and str(route) not in api.any_id


def url(api: Description, path: str, record_id: str = "") -> str:
    return f"/{api.name}{re.sub(r'{[a-z_]+}', record_id or api.unknown_id, path)}"


@pytest.fixture(scope="module")
async def callers(stack: Environment) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """A client with a valid credential of each API, by the API's name."""
    opened = {api.name: await api.open(stack) for api in APIS}
    yield opened
    for client in opened.values():
        await client.aclose()


class TestDescription:
    @every_api()
    def test_every_documented_route_is_registered_and_a_listed_few_beside_them(self, api: Description):
        registered = {(method, route.path_format) for route in api.api.own_routes for method in route.methods or ()}
        documented = {(route.method, route.path) for route in api.routes if route.method != "WS"}
        assert registered - documented == api.undocumented | PAGES - documented
        assert documented - registered == set()

    @every_api()
    async def test_openapi_names_every_documented_route_with_its_status(
        self, http: httpx.AsyncClient, api: Description
    ):
        described = (await http.get(f"/{api.name}/openapi.json")).json()
        assert described["servers"] == [{"url": f"/{api.name}"}]
        for route in api.routes:
            if route.method != "WS":
                assert str(route.status) in described["paths"][route.path][route.method.lower()]["responses"]
        assert all(path.startswith("/") and not path.startswith(f"/{api.name}") for path in described["paths"])

    @every_api()
    async def test_the_page_of_the_api_needs_no_other_server(self, http: httpx.AsyncClient, api: Description):
        page = await http.get(f"/{api.name}/docs")
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]+", page.text) == []
        assert "/openapi.json" in page.text

    @every_api()
    def test_every_parameter_shows_its_type_and_its_bounds(self, api: Description):
        parameters = [
            parameter["schema"] | {"name": parameter["name"]}
            for operations in api.openapi["paths"].values()
            for operation in operations.values()
            for parameter in operation.get("parameters", [])
        ]
        for schema in parameters:
            assert {"type", "$ref", "anyOf", "enum"} & set(schema), schema
            assert not {"ge", "gt", "le", "lt"} & set(schema), schema
        sizes = [schema for schema in parameters if schema["name"] in ("limit", "page", "pageSize")]
        assert {schema["minimum"] for schema in sizes} <= {0, 1}


class TestSuccess:
    @every_route()
    async def test_a_route_answers_with_its_status_and_keys(
        self, callers: dict[str, httpx.AsyncClient], api: Description, route: DocumentedRoute
    ):
        target = await api.url_for(route)
        answer = await callers[api.name].request(route.method, target, **api.body_for(route))
        assert answer.status_code == route.status, answer.text
        if route.keys:
            assert route.keys <= set(api.data_of(answer))
        else:
            assert bool(answer.content) is (route.status != 204)

    @every_route(of=takes_a_body)
    async def test_the_example_of_a_body_is_accepted_as_it_stands(
        self, callers: dict[str, httpx.AsyncClient], api: Description, route: DocumentedRoute
    ):
        described = api.openapi["paths"][route.path][route.method.lower()]["requestBody"]["content"]
        if form := described.get("multipart/form-data"):
            fields = form["schema"]["properties"]
            assert fields["file"]["format"] == "binary", "pages show a file chooser"
            texts = {name: example(api, field) for name, field in fields.items() if name != "file"}
            sent: dict[str, Any] = {"data": texts, "files": {"file": (api.file_name, b"x")}}
        else:
            sent = {"json": example(api, described["application/json"]["schema"])}
        answer = await callers[api.name].request(route.method, await api.url_for(route), **sent)
        # An example cannot name a record that exists, and two routes have the same new name as their example.
        expected = 404 if UNKNOWN in str(sent) else route.status
        assert answer.status_code == expected or answer.text in api.taken, answer.text

    @pytest.mark.parametrize(
        ("api", "path"),
        [pytest.param(api, route.path, id=f"{api.name} {route}") for api in APIS for route in api.routes
         if route.method == "WS"],
    )  # fmt: skip
    async def test_a_socket_opens_at_its_documented_path(self, stack: Environment, api: Description, path: str):
        async with connect(f"ws://127.0.0.1:{stack.ports['host']}/{api.name}{path}", proxy=None) as socket:
            assert socket.response and socket.response.status_code == 101

    @every_api()
    async def test_pages_of_this_machine_may_call(self, http: httpx.AsyncClient, api: Description):
        target = url(api, api.routes[0].path)
        origin = {"Origin": "http://localhost:3000"}
        asked = {**origin, "Access-Control-Request-Method": api.routes[0].method}
        preflight = await http.request("OPTIONS", target, headers=asked)
        answer = await http.request(api.routes[0].method, target, headers=origin)
        assert preflight.status_code == 200
        assert {each.headers["access-control-allow-origin"] for each in (preflight, answer)} == set(origin.values())


class TestCredential:
    """The body is malformed in each request, as a credential is judged first."""

    @every_route("required")
    async def test_a_protected_route_without_a_credential_is_401(
        self, http: httpx.AsyncClient, api: Description, route: DocumentedRoute
    ):
        api.refused(await http.request(route.method, url(api, route.path), content=b"{", headers=JSON), 401)

    @every_route("none", "optional")
    async def test_an_open_route_asks_for_no_credential(
        self, http: httpx.AsyncClient, api: Description, route: DocumentedRoute
    ):
        answer = await http.request(route.method, url(api, route.path), content=b"{", headers=JSON)
        assert answer.status_code != 401

    @every_route("required")
    async def test_a_protected_route_with_a_wrong_credential_is_401(
        self, http: httpx.AsyncClient, api: Description, route: DocumentedRoute
    ):
        headers = {**JSON, "Authorization": api.wrong_credentials[0]}
        api.refused(await http.request(route.method, url(api, route.path), content=b"{", headers=headers), 401)

    @pytest.mark.parametrize(
        ("api", "header"),
        [pytest.param(api, header, id=f"{api.name}-{header!a}") for api in APIS for header in api.wrong_credentials],
    )
    async def test_every_wrong_credential_is_401(self, http: httpx.AsyncClient, api: Description, header: str):
        route = next(route for route in api.routes if route.auth == "required")
        headers = {b"Authorization": header.encode("latin-1")}
        api.refused(await http.request(route.method, url(api, route.path), headers=headers), 401)


class TestRefusal:
    @every_route(of=takes_a_body)
    async def test_a_malformed_body_is_400(
        self, callers: dict[str, httpx.AsyncClient], api: Description, route: DocumentedRoute
    ):
        target = await api.url_for(route)
        api.refused(await callers[api.name].request(route.method, target, content=b"{", headers=JSON), 400)

    @every_route(of=has_an_id)
    async def test_an_unknown_id_is_404(
        self, callers: dict[str, httpx.AsyncClient], api: Description, route: DocumentedRoute
    ):
        target = url(api, route.path)
        api.refused(await callers[api.name].request(route.method, target, **api.body_for(route)), 404)

    @every_api()
    @pytest.mark.parametrize("record_id", ODD_IDS, ids=range(len(ODD_IDS)))
    async def test_an_odd_id_is_refused(self, callers: dict[str, httpx.AsyncClient], api: Description, record_id: str):
        route = next(route for route in api.routes if route.method == "GET" and has_an_id(api, route))
        api.refused(await callers[api.name].get(url(api, route.path, record_id)), api.odd_id)

    @every_api()
    @pytest.mark.parametrize("path", ["/api", "/api/nothing", "/API/nothing", "/api/a/b/c/d"])
    async def test_an_unknown_path_is_404_without_a_credential_too(
        self, http: httpx.AsyncClient, api: Description, path: str
    ):
        api.refused(await http.get(f"/{api.name}{path}"), 404)

    @pytest.mark.parametrize(
        ("api", "path"),
        [pytest.param(api, path, id=f"{api.name} {path}") for api in APIS
         for path in sorted({route.path for route in api.routes})],
    )  # fmt: skip
    async def test_a_method_that_no_route_has_is_refused(
        self, callers: dict[str, httpx.AsyncClient], api: Description, path: str
    ):
        own = {route.method for route in api.routes if route.path == path}
        at = path.replace("{", "").replace("}", "")
        taken = {
            route.method for route in api.routes if re.fullmatch(re.sub(r"{[a-z_]+}", "[^/]+", route.path), at)
        }  # also with this word as an id
        left = [method for method in ("PUT", "PATCH", "DELETE", "POST") if method not in own]
        method = next((method for method in left if method not in taken), left[0])
        api.refused(await callers[api.name].request(method, url(api, path)), api.unknown_method)
