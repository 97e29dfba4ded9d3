"""Every documented route answers with its status and members; everything else in the shape of an error."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from functions.stepflow import api
from tests.support.stepflow import StepFlow, refused

LINES = Path(__file__).with_name("routes.tsv").read_text().splitlines()
ROUTES = [tuple(line.split("\t")) for line in LINES]


def test_the_table_and_the_application_have_the_same_routes():
    registered = {
        (method, route.path)  # pyright: ignore[reportAttributeAccessIssue]
        for route in api.routes
        for method in route.methods  # pyright: ignore[reportAttributeAccessIssue]
    }
    more = {("GET", "/ws"), ("GET", "/realtime"), ("GET", "/docs"), ("GET", "/docs/{name}"), ("GET", "/openapi.json")}
    assert registered - more == {(method, path) for method, path, _, _ in ROUTES}


@pytest.fixture(scope="module")
async def ids(stepflow: StepFlow) -> dict[str, str]:
    """An execution and its artifact."""
    found = await stepflow.run("echo x > f; echo ARTIFACT: f")
    return {"execution_id": found["execution"]["id"], "artifact_id": found["artifacts"][0]["id"]}


@pytest.mark.parametrize(("method", "path", "status", "members"), sorted(ROUTES), ids=lambda value: value[:40])
async def test_it_answers_as_documented(
    stepflow: StepFlow, ids: dict[str, str], method: str, path: str, status: str, members: str
):
    own = dict(ids)
    if method == "DELETE":
        found = await stepflow.run("echo x > f; echo ARTIFACT: f")
        own = {"execution_id": found["execution"]["id"], "artifact_id": found["artifacts"][0]["id"]}
    elif path.endswith("/cancel"):
        own["execution_id"] = await stepflow.create("sleep 60")
    body: dict[str, Any] = {}
    if (method, path) == ("POST", "/api/executions"):
        body = {"json": {"command": "true"}}
    elif (method, path) == ("POST", "/api/artifacts"):
        body = {"data": {"execution_id": ids["execution_id"], "name": "x"}, "files": {"file": ("a", b"b")}}
    answer = await stepflow.http.request(method, path.format(**own), **body)
    assert answer.status_code == int(status), answer.text
    if members == "-":
        assert answer.content == b"x\n"
        return
    envelope = answer.json()
    assert set(envelope) == {"success", "data", "error", "timestamp"}
    assert (envelope["success"], envelope["error"]) == (True, None)
    assert envelope["timestamp"].endswith("Z")
    assert set(members.split(",")) <= set(envelope["data"])


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", ""), ("GET", "/api"), ("GET", "/api/nothing"), ("PUT", "/api/executions"),
     ("POST", "/api/health"), ("PATCH", "/api/artifacts/x"), ("DELETE", "/api/executions")],
)  # fmt: skip
async def test_what_is_no_route_is_not_found_in_the_envelope(stepflow: StepFlow, method: str, path: str):
    refused(await stepflow.http.request(method, path), 404)


async def test_any_origin_may_call(stepflow: StepFlow):
    headers = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    preflight = await stepflow.http.request("OPTIONS", "/api/executions", headers=headers)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "*"
    answer = await stepflow.http.get("/api/executions", headers={"Origin": "https://example.org"})
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_its_openapi_page_names_every_route(stepflow: StepFlow):
    answer: httpx.Response = await stepflow.http.get("/openapi.json")
    paths = answer.json()["paths"]
    for method, path, status, _ in ROUTES:
        assert status in paths[path][method.lower()]["responses"]
    assert (await stepflow.http.get("/docs")).status_code == 200
