"""HTTP functions, over real HTTP."""

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.infra.emulator.host.harness import Serve, ServedApp, eventually, shared

APP = '''
import threading

@app.route(route="echo/{name}", methods=["GET", "POST", "OPTIONS"])
async def echo(req: Request) -> JSONResponse:
    """Everything that a function can see of its request."""
    return JSONResponse({
        "method": req.method, "path": req.url.path, "values": req.path_params, "query": req.query_params.multi_items(),
        "headers": req.headers.items(), "body": (await req.body()).decode(),
    }, headers={"x-answer": "42"})


@app.route(route="head", methods=["GET", "HEAD"])
async def head(req: Request) -> Response:
    return Response("12345", headers={"x-method": req.method})


@app.route(route="context", methods=["GET"])
async def context(req: Request, context: func.Context) -> dict:
    logging.info("a line from inside")
    return {
        "id": context.invocation_id, "name": context.function_name, "folder": context.function_directory,
        "parent": context.trace_context.trace_parent, "retries": context.retry_context.retry_count,
        "header": req.headers["x-ms-invocation-id"],
    }


four = threading.Barrier(4)

@app.route(route="meet", methods=["GET"])
def meet(req: Request) -> str:
    four.wait(30)
    return "met"


@app.route(route="thread", methods=["GET"])
def thread(req: Request, context: func.Context) -> dict:
    logging.info("a line from a thread")
    time.sleep(float(req.query_params.get("seconds", 0)))
    return {"id": context.invocation_id}


class Thing(BaseModel):
    size: int


RESULTS = {"str": "text", "dict": {"a": [1]}, "list": [1, "b"], "int": 7, "float": 1.5, "bool": True,
           "model": Thing(size=3)}


@app.route(route="result/{kind}", methods=["GET"])
async def result(req: Request) -> dict:
    return RESULTS[req.path_params["kind"]]


@app.route(route="nothing", methods=["GET"])
async def nothing(req: Request) -> Response:
    return None


@app.route(route="broken", methods=["GET"])
async def broken(req: Request) -> Response:
    raise ValueError("the reason")


@app.route(route="stream", methods=["GET"])
async def stream(req: Request) -> StreamingResponse:
    """Sends a second line only after the client has asked for it."""
    async def lines():
        yield "first\\n"
        await released.wait()
        yield "second\\n"
    return StreamingResponse(lines(), media_type="text/plain")


@app.route(route="release", methods=["POST"])
async def release(req: Request) -> dict:
    released.set()
    return {}


released = asyncio.Event()


@app.route(route="breaks-off", methods=["GET"])
async def breaks_off(req: Request) -> StreamingResponse:
    async def lines():
        yield "first\\n"
        raise ValueError("in the middle")
    return StreamingResponse(lines())


@app.route(route="endless", methods=["GET"])
async def endless(req: Request) -> StreamingResponse:
    async def lines():
        try:
            while True:
                yield "x" * 1000
                await asyncio.sleep(0.01)
        finally:
            logging.info("the stream was closed")
    return StreamingResponse(lines())


@app.route(route="waits", methods=["POST"])
async def waits(req: Request) -> dict:
    await req.body()
    while not await req.is_disconnected():
        await asyncio.sleep(0.01)
    logging.info("the client has disconnected")
    return {}


@app.route(route="upload", methods=["POST"])
async def upload(req: Request) -> dict:
    size = 0
    async for chunk in req.stream():
        size += len(chunk)
    return {"size": size}


@app.route(route="refuses", methods=["POST"])
async def refuses(req: Request) -> Response:
    return Response("no", status_code=403)


@app.route(route="form", methods=["POST"])
async def form(req: Request) -> dict:
    async with req.form() as fields:
        return {"note": fields["note"], "size": len(await fields["file"].read()), "file": fields["file"].filename}
'''


@pytest.fixture(scope="module")
async def web(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedApp]:
    """One host for all tests that do not change it."""
    async with shared(tmp_path_factory.mktemp("web"), APP) as served:
        yield served


@pytest.fixture(scope="module")
async def hurried(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedApp]:
    """One host that waits a second for the start of a response."""
    async with shared(tmp_path_factory.mktemp("hurried"), APP, "--response-timeout", "1") as served:
        yield served


