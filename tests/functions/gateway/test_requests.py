"""What holds for requests to any of the gateway's nouns: keys in the query, unknown ids, pages, odd JSON."""

import httpx
import pytest

from infra.local.environment import Environment
from tests.support.gateway import Gateway
from tests.support.values import UNKNOWN


class TestKeyInTheQuery:
    async def test_a_key_in_the_query_is_accepted_like_the_header(self, http: httpx.AsyncClient, gateway: Gateway):
        assert (await http.get("/gateway/api/models", params={"api_key": gateway.key})).status_code == 200
        assert (await http.get("/gateway/api/models", params={"api_key": "sk-x"})).status_code == 401

    async def test_a_wrong_header_overrides_a_valid_query(self, http: httpx.AsyncClient, gateway: Gateway):
        headers = {"Authorization": "Bearer sk-wrong"}
        answer = await http.get("/gateway/api/models", params={"api_key": gateway.key}, headers=headers)
        assert answer.status_code == 401

    async def test_a_key_in_the_query_is_not_logged(
        self, http: httpx.AsyncClient, gateway: Gateway, stack: Environment
    ):
        await http.get("/gateway/api/runs", params={"api_key": gateway.key, "limit": "x"})
        logs = [path.read_bytes() for path in (stack.state / "logs").glob("*.log")]
        assert logs
        assert not any(gateway.key.encode() in log for log in logs)


@pytest.mark.parametrize("noun", ["Client", "Run", "Artifact", "Alert", "Model"])
async def test_the_error_for_an_unknown_id_names_the_noun(gateway: Gateway, noun: str):
    answer = await gateway.http.get(f"/gateway/api/{noun.lower()}s/{UNKNOWN}")
    assert (answer.status_code, answer.json()) == (404, {"error": f"{noun} not found"})


class TestPages:
    @pytest.mark.parametrize(
        ("noun", "query"),
        [("runs", "limit=0"), ("runs", "limit=-1"), ("runs", "limit=x"), ("runs", "offset=-1"), ("runs", "limit=1.5"),
         ("runs", "cursor=x"), ("clients", "limit=0"), ("artifacts", "limit=0"), ("alerts", "limit=0")],
    )  # fmt: skip
    async def test_an_invalid_limit_offset_or_cursor_is_400(self, gateway: Gateway, noun: str, query: str):
        answer = await gateway.http.get(f"/gateway/api/{noun}?{query}")
        assert (answer.status_code, list(answer.json())) == (400, ["error"])

    @pytest.mark.parametrize("noun", ["clients", "runs", "artifacts", "alerts"])
    async def test_a_limit_over_a_thousand_is_cut(self, gateway: Gateway, noun: str):
        answer = await gateway.http.get(f"/gateway/api/{noun}?limit=100000&offset={10**30}")
        assert answer.status_code == 200
        assert answer.json()[noun] == []


ODD = ["NaN", "Infinity", '"\\ud800"', "1e999", "1" * 500, '"\\u0000"', "[" * 900 + "]" * 900, '{"\\ud800": 1}']
"""JSON that Python reads, and that storage or a strict reader may not."""

JSON = {"Content-Type": "application/json"}


class TestMessages:
    """What is wrong, in words that a person can act on."""

    @pytest.mark.parametrize(
        ("content", "kind", "message"),
        [
            (b'{"prompt": "x"}', "", "Content-Type must be application/json"),
            (b'{"prompt": "x"}', "text/plain", "Content-Type must be application/json, not text/plain"),
            (b"", "application/json", "The request needs a JSON body"),
            (b"[]", "application/json", "The body must be a JSON object"),
            (
                b"{x",
                "application/json",
                "The body is not valid JSON: Expecting property name enclosed in double quotes",
            ),
            (b'{"a": "\xff"}', "application/json", "The body is not valid JSON: byte 7 is not UTF-8"),
            (b'{"a": %b}' % (b"[" * 100_000), "application/json", "The body is nested too deeply"),
            (b'{"a": %b}' % (b"1" * 5000), "application/json", "The body holds a number with too many digits"),
            (b"{}", "application/json", "prompt: Field required"),
            (b'{"prompt": " "}', "application/json", "prompt: must not be blank"),
            (b'{"prompt": "x", "options": {"timeout": 0}}', "application/json", "options.timeout: Input should be"),
            (b'{"prompt": "x", "a": "\\ud800"}', "application/json", "The body must not contain half of a surrogate"),
        ],
    )
    async def test_the_error_names_the_cause(self, gateway: Gateway, content: bytes, kind: str, message: str):
        headers = {"Content-Type": kind} if kind else {}
        answer = await gateway.http.post("/gateway/api/runs", content=content, headers=headers)
        assert answer.status_code == 400
        assert answer.json()["error"].startswith(message)

    async def test_an_unknown_run_comes_before_an_empty_version(self, gateway: Gateway):
        path, change = f"/gateway/api/runs/{UNKNOWN}", {"status": "running"}
        answer = await gateway.http.patch(path, json=change, headers={"If-Match": ""})
        assert answer.status_code == 404


