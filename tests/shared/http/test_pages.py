"""The pages of an API."""

import asyncio
import threading
import time
from typing import Any

import pytest
from fastapi.routing import APIRoute

from shared.http.api import Api
from shared.http.routes import Route, router


def test_an_api_with_a_route_at_its_base_has_no_page_there():
    routes = router("", "home")

    @routes.get("/")
    async def own() -> dict[str, str]:
        return {}

    paths = {route.path: route.name for route in Api("sample", "Sample", "1", [routes]).own_routes}
    assert paths["/"] == "own"
    assert {"/docs", "/docs/{name}", "/openapi.json"} <= set(paths)


async def test_the_description_is_built_once_and_beside_other_requests(monkeypatch: pytest.MonkeyPatch):
    threads: list[threading.Thread] = []

    def built(api: Api) -> dict[str, Any]:
        threads.append(threading.current_thread())
        time.sleep(0.05)
        return {"openapi": "3.1.0"}

    monkeypatch.setattr(Api, "openapi", built)
    api = Api("sample", "Sample", "1", [])
    answers = await asyncio.gather(*(api.description_json() for _ in range(3)))
    assert [*answers, await api.description_json()] == [b'{"openapi":"3.1.0"}'] * 4
    assert len(threads) == 1 and threads[0] is not threading.main_thread()


async def test_a_route_can_be_called_while_its_description_is_built(monkeypatch: pytest.MonkeyPatch):
    async def own() -> dict[str, str]:
        return {}

    begun, analyse = threading.Event(), APIRoute.__init__

    def slowly(route: APIRoute, *given: Any, **options: Any) -> None:
        begun.set()
        time.sleep(0.05)
        analyse(route, *given, **options)

    monkeypatch.setattr(APIRoute, "__init__", slowly)
    route = Route("/", own)
    describing = asyncio.create_task(asyncio.to_thread(lambda: route.dependant))
    await asyncio.to_thread(begun.wait)
    assert callable(route.app)
    await describing