class TestRequests:
    async def test_method_path_values_query_headers_and_body_arrive(self, web: ServedApp):
        answer = await web.http.post(
            "/api/echo/J%C3%BCrgen%20M?a=1&b=%20&a=2", content="hello", headers={"x-custom": "yes"}
        )
        seen = answer.json()
        assert (seen["method"], seen["path"], seen["body"]) == ("POST", "/api/echo/Jürgen M", "hello")
        assert seen["values"] == {"name": "Jürgen M"}
        assert seen["query"] == [["a", "1"], ["b", " "], ["a", "2"]]
        assert ["x-custom", "yes"] in seen["headers"]
        assert answer.headers["x-answer"] == "42"

    async def test_an_encoded_slash_stays_part_of_its_value(self, web: ServedApp):
        assert (await web.http.get("/api/echo/a%2Fb")).json()["values"] == {"name": "a%2Fb"}

    async def test_a_preflight_reaches_the_function_that_lists_options(self, web: ServedApp):
        answer = await web.http.options(
            "/api/echo/x", headers={"origin": "http://localhost:3000", "access-control-request-method": "GET"}
        )
        assert (answer.status_code, answer.json()["method"]) == (200, "OPTIONS")

    async def test_a_preflight_of_a_function_without_options_is_not_found(self, web: ServedApp):
        assert (await web.http.options("/api/context")).status_code == 404

    async def test_multipart_forms_arrive(self, web: ServedApp):
        answer = await web.http.post("/api/form", data={"note": "n"}, files={"file": ("a.bin", b"x" * 3_000_000)})
        assert answer.json() == {"note": "n", "size": 3_000_000, "file": "a.bin"}

    async def test_a_chunked_body_arrives(self, web: ServedApp):
        async def chunks():
            for _ in range(20):
                yield b"x" * 1000

        answer = await web.http.post("/api/upload", content=chunks())
        assert answer.json() == {"size": 20_000}

    async def test_the_context_names_the_invocation_and_carries_the_trace(self, web: ServedApp):
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        seen = (await web.http.get("/api/context", headers={"traceparent": parent})).json()
        assert re.fullmatch("[0-9a-f-]{36}", seen["id"])
        assert seen["header"] == seen["id"]
        assert (seen["name"], seen["folder"], seen["parent"], seen["retries"]) == ("context", str(web.app), parent, 0)

    async def test_a_trace_that_is_no_text_does_no_harm(self, web: ServedApp):
        answer = await web.http.get("/api/context", headers=[(b"traceparent", b"\xff\xfe"), (b"tracestate", b"\xff")])
        assert answer.status_code == 200

    async def test_the_invocation_id_is_the_hosts_even_when_the_caller_sends_one(self, web: ServedApp):
        seen = (await web.http.get("/api/context", headers={"x-ms-invocation-id": "mine"})).json()
        assert seen["header"] == seen["id"] != "mine"

    async def test_plain_functions_run_at_the_same_time(self, web: ServedApp):
        answers = await asyncio.gather(*(web.http.get("/api/meet") for _ in range(4)))
        assert [answer.status_code for answer in answers] == [200] * 4


class TestResponses:
    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            ("str", "text"),
            ("dict", {"a": [1]}),
            ("list", [1, "b"]),
            ("int", 7),
            ("float", 1.5),
            ("bool", True),
            ("model", {"size": 3}),
        ],
    )
    async def test_plain_results_are_sent_as_json(self, web: ServedApp, kind: str, value: object):
        answer = await web.http.get(f"/api/result/{kind}")
        assert answer.json() == value
        assert answer.headers["content-type"] == "application/json"

    async def test_head_has_the_headers_of_get_and_no_body(self, web: ServedApp):
        answer = await web.http.head("/api/head")
        assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "5", b"")
        assert answer.headers["x-method"] == "HEAD"

    async def test_a_connection_serves_on_after_head(self, web: ServedApp):
        await web.http.head("/api/head")
        assert (await web.http.get("/api/head")).text == "12345"

    async def test_an_exception_is_a_plain_500_and_its_traceback_is_in_the_log(self, web: ServedApp):
        answer = await web.http.get("/api/broken")
        assert (answer.status_code, answer.text) == (500, "Internal Server Error")
        assert answer.headers["content-type"].startswith("text/plain")
        assert re.search(r"ERROR broken [0-9a-f-]{36}: failed after \d+ ms: the reason\nTraceback", web.log)

    async def test_no_response_is_a_500(self, web: ServedApp):
        assert (await web.http.get("/api/nothing")).status_code == 500

    async def test_a_response_is_streamed(self, web: ServedApp):
        async with web.http.stream("GET", "/api/stream") as answer:
            lines = answer.aiter_lines()
            assert await anext(lines) == "first"
            await web.http.post("/api/release")
            assert await anext(lines) == "second"

    async def test_an_interrupted_response_is_seen_as_incomplete(self, web: ServedApp):
        with pytest.raises(httpx.RemoteProtocolError):
            await web.http.get("/api/breaks-off")
        assert "in the middle" in web.log


