"""The contract as a whole: every documented route is there, needs what it says, and answers with what it says."""

import csv
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.local.environment import Environment
from tests.support.gateway import Gateway, register
from tests.support.values import UNKNOWN

NO_V7 = "6d1c7f0e-93a4-4c0b-8a57-0f3c9f5d2b11"
INVALID = {"error": "Invalid or missing API key"}
OWN = {("GET", "/api/runs/{id}/log"), ("GET", "/ws"), ("GET", "/realtime")}
"""Routes that the document does not have: a run's log, and what says where the socket is."""


def documented() -> list[dict[str, str]]:
    """The routes of the document: method, path, auth (required, none, optional), status, keys."""
    lines = Path(__file__).with_name("routes.tsv").read_text().lstrip("#").splitlines()
    return list(csv.DictReader(lines, delimiter="\t"))


def protected() -> list[tuple[str, str]]:
    return [(route["method"], route["path"]) for route in documented() if route["auth"] == "required"]


def shape(path: str) -> str:
    return re.sub(r"\{\w+\}", "{id}", path)


@pytest.fixture(scope="module")
async def schema(http: httpx.AsyncClient) -> dict[str, Any]:
    return (await http.get("/gateway/openapi.json")).json()


async def test_the_app_has_the_documented_routes_and_no_others(schema: dict[str, Any]):
    served = {(method.upper(), shape(path)) for path, item in schema["paths"].items() for method in item}
    assert served == {(route["method"], route["path"]) for route in documented()} | OWN


async def test_the_page_of_the_api_opens(http: httpx.AsyncClient):
    answer = await http.get("/gateway/docs")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")


class TestAccess:
    @pytest.mark.parametrize(("method", "path"), protected())
    @pytest.mark.parametrize("header", [None, "Basic YTpi", "Bearer", "Bearer sk-nobody", "sk-nobody", "Bearer \xff"])
    async def test_without_a_valid_key_every_route_answers_401(
        self, http: httpx.AsyncClient, method: str, path: str, header: str | None
    ):
        headers = {} if header is None else {b"Authorization": header.encode("latin-1")}
        answer = await http.request(method, f"/gateway{path.replace('{id}', UNKNOWN)}", headers=headers, content=b"{")
        assert (answer.status_code, answer.json()) == (401, INVALID)

    async def test_with_a_revoked_key_every_route_answers_401(self, stack: Environment):
        gone = await register(stack)
        assert (await gone.http.delete(f"/gateway/api/clients/{gone.id}")).status_code == 200
        for method, path in protected():
            answer = await gone.http.request(method, f"/gateway{path.replace('{id}', UNKNOWN)}")
            assert (answer.status_code, answer.json()) == (401, INVALID), (method, path)
        await gone.http.aclose()

    async def test_the_key_may_stand_in_the_query(self, http: httpx.AsyncClient, gateway: Gateway):
        assert (await http.get("/gateway/api/models", params={"api_key": gateway.key})).status_code == 200
        assert (await http.get("/gateway/api/models", params={"api_key": "sk-x"})).status_code == 401

    async def test_a_wrong_header_counts_more_than_a_right_query(self, http: httpx.AsyncClient, gateway: Gateway):
        headers = {"Authorization": "Bearer sk-wrong"}
        answer = await http.get("/gateway/api/models", params={"api_key": gateway.key}, headers=headers)
        assert answer.status_code == 401

    async def test_a_key_in_the_query_is_in_no_log(self, http: httpx.AsyncClient, gateway: Gateway, stack: Environment):
        await http.get("/gateway/api/runs", params={"api_key": gateway.key, "limit": "x"})
        logs = [path.read_bytes() for path in (stack.state / "logs").glob("*.log")]
        assert logs
        assert not any(gateway.key.encode() in log for log in logs)


