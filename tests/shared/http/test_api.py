"""What an API declares once: its errors, envelope, guards, origins, paging policy and pages."""

import uuid
from pathlib import Path

import httpx
import pytest

from shared.http.api import Api
from shared.settings import Settings


class TestErrors:
    @pytest.mark.parametrize(
        ("name", "status", "code", "message"),
        [
            ("coded", 409, "THING_BUSY", "The thing is busy"),
            ("not-found", 404, "NOT_FOUND", "Thing not found"),
            ("conflict", 409, "CONFLICT", "This name is already taken"),
            ("changed", 412, "PRECONDITION_FAILED", "The record has changed since it was read"),
            ("cursor", 400, "BAD_REQUEST", "cursor: must come from a Link header"),
            ("unstorable", 400, "BAD_REQUEST", "title: is too long"),
            ("unavailable", 503, "SERVICE_UNAVAILABLE", "The storage service does not answer"),
            ("too-many", 400, "LIMIT_REACHED", "There are more records than a list can show"),
            ("value", 500, "INTERNAL_ERROR", "Internal server error"),
        ],
    )
    async def test_an_error_of_any_layer_has_a_status_and_a_code(
        self, sample: httpx.AsyncClient, name: str, status: int, code: str, message: str
    ):
        response = await sample.get(f"/raise/{name}")
        body = response.json()
        assert (response.status_code, body["code"], body["message"]) == (status, code, message)
        assert body["details"] == ({"thing": 7} if name == "coded" else None)
        assert response.headers.get("retry-after") == ("5" if name == "unavailable" else None)

    async def test_a_list_that_no_index_serves_is_a_fault_of_the_app_and_the_log_says_so(
        self, sample: httpx.AsyncClient, sample_host: tuple[str, Path]
    ):
        response = await sample.get("/raise/index")
        assert (response.status_code, response.json()["code"]) == (500, "INTERNAL_ERROR")
        assert "SampleEntries" in response.text or "programming error" in sample_host[1].read_text()

    async def test_each_api_has_its_own_shape(self, bare: httpx.AsyncClient):
        response = await bare.get("/raise/coded")
        assert (response.status_code, response.json()) == (409, {"error": "The thing is busy"})

    async def test_invalid_members_are_named_and_listed(self, sample: httpx.AsyncClient):
        items = [{"count": "x"}, {}]
        response = await sample.post("/things", json={"items": items}, headers={"X-Key": "me"})
        body = response.json()
        assert (response.status_code, body["code"]) == (400, "INVALID_REQUEST")
        assert body["message"].startswith("items.0.count: ")
        assert [each["field"] for each in body["details"]] == ["items.0.count", "items.1.count"]

    async def test_malformed_json_is_another_error_than_a_wrong_member(self, sample: httpx.AsyncClient):
        headers = {"X-Key": "me", "Content-Type": "application/json"}
        response = await sample.post("/things", content=b"{", headers=headers)
        assert (response.status_code, response.json()["code"]) == (400, "BAD_REQUEST")

    async def test_a_body_over_the_limit_of_its_route_is_refused(self, sample: httpx.AsyncClient):
        response = await sample.post("/things", json={"items": [{"count": 1}] * 50}, headers={"X-Key": "me"})
        assert (response.status_code, response.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")


class TestEnvelope:
    async def test_values_are_wrapped_and_the_request_id_is_at_hand(self, sample: httpx.AsyncClient):
        response = await sample.get("/things/7", headers={"X-Request-ID": "abc-123"})
        body = response.json()
        assert (body["data"], body["meta"]["requestId"]) == ({"id": "7", "caller": ""}, "abc-123")
        assert body["meta"]["ms"] > 0
        assert int(response.headers["content-length"]) == len(response.content)

    @pytest.mark.parametrize("given", ["", "with blank", "x" * 129, "ümlaut"])
    async def test_a_request_without_a_usable_id_gets_one(self, sample: httpx.AsyncClient, given: str):
        response = await sample.get("/things/7", headers=[(b"X-Request-ID", given.encode())])
        assert uuid.UUID(response.json()["meta"]["requestId"])

    async def test_a_route_may_stay_outside(self, sample: httpx.AsyncClient):
        assert (await sample.get("/things/7/raw")).json() == {"id": "7", "caller": ""}

    async def test_errors_are_not_wrapped(self, sample: httpx.AsyncClient):
        assert set((await sample.get("/raise/coded")).json()) == {"code", "message", "details", "id"}

    async def test_openapi_describes_the_whole_body(self, sample: httpx.AsyncClient):
        paths = (await sample.get("/openapi.json")).json()["paths"]
        wrapped = paths["/things/{thing_id}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert wrapped["properties"]["data"] == {"$ref": "#/components/schemas/Thing"}
        raw = paths["/things/{thing_id}/raw"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert raw == {"$ref": "#/components/schemas/Thing"}


class TestGuards:
    async def test_each_route_has_the_guard_it_depends_on(self, sample: httpx.AsyncClient):
        assert (await sample.get("/things/mine", headers={"X-Token": "t"})).json()["data"]["caller"] == "t"
        assert (await sample.get("/things/mine", headers={"X-Key": "k"})).status_code == 401
        order = await sample.post("/things", json={"items": []}, headers={"X-Key": "k"})
        assert order.json()["data"] == {"id": "0", "caller": "k"}

    async def test_a_missing_credential_is_found_before_the_body_is_read(self, sample: httpx.AsyncClient):
        response = await sample.post("/things", content=b"{" * 1000)
        assert (response.status_code, response.json()["code"]) == (401, "UNAUTHORIZED")

    async def test_openapi_names_the_scheme_of_each_route(self, sample: httpx.AsyncClient):
        document = (await sample.get("/openapi.json")).json()
        assert document["paths"]["/things/mine"]["get"]["security"] == [{"token": []}]
        assert document["paths"]["/things"]["post"]["security"] == [{"key": []}]
        assert "security" not in document["paths"]["/things/{thing_id}"]["get"]
        assert set(document["components"]["securitySchemes"]) == {"token", "key"}


class TestUnknownPaths:
    async def test_a_known_path_with_another_method_is_405_where_the_api_says_so(
        self, sample: httpx.AsyncClient, bare: httpx.AsyncClient
    ):
        response = await sample.delete("/things/7")
        assert (response.status_code, response.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
        assert response.headers["allow"] == "GET"
        assert (await bare.delete("/entries")).status_code == 404

    async def test_the_message_may_name_method_and_path(self, sample: httpx.AsyncClient):
        response = await sample.put("/nowhere/{at}/all")
        assert response.status_code == 404
        assert response.json()["message"] == "PUT /nowhere/{at}/all does not exist"

    async def test_another_method_at_the_root_of_an_api_is_unknown(self, sample: httpx.AsyncClient):
        assert (await sample.delete("")).status_code in (404, 405)


class TestEncodedSlashes:
    async def test_an_id_with_a_slash_reaches_the_handler_decoded(self, sample: httpx.AsyncClient):
        assert (await sample.get("/things/org%2Fmodel")).json()["data"]["id"] == "org/model"
        assert (await sample.get("/things/org%2fmodel/raw")).json()["id"] == "org/model"

    async def test_an_id_is_decoded_once(self, sample: httpx.AsyncClient):
        assert (await sample.get("/things/org%252Fmodel")).json()["data"]["id"] == "org%2Fmodel"
        assert (await sample.get("/things/100%25")).json()["data"]["id"] == "100%"

    async def test_the_rest_of_a_path_keeps_its_slashes(self, sample: httpx.AsyncClient):
        assert (await sample.get("/things/of/a/b%2Fc")).json()["data"]["id"] == "a/b/c"

    @pytest.mark.parametrize("path", ["things%2Fmine", "things%2F7", "things%2f7%2fraw"])
    async def test_a_slash_of_the_path_itself_must_not_be_encoded(self, sample: httpx.AsyncClient, path: str):
        response = await sample.get(f"/{path}", headers={"X-Token": "t"})
        assert (response.status_code, response.json()["code"]) == (404, "NOT_FOUND")
        assert (await sample.delete(f"/{path}")).status_code == 404  # nor does it tell of other methods


class TestOrigins:
    async def test_an_api_has_its_own(self, sample: httpx.AsyncClient):
        asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "PATCH"}
        response = await sample.options("/notes/1", headers=asked)
        assert response.status_code == 200
        assert response.headers["access-control-allow-origin"] == "https://app.example"
        assert response.headers["access-control-allow-credentials"] == "true"
        assert response.headers["access-control-max-age"] == "60"
        stranger = {"Origin": "https://other.example", "Access-Control-Request-Method": "PATCH"}
        assert (await sample.options("/notes/1", headers=stranger)).status_code == 400


class TestPages:
    async def test_the_page_is_complete_without_another_server(self, sample: httpx.AsyncClient):
        page = (await sample.get("/docs")).text
        assert "https://" not in page and "http://" not in page
        assert "persistAuthorization" in page and '"validatorUrl": null' in page
        for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"):
            assert f"/sample/docs/{name}" in page
            asset = await sample.get(f"/docs/{name}")
            assert (asset.status_code, len(asset.content) > 1000) == (200, True)
            assert asset.headers["cache-control"] == "public, max-age=86400"

    async def test_nothing_else_is_served_below_it(self, sample: httpx.AsyncClient):
        for name in ("redoc.standalone.js", "..%2F__init__.py", "nothing"):
            assert (await sample.get(f"/docs/{name}")).status_code == 404


@pytest.mark.parametrize(
    ("setting", "allowed", "refused"),
    [
        ("", ["http://localhost:3000", "http://127.0.0.1", "https://[::1]:1"], ["https://page.example", "null"]),
        ("https://a.example, https://b.example", ["https://b.example", "http://localhost"], ["https://c.example"]),
        ("*", ["https://page.example", "null"], []),
        ("", [], ["http://localhost.page.example", "http://127.0.0.1@page.example", "http://page.example/http://localhost"]),
    ],
)  # fmt: skip
async def test_the_setting_says_which_pages_may_read_responses(
    setting: str, allowed: list[str], refused: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("shared.http.api.settings", lambda: Settings.model_validate({"RUNYARD_CORS_ORIGINS": setting}))
    transport = httpx.ASGITransport(Api("any", "Any", "1.0.0", []))
    async with httpx.AsyncClient(transport=transport, base_url="http://any.example") as client:
        for origin in (*allowed, *refused):
            answer = await client.get("/any", headers={"Origin": origin})
            assert (answer.headers.get("access-control-allow-origin") in (origin, "*")) == (origin in allowed), origin