class TestOddJson:
    @pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
    async def test_every_odd_value_is_stored_unchanged_or_refused(self, gateway: Gateway, odd: str):
        content = f'{{"prompt": "true", "model": "bash", "options": {{"a": {odd}}}}}'
        answer = await gateway.http.post("/gateway/api/runs", headers=JSON, content=content.encode())
        assert answer.status_code in (201, 400), answer.text[:300]
        if answer.status_code == 201:
            assert (await gateway.http.get(f"/gateway/api/runs/{answer.json()['id']}")).status_code == 200
        assert (await gateway.http.get("/gateway/api/runs?limit=1000")).status_code == 200

    @pytest.mark.parametrize("odd", ['"\\ud800"', "NaN"], ids=["surrogate", "NaN"])
    async def test_an_odd_value_is_stored_unchanged_or_refused_in_every_field(self, gateway: Gateway, odd: str):
        run = (await gateway.run("true"))["id"]
        form = {"Content-Type": "multipart/form-data; boundary=x"}
        part = '--x\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n{}\r\n'
        upload = part.format("file", '; filename="a"', "abc") + part.format("metadata", "", f'{{"a": {odd}}}') + "--x--"
        for method, path, headers, content in (
            ("POST", "runs", JSON, f'{{"prompt": {odd}, "model": "bash"}}'),
            ("PATCH", f"runs/{run}", JSON, f'{{"metadata": {{"a": {odd}}}}}'),
            ("PATCH", f"runs/{run}", JSON, f'{{"result": {odd}}}'),
            ("POST", f"runs/{run}/artifacts", form, upload),
            ("POST", "auth/login", JSON, f'{{"name": {odd}}}'),
            ("POST", "auth/verify", JSON, f'{{"api_key": {odd}}}'),
        ):
            url = f"/gateway/api/{path}"
            answer = await gateway.http.request(method, url, headers=headers, content=content.encode())
            assert answer.status_code in (200, 201, 400, 401), (method, path, answer.text[:300])
            answer.json()
        assert (await gateway.http.get(f"/gateway/api/runs/{run}/artifacts")).status_code == 200
        assert (await gateway.http.get(f"/gateway/api/runs/{run}")).status_code == 200


class TestBounds:
    @pytest.mark.parametrize("options", [dict.fromkeys(map(str, range(20_001)), 0), {"a": [0] * 20_001}])
    async def test_a_body_with_too_many_members_is_413(self, gateway: Gateway, options: dict[str, object]):
        body = {"prompt": "true", "model": "bash", "options": options}
        answer = await gateway.http.post("/gateway/api/runs", json=body)
        assert (answer.status_code, answer.json()) == (
            413, {"error": "Body must not have more than 20000 members and elements"}
        )  # fmt: skip

    async def test_commas_in_a_text_are_no_members(self, gateway: Gateway):
        body = {"prompt": 'true #,",\\' * 9_000, "model": "bash"}
        assert (await gateway.http.post("/gateway/api/runs", json=body)).status_code == 201

    async def test_a_form_with_too_many_fields_is_refused(self, gateway: Gateway):
        run = (await gateway.run("true"))["id"]
        fields = {f"field{n}": "x" for n in range(1000)}
        answer = await gateway.http.post(f"/gateway/api/runs/{run}/artifacts", files={"file": ("a", b"x")}, data=fields)
        assert (answer.status_code, answer.json()) == (400, {"error": "The form must not have more than 1000 fields"})

    async def test_a_query_with_too_many_parameters_is_refused(self, gateway: Gateway):
        answer = await gateway.http.get("/gateway/api/runs?" + "&".join("a" * 1001))
        assert (answer.status_code, answer.json()) == (
            400, {"error": "The query must not have more than 1000 parameters"}
        )  # fmt: skip
