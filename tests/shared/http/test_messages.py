"""A message about a missing or wrong value names its place, whatever the value is called."""

from typing import Annotated, Any

import httpx
import pytest
from fastapi import Header, Query

from shared.http.api import Api
from shared.http.bodies import RequestBody
from shared.http.routes import router

routes = router("", "sample")


class Search(RequestBody):
    """Members with the names of places of a request."""

    path: str
    query: list[int] = []


@routes.post("/body")
async def body(body: Search) -> Search:
    return body


@routes.get("/query")
async def query(query: Annotated[str, Query()]) -> str:
    return query


@routes.get("/header")
async def header(header: Annotated[str, Header(alias="X-Header")]) -> str:
    return header


@routes.get("/path/{path}")
async def path(path: int) -> int:
    return path


api = Api("sample", "Sample", "1", [routes])


@pytest.mark.parametrize(
    ("method", "path", "given", "message"),
    [
        ("POST", "/body", {"json": {}}, "path: Field required"),
        ("POST", "/body", {"json": {"path": "a", "query": ["x"]}}, "query.0: Input should be a valid integer"),
        ("GET", "/query", {}, "query: Field required"),
        ("GET", "/header", {}, "X-Header: Field required"),
        ("GET", "/path/{path}", {}, "path: Input should be a valid integer"),
    ],
)
@pytest.mark.filterwarnings("ignore:The 'alias' attribute")  # as shared/http/bodies.py does in the app
async def test_the_message_names_the_place(method: str, path: str, given: dict[str, Any], message: str):
    (route,) = (each for each in api.own_routes if each.path == path)

    async def matched(scope: Any, receive: Any, send: Any) -> None:
        await api({**scope, "runyard.route": route, "runyard.values": {"path": "x"}}, receive, send)

    transport = httpx.ASGITransport(matched)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await client.request(method, path, **given)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(message)
