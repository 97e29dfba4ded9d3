"""Users: registration, login with its lockout, and the tokens."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest

from functions.anymind import lockout, passwords, tokens
from functions.anymind.records import User, folded
from functions.anymind.store import users
from infra.local.environment import Environment
from shared.http.errors import TooManyRequests, Unavailable
from shared.http.idempotency import claims
from shared.settings import LOCAL_SECRET_KEYS
from tests.support.anymind import BASE, PASSWORD, Anymind, new_name, refused
from tests.support.environments import connected

REGISTER, LOGIN = f"{BASE}/auth/register", f"{BASE}/auth/login"


@pytest.fixture
async def caller(stack: Environment) -> AsyncIterator[httpx.AsyncClient]:
    """A client with an address that no other test has."""
    own = {"X-Forwarded-For": new_name()["username"]}
    async with httpx.AsyncClient(base_url=stack.url, headers=own, timeout=120, trust_env=False) as http:
        yield http


async def login(http: httpx.AsyncClient, name: str, password: str = PASSWORD) -> httpx.Response:
    return await http.post(LOGIN, json={"username": name, "password": password})


class TestRegister:
    async def test_a_user_is_shown_as_given_and_without_the_password(self, http: httpx.AsyncClient, app: None):
        names = new_name()
        given = {"email": names["email"].upper(), "username": f"{names['username']} Ä", "full_name": "Ada"}
        answer = await http.post(REGISTER, json={**given, "password": PASSWORD})
        assert answer.status_code == 201
        assert answer.json() == {**given, "id": answer.json()["id"], "is_active": True}
        assert isinstance(answer.json()["id"], int)
        stored = await users.get(str(answer.json()["id"]))
        assert stored.password_hash.startswith("$2b$12$")
        assert PASSWORD not in repr(stored)

    async def test_without_a_full_name_it_is_null(self, http: httpx.AsyncClient):
        answer = await http.post(REGISTER, json={**new_name(), "password": PASSWORD})
        assert answer.json()["full_name"] is None

    async def test_a_taken_address_or_name_is_refused_whatever_its_case(
        self, http: httpx.AsyncClient, anymind: Anymind
    ):
        body = {**new_name(), "password": PASSWORD}
        taken = {**body, "email": f"{anymind.name}@EXAMPLE.com"}
        assert refused(await http.post(REGISTER, json=taken), 400) == "Email already registered"
        taken = {**body, "username": anymind.name.upper()}
        assert refused(await http.post(REGISTER, json=taken), 400) == "Username already taken"

    async def test_of_two_at_the_same_moment_one_is_registered(self, http: httpx.AsyncClient):
        body = {**new_name(), "password": PASSWORD}
        answers = await asyncio.gather(*(http.post(REGISTER, json=body) for _ in range(2)))
        assert sorted(answer.status_code for answer in answers) == [201, 400]

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"email": None}, "email"), ({"email": "ada"}, "email"), ({"email": "ada@localhost"}, "email"),
            ({"email": "a b@example.com"}, "email"), ({"email": "a@b@example.com"}, "email"),
            ({"email": f"{'a' * 250}@example.com"}, "email"), ({"email": ["a@example.com"]}, "email"),
            ({"username": ""}, "username"), ({"username": " \t"}, "username"), ({"username": 7}, "username"),
            ({"username": "a" * 256}, "username"), ({"password": ""}, "password"), ({"password": 12345678}, "password"),
            ({"full_name": 7}, "full_name"),
        ],
    )  # fmt: skip
    async def test_a_bad_member_is_named(self, http: httpx.AsyncClient, change: dict[str, Any], field: str):
        answer = await http.post(REGISTER, json={**new_name(), "password": PASSWORD} | change)
        assert refused(answer, 400).startswith(f"{field}: ")

    @pytest.mark.parametrize("field", ["email", "username", "password"])
    async def test_a_missing_member_is_named(self, http: httpx.AsyncClient, field: str):
        body = {**new_name(), "password": PASSWORD}
        del body[field]
        assert refused(await http.post(REGISTER, json=body), 400) == f"{field}: Field required"

    async def test_a_body_that_is_not_a_json_object_is_refused(self, http: httpx.AsyncClient):
        assert "not valid JSON" in refused(await http.post(REGISTER, content=b"{", headers=JSON), 400)
        assert "JSON object" in refused(await http.post(REGISTER, json=[1]), 400)
        text = {"Content-Type": "text/plain"}
        assert "Content-Type" in refused(await http.post(REGISTER, content=b"{}", headers=text), 400)

    async def test_a_body_over_the_limit_is_413(self, http: httpx.AsyncClient):
        refused(await http.post(REGISTER, content=b" " * (10 * 1024 * 1024 + 1), headers=JSON), 413)

    async def test_an_idempotency_key_is_not_used_since_the_body_holds_a_password(
        self, http: httpx.AsyncClient, app: None
    ):
        body, key = {**new_name(), "password": PASSWORD}, {"Idempotency-Key": new_name()["username"]}
        before = len([claim async for claim in claims.all()])
        assert (await http.post(REGISTER, json=body, headers=key)).status_code == 201
        refused(await http.post(REGISTER, json=body, headers=key), 400)
        assert len([claim async for claim in claims.all()]) == before


JSON = {"Content-Type": "application/json"}


class TestPasswords:
    @pytest.mark.parametrize(
        ("one", "other"),
        [("x" * 100 + "a", "x" * 100 + "b"), ("a\0b", "a\0c"), ("é" * 40 + "1", "é" * 40 + "2")],
        ids=["long", "NUL", "many bytes"],
    )
    async def test_every_character_counts(self, one: str, other: str, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(passwords, "COST", 4)
        stored = await passwords.hash_password(one)
        assert await passwords.is_password(one, stored)
        assert not await passwords.is_password(other, stored)

    async def test_other_work_goes_on_while_a_password_is_hashed(self):
        turns = 0
        hashing = asyncio.create_task(passwords.hash_password("x"))
        while not hashing.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns > 50, "hashing in the event loop leaves it two or three turns"

    async def test_one_address_takes_a_bounded_number_of_turns_and_leaves_others_theirs(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(passwords, "LONGEST_WAIT", 0.05)
        monkeypatch.setattr(passwords, "OF_ADDRESS", 2)
        async with passwords.turn("one"):
            async with passwords.turn("one"):
                with pytest.raises(TooManyRequests):
                    await passwords.turn("one").__aenter__()
                with pytest.raises(Unavailable):  # after a wait that ends
                    await passwords.turn("other").__aenter__()
            async with passwords.turn("other"):
                pass
        assert not passwords._present

    async def test_health_is_answered_while_ten_log_in(self, http: httpx.AsyncClient, anymind: Anymind):
        logins = [asyncio.create_task(login(http, anymind.name)) for _ in range(10)]
        await asyncio.sleep(0)
        for _ in range(5):
            assert (await http.get("/anymind/health")).status_code == 200
        assert sum(not each.done() for each in logins) >= 6, "each answer has waited for passwords"
        assert {answer.status_code for answer in await asyncio.gather(*logins)} == {200}


class TestLogin:
    async def test_a_token_names_the_user_for_thirty_minutes(self, caller: httpx.AsyncClient, anymind: Anymind):
        answer = await login(caller, anymind.name.upper())
        assert answer.status_code == 200
        assert answer.json()["token_type"] == "bearer"
        token = answer.json()["access_token"]
        claims = jwt.decode(token, LOCAL_SECRET_KEYS, ["HS256"])
        assert claims == {"sub": str(anymind.id), "exp": claims["exp"]}
        assert jwt.get_unverified_header(token)["alg"] == "HS256"
        assert 1700 < claims["exp"] - time.time() <= 1800
        me = await caller.get(f"{BASE}/auth/me", headers={"Authorization": f"Bearer {token}"})
        assert (me.status_code, me.json()["username"]) == (200, anymind.name)

    async def test_a_wrong_password_and_an_unknown_name_get_the_same_answer_after_the_same_time(
        self, caller: httpx.AsyncClient, anymind: Anymind
    ):
        times: dict[str, float] = {}
        for name in (anymind.name, new_name()["username"]):
            for _ in range(2):
                start = time.perf_counter()
                answer = await login(caller, name, "wrong")
                times[name] = min(times.get(name, 1e9), time.perf_counter() - start)
                assert refused(answer, 401) == "Incorrect username or password"
        known, unknown = times.values()
        assert unknown > known / 3, "the password of an unknown name is not checked"

    @pytest.mark.parametrize("body", [{}, {"username": "x"}, {"username": 1, "password": "x"}, {"password": "x"},
                                      {"username": "x" * 256, "password": "x"}])  # fmt: skip
    async def test_a_body_without_both_texts_or_with_a_name_that_nobody_has_is_refused(
        self, caller: httpx.AsyncClient, body: dict[str, Any]
    ):
        refused(await caller.post(LOGIN, json=body), 400)


async def let_fail(name: str, address: str, count: int, began: datetime | None = None) -> None:
    """As if so many logins with this name had failed from this address, and twice as many for the address."""
    window = dict(lockout._windows(folded(name), address))
    for row_id, times in zip(window, (1, 2), strict=True):
        row = lockout.Failures(id=row_id, began=began or datetime.now(UTC), count=count * times)
        await lockout.failures.insert(row)


@pytest.mark.usefixtures("app")
class TestLockout:
    @pytest.mark.parametrize("exists", [True, False])
    async def test_the_tenth_failure_locks_a_name_out_from_one_address(
        self, caller: httpx.AsyncClient, anymind: Anymind, exists: bool
    ):
        name = anymind.name if exists else new_name()["username"]
        await let_fail(name, caller.headers["x-forwarded-for"], 9)
        refused(await login(caller, name.upper(), "wrong"), 401)
        answer = await login(caller, name)
        assert refused(answer, 429) == "Too many failed logins; try again later"
        assert 0 < int(answer.headers["retry-after"]) <= 900
        refused(await login(caller, new_name()["username"], "wrong"), 401)  # another name may try

    async def test_the_owner_may_log_in_from_another_address(self, caller: httpx.AsyncClient, anymind: Anymind):
        await let_fail(anymind.name, "192.0.2.1", 10)
        assert (await login(caller, anymind.name)).status_code == 200

    async def test_a_hundred_failures_lock_an_address_out_for_every_name(
        self, caller: httpx.AsyncClient, anymind: Anymind
    ):
        await let_fail("somebody", caller.headers["x-forwarded-for"], 50)
        refused(await login(caller, anymind.name), 429)

    async def test_after_a_quarter_of_an_hour_failures_count_anew(self, caller: httpx.AsyncClient, anymind: Anymind):
        address = caller.headers["x-forwarded-for"]
        await let_fail(anymind.name, address, 50, datetime.now(UTC) - lockout.WINDOW)
        refused(await login(caller, anymind.name, "wrong"), 401)
        counts = [(await lockout.failures.get(row_id)).count for row_id, _ in lockout._windows(anymind.name, address)]
        assert counts == [1, 1]
        assert (await login(caller, anymind.name)).status_code == 200

    async def test_many_attempts_at_once_are_not_checked_beyond_the_limit(
        self, caller: httpx.AsyncClient, anymind: Anymind
    ):
        await let_fail(anymind.name, caller.headers["x-forwarded-for"], 8)
        answers = await asyncio.gather(*(login(caller, anymind.name, "wrong") for _ in range(8)))
        refusals = [answer.status_code for answer in answers]
        assert 2 <= refusals.count(401) <= 3  # two are checked at a time
        assert set(refusals) == {401, 429}

    async def test_counts_that_are_over_are_deleted(self, caller: httpx.AsyncClient):
        old, new = new_name()["username"], new_name()["username"]
        await let_fail("a", old, 3, datetime.now(UTC) - lockout.WINDOW - timedelta(minutes=1))
        await let_fail("a", new, 3)
        await lockout.purge()
        left = {window.id async for window in lockout.failures.all()}
        assert left.isdisjoint(dict(lockout._windows("a", old)))
        assert left.issuperset(dict(lockout._windows("a", new)))


class TestTokens:
    async def test_the_first_key_signs_and_all_verify(self):
        old, new = "o" * 32, "n" * 32
        async with connected(ANYMIND_SECRET_KEYS=old):
            token = tokens.issue("7")
        async with connected(ANYMIND_SECRET_KEYS=f"{new}, {old}"):
            assert tokens.user_of(token) == "7"
            assert jwt.decode(tokens.issue("8"), new, ["HS256"])["sub"] == "8"
        async with connected(ANYMIND_SECRET_KEYS=new):
            assert tokens.user_of(token) is None

    @pytest.mark.parametrize("keys", ["", "k" * 31, f"{'k' * 32},", f"@Microsoft.KeyVault(SecretUri={'k' * 32})"])
    async def test_a_short_key_signs_nothing(self, keys: str):
        async with connected(ANYMIND_SECRET_KEYS=keys):
            with pytest.raises(tokens.SigningNotConfigured, match="32 characters"):
                tokens.issue("7")
            with pytest.raises(tokens.SigningNotConfigured):
                tokens.user_of("x")

    async def test_the_published_key_signs_nothing_in_azure(self):
        async with connected(RUNYARD_PUBLIC_URL="https://acme.example"):
            with pytest.raises(tokens.SigningNotConfigured, match="published"):
                tokens.issue("7")


@pytest.mark.usefixtures("app")
class TestInactive:
    async def test_an_inactive_user_is_403_at_login(self, caller: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(passwords, "COST", 4)
        name = new_name()["username"]
        keys: dict[str, Any] = {"email_key": name, "username_key": name}
        stored = await passwords.hash_password(PASSWORD)
        await users.insert(User(email=name, username=name, password_hash=stored, is_active=False, **keys))
        assert refused(await login(caller, name), 403) == "Inactive user"
        refused(await login(caller, name, "wrong"), 401)