class TestErrors:
    @pytest.mark.parametrize("path", ["", "/", "/api", "/api/nothing", "/api/runs/a/b/c", "/API/nothing"])
    async def test_an_unknown_path_is_404_without_a_key_too(self, http: httpx.AsyncClient, path: str):
        answer = await http.get(f"/gateway{path}")
        assert (answer.status_code, answer.json()) == (404, {"error": "Resource not found"})

    @pytest.mark.parametrize(("method", "path"), [("PUT", "/api/runs"), ("POST", "/health"), ("DELETE", "/api/models")])
    async def test_an_unknown_method_of_a_known_path_is_404(self, gateway: Gateway, method: str, path: str):
        answer = await gateway.http.request(method, f"/gateway{path}")
        assert (answer.status_code, answer.json()) == (404, {"error": "Resource not found"})

    @pytest.mark.parametrize("name", ["clients", "runs", "artifacts", "alerts", "models"])
    @pytest.mark.parametrize("record_id", [UNKNOWN, NO_V7, "x", "a%20b", "%00", "%F0%9F%98%80", "x" * 2000])
    async def test_an_id_that_nobody_has_is_404(self, gateway: Gateway, name: str, record_id: str):
        answer = await gateway.http.get(f"/gateway/api/{name}/{record_id}")
        noun = {"artifacts": "Artifact", "alerts": "Alert", "clients": "Client", "runs": "Run", "models": "Model"}[name]
        assert (answer.status_code, answer.json()) == (404, {"error": f"{noun} not found"})

    @pytest.mark.parametrize("path", ["clients", "runs", "artifacts", "alerts"])
    @pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=x", "offset=-1", "limit=1.5", "cursor=x"])
    async def test_a_page_that_cannot_be_is_400(self, gateway: Gateway, path: str, query: str):
        answer = await gateway.http.get(f"/gateway/api/{path}?{query}")
        assert (answer.status_code, list(answer.json())) == (400, ["error"])

    @pytest.mark.parametrize("path", ["clients", "runs", "artifacts", "alerts"])
    async def test_a_page_of_any_size_is_cut_to_a_thousand(self, gateway: Gateway, path: str):
        answer = await gateway.http.get(f"/gateway/api/{path}?limit=100000&offset={10**30}")
        assert answer.status_code == 200
        assert answer.json()[path] == []


ODD = ["NaN", "Infinity", '"\\ud800"', "1e999", "1" * 500, '"\\u0000"', "[" * 900 + "]" * 900, '{"\\ud800": 1}']
"""JSON that Python reads, and that storage or a strict reader may not."""


class TestOddJson:
    @pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
    async def test_it_is_stored_as_it_is_or_refused(self, gateway: Gateway, odd: str):
        run = (await gateway.run("true"))["id"]
        form = {"Content-Type": "multipart/form-data; boundary=x"}
        part = '--x\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n{}\r\n'
        upload = part.format("file", '; filename="a"', "abc") + part.format("metadata", "", f'{{"a": {odd}}}') + "--x--"
        json = {"Content-Type": "application/json"}
        for method, path, headers, content in (
            ("POST", "runs", json, f'{{"prompt": "true", "model": "bash", "options": {{"a": {odd}}}}}'),
            ("POST", "runs", json, f'{{"prompt": {odd}, "model": "bash"}}'),
            ("PATCH", f"runs/{run}", json, f'{{"metadata": {{"a": {odd}}}}}'),
            ("PATCH", f"runs/{run}", json, f'{{"result": {odd}}}'),
            ("POST", f"runs/{run}/artifacts", form, upload),
            ("POST", "auth/login", json, f'{{"name": {odd}}}'),
            ("POST", "auth/verify", json, f'{{"api_key": {odd}}}'),
        ):
            url = f"/gateway/api/{path}"
            answer = await gateway.http.request(method, url, headers=headers, content=content.encode())
            assert answer.status_code in (200, 201, 400, 401), (method, path, answer.text[:300])
            answer.json()
        assert (await gateway.http.get(f"/gateway/api/runs/{run}/artifacts")).status_code == 200
        assert (await gateway.http.get(f"/gateway/api/runs/{run}")).status_code == 200
        assert (await gateway.http.get("/gateway/api/runs?limit=1000")).status_code == 200
