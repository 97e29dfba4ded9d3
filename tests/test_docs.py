"""Each API's page works without any other server."""

import re

import httpx
import pytest


@pytest.mark.parametrize("api", ["gateway", "stepflow"])
class TestDocs:
    async def test_the_page_names_no_other_server(self, http: httpx.AsyncClient, api: str):
        page = await http.get(f"/{api}/docs")
        assert page.headers["content-type"].startswith("text/html")
        assert re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]+", page.text) == []
        assert "/openapi.json" in page.text

    async def test_the_description_says_where_the_api_is(self, http: httpx.AsyncClient, api: str):
        described = (await http.get(f"/{api}/openapi.json")).json()
        assert described["servers"] == [{"url": f"/{api}"}]
        assert all(path.startswith("/") and not path.startswith(f"/{api}") for path in described["paths"])
