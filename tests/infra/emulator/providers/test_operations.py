"""The operations through the vendors' SDKs, as listed in `infra/emulator/README.md`."""

import re
from typing import Any
from xml.etree import ElementTree

import httpx
import ollama
import openai
import pytest

from infra.emulator.processes import ROOT
from infra.emulator.providers import KEY, wire
from infra.emulator.providers.state import MODELS

IDS = [model.id for model in MODELS]


def sdk(url: str, key: str = KEY) -> openai.AsyncOpenAI:
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, http_client=http)


async def send(url: str, method: str, path: str, **options: Any) -> httpx.Response:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        return await http.request(method, path, **options)


class TestModelsDev:
    async def test_the_catalogue_has_the_members_of_models_dev(self, url: str):
        catalogue = (await send(url, "GET", "/api.json")).json()
        provider = catalogue["stand-in"]
        assert {"id", "name", "env", "npm", "api", "doc", "models"} == set(provider)
        assert provider["api"] == f"{url}/v1"
        assert [*provider["models"]] == IDS == [model["id"] for model in provider["models"].values()]
        large = provider["models"]["stand-in-large"]
        assert (large["cost"], large["limit"]) == ({"input": 2.5, "output": 10}, {"context": 200_000, "output": 32_000})
        assert (large["modalities"]["input"], large["reasoning"], large["tool_call"]) == (["text", "image"], True, True)


class TestOpenAI:
    async def test_models_are_listed(self, url: str):
        async with sdk(url) as client:
            assert [model.id async for model in client.models.list()] == IDS

    async def test_one_model_is_read_whatever_its_id_holds(self, url: str):
        async with sdk(url) as client:
            found = await client.models.retrieve("org/stand-in:7b")
            assert (found.id, found.object, found.owned_by) == ("org/stand-in:7b", "model", "stand-in")
            with pytest.raises(openai.NotFoundError) as missing:
                await client.models.retrieve("nothing")
            assert missing.value.code == "model_not_found"

    async def test_a_wrong_key_is_refused_and_none_is_needed(self, url: str):
        async with sdk(url, "sk-wrong") as client:
            with pytest.raises(openai.AuthenticationError):
                await client.models.list()
            with pytest.raises(openai.AuthenticationError):
                await client.models.retrieve(IDS[0])
        assert (await send(url, "GET", "/v1/models")).status_code == 200


class TestOllama:
    async def test_models_are_listed(self, url: str):
        async with ollama.AsyncClient(host=url, trust_env=False) as client:
            listed = await client.list()
        assert [model.model for model in listed.models] == IDS
        assert all(model.details and model.digest and model.modified_at for model in listed.models)

    async def test_the_version_is_told(self, url: str):
        assert set((await send(url, "GET", "/api/version")).json()) == {"version"}


class TestExchangeRates:
    async def test_the_file_names_a_day_and_rates_as_the_bank_does(self, url: str):
        answer = await send(url, "GET", "/stats/eurofxref/eurofxref-daily.xml")
        assert answer.headers["content-type"].startswith("text/xml")
        root = ElementTree.fromstring(answer.text)
        space = "{http://www.ecb.int/vocabulary/2002-08-01/eurofxref}"
        (day,) = root.findall(f"{space}Cube/{space}Cube")
        assert day.attrib == {"time": "2026-01-15"}
        assert {each.attrib["currency"]: each.attrib["rate"] for each in day}["USD"] == "1.2"


class TestSetAnswers:
    async def test_a_path_answers_what_was_set_until_it_is_removed(self, url: str):
        answers = {"/api.json": {"status": 302, "headers": {"Location": "/x"}, "text": "a", "size": 100_000}}
        assert (await send(url, "PUT", "/local/answers", json=answers)).status_code == 204
        answer = await send(url, "GET", "/api.json")
        assert (answer.status_code, answer.headers["location"], len(answer.text)) == (302, "/x", 100_001)
        assert (await send(url, "GET", "/v1/models")).status_code == 200
        await send(url, "PUT", "/local/answers", json={})
        assert (await send(url, "GET", "/api.json")).status_code == 200

    @pytest.mark.parametrize("body", ["x", "[]", '{"/": 1}', '{"/": {"colour": 1}}'])
    async def test_what_is_no_answer_is_refused(self, url: str, body: str):
        assert (await send(url, "PUT", "/local/answers", content=body)).status_code == 400


class TestEverythingElse:
    @pytest.mark.parametrize(("method", "path"), [("POST", "/v1/models"), ("POST", "/api/show"), ("GET", "/")])
    async def test_it_is_not_implemented(self, url: str, method: str, path: str):
        answer = await send(url, method, path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (501, "not_implemented")

    def test_the_readme_lists_every_operation(self):
        section = (ROOT / "infra/emulator/README.md").read_text().partition("\n## Providers\n")[2]
        listed = set(re.findall(r"^\| `([A-Z]+ /[^`]*)` \|", section, re.MULTILINE))
        routes = [route for route in wire.routes() if route.method != "*"]  # type: ignore[attr-defined]
        assert listed == {f"{route.method} {route.path.replace(':.+', '')}" for route in routes}  # type: ignore[attr-defined]
