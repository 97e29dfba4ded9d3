"""What needs no credential, and what all routes of this API share: errors, other methods, other origins, the limit."""

import asyncio
from collections import Counter

import httpx
import pytest

from tests.support.anymind import BASE, Anymind, refused
from tests.support.environments import StrictHost


async def test_health_and_root_say_that_the_api_responds(http: httpx.AsyncClient):
    answer = await http.get("/anymind/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "healthy"})
    for path in ("/anymind", "/anymind/"):
        answer = await http.get(path)
        assert (answer.status_code, answer.json()) == (200, {"message": "Agent Management API", "version": "1.0.0"})


@pytest.mark.parametrize("path", ["/nothing", "/api/v1/nothing", "/api/v2/agents", "/api/v1/agents/1/nothing"])
async def test_an_unknown_path_is_404(http: httpx.AsyncClient, path: str):
    assert refused(await http.get(f"/anymind{path}"), 404) == "Not Found"


async def test_another_method_is_405(http: httpx.AsyncClient):
    answer = await http.put(f"{BASE}/agents")
    assert refused(answer, 405) == "Method Not Allowed"
    assert answer.headers["allow"] == "GET, POST"


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://localhost:8000"])
async def test_the_two_documented_origins_may_send_credentials(http: httpx.AsyncClient, origin: str):
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "DELETE",
        "Access-Control-Request-Headers": "authorization,content-type,x-own",
    }
    preflight = await http.options(f"{BASE}/agents/1", headers=asked)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == origin
    assert preflight.headers["access-control-allow-credentials"] == "true"
    assert "DELETE" in preflight.headers["access-control-allow-methods"]
    assert "x-own" in preflight.headers["access-control-allow-headers"]
    answer = await http.get(f"{BASE}/agents", headers={"Origin": origin})
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == origin


async def test_another_page_of_this_machine_may_not(http: httpx.AsyncClient):
    asked = {"Origin": "http://localhost:4000", "Access-Control-Request-Method": "GET"}
    assert (await http.options(f"{BASE}/agents", headers=asked)).status_code == 400
    answer = await http.get("/anymind/health", headers={"Origin": "http://localhost:4000"})
    assert "access-control-allow-origin" not in answer.headers


async def test_a_caller_has_so_many_requests_a_minute(anymind: Anymind, strict_host: StrictHost):
    """The key and the token of a user are one caller; other callers have their own requests."""
    sent = [strict_host.http.get(f"{BASE}/agents", headers=anymind.by_key) for _ in range(10)]
    sent += [strict_host.http.get(f"{BASE}/auth/me", headers=anymind.bearer) for _ in range(15)]
    answers = await asyncio.gather(*sent)
    assert Counter(answer.status_code for answer in answers) == {200: 20, 429: 5}
    answer = await strict_host.http.get(f"{BASE}/agents", headers=anymind.by_key)
    assert refused(answer, 429) == "Rate limit exceeded"
    assert int(answer.headers["retry-after"]) > 0
    refused(await strict_host.http.get(f"{BASE}/agents"), 401)
    assert (await strict_host.http.get("/anymind/health", headers=anymind.by_key)).status_code == 200
