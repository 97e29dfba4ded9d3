"""API keys: made, listed, revoked; shown once and stored as a hash."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from functions.anymind.store import api_keys
from shared.api_keys import key_hash
from shared.caller_cache import CallerCache
from tests.support.anymind import BASE, Anymind, refused

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}")


async def made(user: Anymind, name: str = "My CLI Key", **headers: str) -> dict[str, Any]:
    return await user.ok("POST", "/api-keys", 201, json={"name": name}, headers=user.bearer | headers)


async def listed(user: Anymind) -> list[dict[str, Any]]:
    return await user.ok("GET", "/api-keys", headers=user.bearer)


async def use(http: httpx.AsyncClient, key: str) -> httpx.Response:
    return await http.get(f"{BASE}/agents", params={"limit": 1}, headers={"X-API-Key": key})


async def test_a_key_is_shown_once_and_opens_the_api(anymind: Anymind, http: httpx.AsyncClient, app: None):
    key = await made(anymind)
    assert set(key) == {"id", "key", "key_prefix", "name", "created_at"}
    assert re.fullmatch(r"anymind_[A-Za-z0-9_-]{43}", key["key"])
    assert (key["key_prefix"], key["name"]) == (key["key"][:12], "My CLI Key")
    assert MOMENT.fullmatch(key["created_at"])
    assert (await use(http, key["key"])).status_code == 200
    shown = next(each for each in await listed(anymind) if each["id"] == key["id"])
    assert set(shown) == {"id", "key_prefix", "name", "is_active", "last_used_at", "created_at"}
    stored = await api_keys.get(str(key["id"]))
    assert stored.key_hash == key_hash(key["key"])
    assert key["key"] not in repr(stored)


async def test_keys_are_listed_newest_first_and_only_to_their_user(anymind: Anymind):
    keys = [(await made(anymind, name))["id"] for name in ("a", "b", "c")]
    found = await listed(anymind)
    assert [key["id"] for key in found][:3] == keys[::-1]
    assert [key["name"] for key in found][:3] == ["c", "b", "a"]


async def test_a_use_is_noted_at_most_once_a_minute(anymind: Anymind, http: httpx.AsyncClient, app: None):
    key = await made(anymind)

    async def last_used() -> str | None:
        return next(each for each in await listed(anymind) if each["id"] == key["id"])["last_used_at"]

    assert await last_used() is None
    await asyncio.gather(*(use(http, key["key"]) for _ in range(5)))
    first = await last_used()
    assert first and MOMENT.fullmatch(first)
    await use(http, key["key"])
    assert await last_used() == first
    long_ago = datetime.now(UTC) - timedelta(minutes=2)
    await api_keys.update(str(key["id"]), lambda record: setattr(record, "last_used_at", long_ago))
    other_instance = CallerCache(api_keys, "key_hash", used="last_used_at")
    assert await other_instance.find(key_hash(key["key"]))
    assert (await last_used() or "") > first


async def test_a_revoked_key_opens_nothing_and_stays_in_the_list(anymind: Anymind, http: httpx.AsyncClient):
    key = await made(anymind)
    assert (await use(http, key["key"])).status_code == 200
    for _ in range(2):
        await anymind.ok("DELETE", f"/api-keys/{key['id']}", 204, headers=anymind.bearer)
        assert refused(await use(http, key["key"]), 401) == "Invalid API key"
    shown = next(each for each in await listed(anymind) if each["id"] == key["id"])
    assert shown["is_active"] is False


@pytest.mark.parametrize("key_id", ["999999999", "0", "1" * 30])
async def test_an_unknown_key_is_404(anymind: Anymind, http: httpx.AsyncClient, key_id: str):
    answer = await http.delete(f"{BASE}/api-keys/{key_id}", headers=anymind.bearer)
    assert refused(answer, 404) == "API key not found"


@pytest.mark.parametrize("key_id", ["x", "-1", "1.0", "1_0", "%20", "9" * 5000])
async def test_an_id_that_is_no_number_is_400(anymind: Anymind, http: httpx.AsyncClient, key_id: str):
    answer = await http.delete(f"{BASE}/api-keys/{key_id}", headers=anymind.bearer)
    assert refused(answer, 400).startswith("api_key_id: ")


@pytest.mark.parametrize("name", ["", "  ", None, 7, "a" * 256])
async def test_a_bad_name_is_400(anymind: Anymind, http: httpx.AsyncClient, name: Any):
    answer = await http.post(f"{BASE}/api-keys", json={"name": name}, headers=anymind.bearer)
    assert refused(answer, 400).startswith("name: ")


async def test_an_idempotency_key_makes_no_second_showing_of_a_key(anymind: Anymind):
    first, second = [await made(anymind, **{"Idempotency-Key": f"key of {anymind.name}"}) for _ in range(2)]
    assert first["key"] != second["key"]
