"""An encoded slash is part of a name: no route of the app is served under a path that spells its slashes so."""

import re
import uuid

import httpx
import pytest

from functions.gateway import api as gateway_api
from functions.stepflow import api as stepflow_api
from shared.http.api import Api


def spelled(path: str) -> list[str]:
    """The path with each of its slashes encoded, one after the other, and with all of them."""
    places = [match.start() for match in re.finditer("/", path)][1:]
    one = [f"{path[:place]}%2F{path[place + 1 :]}" for place in places]
    return [*one, path[0] + path[1:].replace("/", "%2f")] if places else []


@pytest.mark.parametrize("api", [gateway_api, stepflow_api], ids=lambda api: api.prefix)
async def test_no_route_is_served_past_its_guards(http: httpx.AsyncClient, api: Api):
    login = await http.post("/gateway/api/auth/login", json={"name": f"slashes {uuid.uuid4()}"})
    headers = {"Authorization": f"Bearer {login.json()['api_key']}"}
    asked = 0
    for route in api.own_routes:
        path = re.sub(r"\{\w+\}", str(uuid.uuid4()), route.path)
        for text in spelled(f"/{api.prefix}{path}"):
            for method in route.methods or ():
                response = await http.request(method, text, headers=headers, json={})
                assert response.status_code == 404, (method, text, response.status_code, response.text)
                asked += 1
    assert asked > 40
