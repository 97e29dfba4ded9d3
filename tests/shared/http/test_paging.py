"""Lists: one dependency, one page, and a Link header that leads through all of it."""

import re
import uuid

import httpx
import pytest


async def fill(client: httpx.AsyncClient, count: int) -> tuple[str, list[str]]:
    """Lines of a new word: the word, and their ids, newest first."""
    word = uuid.uuid4().hex
    made = [(await client.post("/entries", params={"word": word})).json() for _ in range(count)]
    return word, [each.get("data", each)["id"] for each in made][::-1]


async def test_the_links_lead_through_the_whole_list(bare: httpx.AsyncClient):
    word, ids = await fill(bare, 7)
    response = await bare.get("/entries", params={"word": word, "api_key": "secret"})
    found, totals = [*response.json()["entries"]], [response.json()["total"]]
    while link := response.headers.get("link"):
        assert "secret" not in link
        match = re.fullmatch(r'</bare(/[^>]*)>; rel="next"', link)
        assert match
        response = await bare.get(match[1])
        found += response.json()["entries"]
        totals.append(response.json()["total"])
    assert (found, totals) == (ids, [7, 7, 7])


async def test_limit_and_offset_select(bare: httpx.AsyncClient):
    word, ids = await fill(bare, 5)
    response = await bare.get("/entries", params={"word": word, "limit": 2, "offset": 1})
    assert response.json() == {"entries": ids[1:3], "total": 5}


BAD = [("limit", "0"), ("limit", "-1"), ("limit", "x"), ("limit", "1_0"), ("limit", ""), ("limit", "2.5"),
       ("limit", "+5"), ("limit", " 5"), ("limit", "\u0663"), ("offset", "-1"), ("offset", "x"), ("offset", "-0"),
       ("offset", "1_000")]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD)
async def test_a_bad_limit_is_refused_by_default(bare: httpx.AsyncClient, name: str, value: str):
    response = await bare.get("/entries", params={"word": "none", name: value})
    assert response.status_code == 400
    assert response.json()["error"].startswith(f"{name}: ")


@pytest.mark.parametrize(("name", "value"), BAD)
async def test_a_bad_limit_means_the_default_where_the_api_is_lenient(sample: httpx.AsyncClient, name: str, value: str):
    response = await sample.get("/entries", params={"word": "none", name: value})
    assert (response.status_code, response.json()["data"]) == (200, {"entries": [], "total": 0})


async def test_leniency_leaves_good_values_and_other_parameters_alone(sample: httpx.AsyncClient):
    word, ids = await fill(sample, 4)
    response = await sample.get("/entries", params={"limit": "02", "offset": "x", "word": word})
    assert response.json()["data"] == {"entries": ids[:2], "total": 4}


@pytest.mark.parametrize("cursor", ["x", "0.zz", "", "p" * 400])
async def test_a_cursor_that_no_list_gave_is_refused(bare: httpx.AsyncClient, cursor: str):
    response = await bare.get("/entries", params={"word": "none", "cursor": cursor})
    expected = (200, None) if cursor == "" else (400, "cursor: must come from a Link header")
    assert (response.status_code, response.json().get("error")) == expected
