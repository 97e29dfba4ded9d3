"""The page at `/`, and where its links lead."""

import re

import httpx
import pytest

from functions.anymind import api as anymind
from functions.dev8 import api as dev8
from functions.gateway import api as gateway
from functions.stepflow import api as stepflow
from infra.local.environment import Environment
from tests.support.environments import StrictHost

LINK = re.compile(r'href="([^"]+)"')


async def test_the_page_names_each_api_with_its_addresses_and_the_two_commands(
    stack: Environment, http: httpx.AsyncClient
):
    page = await http.get("/")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    for api, health in (
        (gateway, "/health"),
        (stepflow, "/api/health"),
        (anymind, "/health"),
        (dev8, "/health"),
    ):
        for text in (api.title, api.description, f"{stack.url}/{api.prefix}<"):
            assert text in page.text
        for path in ("/docs", "/openapi.json", health):
            assert f'href="/{api.prefix}{path}"' in page.text
    assert "<code>make demo</code>" in page.text
    assert "<code>make test</code>" in page.text


async def test_every_link_of_the_page_leads_somewhere_on_this_server(http: httpx.AsyncClient):
    links = LINK.findall((await http.get("/")).text)
    assert len(links) == 16
    for link in links:
        assert link.startswith("/")
        assert (await http.get(link)).status_code == 200


async def test_an_api_that_is_not_served_is_not_named(strict_host: StrictHost):
    page = (await strict_host.http.get("/")).text
    assert "/gateway" in page
    assert "stepflow" not in page


@pytest.mark.parametrize("path", ["/", "/gateway", "/gateway/", "/stepflow", "/stepflow/", "/anymind"])
async def test_head_is_answered_without_a_body(http: httpx.AsyncClient, path: str):
    head, get = await http.head(path), await http.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(get.content))


@pytest.mark.parametrize("path", ["/gateway", "/gateway/", "/stepflow", "/stepflow/"])
async def test_the_base_of_an_api_is_its_page(http: httpx.AsyncClient, path: str):
    page = await http.get(path)
    assert page.status_code == 200
    assert page.text == (await http.get(f"/{path.strip('/')}/docs")).text