class TestLog:
    async def test_lines_of_a_function_carry_its_name_and_invocation(self, web: ServedApp):
        seen = (await web.http.get("/api/context")).json()["id"]
        await eventually(lambda: f"INFO context {seen}: a line from inside" in web.log)
        await eventually(lambda: re.search(rf"INFO context {seen}: GET /api/context -> 200 in \d+ ms", web.log))

    async def test_lines_from_a_thread_do_too(self, web: ServedApp):
        seen = (await web.http.get("/api/thread")).json()["id"]
        await eventually(lambda: f"INFO thread {seen}: a line from a thread" in web.log)

    async def test_a_path_cannot_inject_log_lines(self, web: ServedApp):
        await web.http.get("/api/echo/x%0AFORGED")
        await eventually(lambda: "/api/echo/x%0AFORGED" in web.log)
        assert "\nFORGED" not in web.log


class TestDisconnects:
    async def test_a_stream_ends_when_its_client_disconnects(self, web: ServedApp):
        async with web.http.stream("GET", "/api/endless") as answer:
            await anext(answer.aiter_raw())
        await eventually(lambda: "the stream was closed" in web.log)

    async def test_a_function_is_told_that_its_client_has_disconnected(self, web: ServedApp):
        with pytest.raises(httpx.ReadTimeout):
            await web.http.post("/api/waits", content=b"x", timeout=0.3)
        await eventually(lambda: "the client has disconnected" in web.log)

    async def test_an_interrupted_upload_fails_its_function(self, web: ServedApp):
        async def broken():
            yield b"x" * 1000
            raise ConnectionError("unplugged")

        with pytest.raises(ConnectionError):
            await web.http.post("/api/upload", content=broken())
        await eventually(lambda: "ClientDisconnect" in web.log)


class TestBodyLimit:
    async def test_a_hundred_megabytes_pass_with_bounded_memory(self, web: ServedApp):
        await web.http.post("/api/upload", content=b"warm")
        before, highest = memory(web.pid), 0

        async def body():
            nonlocal highest
            for number in range(100):
                yield b"x" * 1_048_576
                if number % 10 == 9:
                    highest = max(highest, memory(web.pid))

        answer = await web.http.post("/api/upload", content=body(), timeout=60)
        assert answer.json() == {"size": 104_857_600}
        assert highest - before < 32 * 1024

    async def test_a_longer_body_is_refused_by_its_length_alone(self, web: ServedApp):
        reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
        writer.write(b"POST /api/upload HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 104857601\r\n\r\n")
        assert (await asyncio.wait_for(reader.readline(), 60)).startswith(b"HTTP/1.1 413")
        writer.close()

    async def test_a_chunked_body_is_refused_when_it_passes_the_limit(self, serve: Serve):
        served = await serve(APP, env={"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "1000000"})

        async def body():
            for _ in range(30):
                yield b"x" * 100_000

        assert (await served.http.post("/api/upload", content=body())).status_code == 413
        assert (await served.http.post("/api/upload", content=b"x" * 1_000_000)).json() == {"size": 1_000_000}
        assert (await served.http.post("/api/upload", content=b"x" * 1_000_001)).status_code == 413

    async def test_an_answer_before_the_end_of_the_body_arrives(self, web: ServedApp):
        answer = await web.http.post("/api/refuses", content=b"x" * 20_000_000)
        assert (answer.status_code, answer.text) == (403, "no")


class TestResponseTimeout:
    async def test_a_response_that_does_not_start_in_time_is_a_504(self, hurried: ServedApp):
        assert (await hurried.http.get("/api/thread?seconds=3")).status_code == 504

        async def served() -> bool:
            return (await hurried.http.get("/api/thread")).status_code == 200

        await eventually(served)

    async def test_a_response_that_has_started_may_take_longer(self, hurried: ServedApp):
        async with hurried.http.stream("GET", "/api/stream") as answer:
            lines = answer.aiter_lines()
            await anext(lines)
            await asyncio.sleep(1.5)
            await hurried.http.post("/api/release")
            assert await anext(lines) == "second"


def memory(pid: int) -> int:
    """Resident memory of a process, in KiB."""
    return int(subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, check=True).stdout)
