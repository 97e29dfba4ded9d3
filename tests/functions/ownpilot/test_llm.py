"""The way to a model: both protocols, whole and streamed, and what goes wrong, against the emulator's models."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any, Literal

import httpx
import pytest

from functions.ownpilot.core.catalogue.resolve import Target
from functions.ownpilot.core.llm import (
    Finish,
    Message,
    ModelRefused,
    ModelUnreachable,
    Said,
    Text,
    ToolCall,
    ToolSchema,
    Usage,
    adapting,
    anthropic,
    ask,
    completions,
    embed,
)
from functions.ownpilot.core.llm.asking import AnswerReader, streamed
from functions.ownpilot.core.llm.refusals import reason_of
from infra.emulator.providers import KEY
from infra.local.environment import Environment
from shared import outbound
from shared.outbound import Answer, NoAnswer, Retry

Wire = Literal["openai", "anthropic"]
WIRES: tuple[Wire, ...] = ("openai", "anthropic")
SOON = 20
LOOK = ToolSchema("look", "Look at something", {"type": "object", "properties": {"at": {"type": "string"}}})
CALLS: list[Any] = ["Well, ", "look:", {"call": "look", "arguments": {"at": "ünder"}}, {"call": "feel"}]

pytestmark = pytest.mark.usefixtures("app")
each_wire = pytest.mark.parametrize("wire", WIRES)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses before repeats, which are not waited for."""
    waited: list[float] = []

    async def note(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(outbound, "sleep", note)
    return waited


@pytest.fixture
def url(stack: Environment) -> str:
    return f"http://127.0.0.1:{stack.ports['providers']}"


def way(url: str, wire: Wire = "openai", *, key: str = KEY, **facts: Any) -> Target:
    model: Any = {"modelId": "stand-in-large", "maxOutput": 32_000, **facts}
    return Target("stand-in", model, wire, f"{url}/v1", key)


def script(*turns: list[Any]) -> list[Message]:
    return [Message("system", "Be brief"), Message("user", f"script: {json.dumps(turns)}")]


async def said(target: Target, messages: Sequence[Message], **options: Any) -> list[Said]:
    return [part async for part in ask(target, messages, **options)]


def text(parts: Sequence[Said]) -> str:
    return "".join(part.text for part in parts if isinstance(part, Text))


def used(parts: Sequence[Said]) -> tuple[int, int]:
    usages = [part for part in parts if isinstance(part, Usage)]
    return sum(each.input_tokens for each in usages), sum(each.output_tokens for each in usages)


async def requests(url: str, text: str) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        return (await http.get("/local/requests", params={"text": text})).json()


@each_wire
class TestAnswers:
    @pytest.mark.parametrize("stream", [True, False])
    async def test_text_calls_usage_and_the_end(self, url: str, wire: Wire, stream: bool):
        parts = await said(way(url, wire), script(CALLS), tools=[LOOK], stream=stream)
        assert text(parts) == "Well, look:"
        calls = [part for part in parts if isinstance(part, ToolCall)]
        assert [(call.name, json.loads(call.arguments)) for call in calls] == [("look", {"at": "ünder"}), ("feel", {})]
        assert all(call.id for call in calls) and calls[0].id != calls[1].id
        messages = 2 if wire == "openai" else 1
        assert used(parts) == (10 * messages, 2 + 10)
        assert parts[-1] == Finish("tool_calls") and sum(isinstance(part, Finish) for part in parts) == 1

    async def test_text_comes_before_the_answer_ends(self, url: str, wire: Wire):
        async with aclosing(ask(way(url, wire), script(["first ", {"stall": True}]))) as answer:
            parts = [part async for part in _until_text(answer)]
        assert text(parts) == "first "

    @pytest.mark.parametrize("reason", ["length", "content_filter"])
    async def test_why_it_ends(self, url: str, wire: Wire, reason: str):
        assert (await said(way(url, wire), script(["a", {"finish": reason}])))[-1] == Finish(reason)

    async def test_results_of_tools_go_back(self, url: str, wire: Wire):
        mark = f"results {time.time_ns()}"
        messages = [
            *script([{"call": "a"}, {"call": "b"}], [mark]),
            Message("assistant", "", (ToolCall("c1", "a", '{"x": 1}'), ToolCall("c2", "b", "{not JSON"))),
            Message("tool", "one", tool_call_id="c1"),
            Message("tool", "two", tool_call_id="c2"),
        ]
        assert text(await said(way(url, wire), messages, tools=[LOOK], temperature=0.5, max_tokens=77)) == mark
        [asked] = await requests(url, mark)
        body = asked["body"]
        assert (body["temperature"], body["max_tokens"], body["model"]) == (0.5, 77, "stand-in-large")
        if wire == "openai":
            [call, bad] = [each["function"] for each in body["messages"][2]["tool_calls"]]
            assert (call["arguments"], bad["arguments"]) == ('{"x": 1}', "{}")
            assert [each["tool_call_id"] for each in body["messages"][3:]] == ["c1", "c2"]
            assert body["tools"][0]["function"]["name"] == "look" and body["messages"][0]["role"] == "system"
        else:
            assert (body["system"], [each["role"] for each in body["messages"]]) == (
                "Be brief",
                ["user", "assistant", "user"],
            )
            assert [each["input"] for each in body["messages"][1]["content"]] == [{"x": 1}, {}]
            results = body["messages"][2]["content"]
            assert [(each["tool_use_id"], each["content"]) for each in results] == [("c1", "one"), ("c2", "two")]
            assert body["tools"][0]["input_schema"] == LOOK.parameters

    async def test_a_limit_is_sent_where_the_protocol_asks_for_one(self, url: str, wire: Wire):
        mark = f"limit {time.time_ns()}"
        await said(way(url, wire), script([mark]))
        [asked] = await requests(url, mark)
        assert asked["body"].get("max_tokens") == (None if wire == "openai" else 16_384)


@each_wire
class TestFailures:
    @pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
    async def test_the_reason_of_a_refusal_is_told(self, url: str, wire: Wire, status: int):
        with pytest.raises(ModelRefused, match="No such luck") as refused:
            await said(way(url, wire), script([{"error": status, "message": "No such luck"}]))
        assert refused.value.status == status

    async def test_a_key_that_the_server_repeats_is_masked(self, url: str, wire: Wire):
        key = "a-secret-of-mine-123"
        with pytest.raises(ModelRefused) as refused:
            await said(way(url, wire, key=key), script(["a"]))
        assert refused.value.status == 401 and key not in refused.value.message
        with pytest.raises(ModelRefused) as refused:
            await said(way(url, wire), script([{"error": 400, "message": f"The key {KEY} is odd"}]))
        assert refused.value.message == "The key [REDACTED] is odd"

    @pytest.mark.parametrize("status", [429, 502, 503, 504])
    async def test_a_busy_server_is_asked_again(self, url: str, wire: Wire, status: int, waits: list[float]):
        retries: list[Retry] = []
        asked = script([{"error": status, "times": 2, "retry_after": 3}, f"ok {time.time_ns()}"])
        assert text(await said(way(url, wire), asked, on_retry=retries.append)).startswith("ok ")
        assert waits == [3, 3] and [each.attempt for each in retries] == [1, 2]
        assert str(status) in retries[0].reason and "stand-in" not in retries[0].reason

    async def test_a_server_that_asks_for_a_long_wait_is_not(self, url: str, wire: Wire, waits: list[float]):
        asked = script([{"error": 429, "retry_after": 3600, "message": "Slow down"}])
        with pytest.raises(ModelRefused, match=r"Slow down \(it asks to wait 3600 seconds\)") as refused:
            await said(way(url, wire), asked)
        assert (refused.value.status, waits) == (429, [])

    async def test_a_stream_that_breaks_off_is_an_error_after_its_text(self, url: str, wire: Wire, waits: list[float]):
        parts: list[Said] = []
        with pytest.raises(ModelUnreachable):
            async for part in ask(way(url, wire), script(["one ", "two ", {"break": True}])):
                parts.append(part)
        assert text(parts) == "one two " and waits == []

    async def test_a_stream_that_stalls_is_given_up(self, url: str, wire: Wire):
        parts: list[Said] = []
        with pytest.raises(ModelUnreachable, match="silent"):
            async for part in ask(way(url, wire), script(["one ", {"stall": True}]), silence=0.5):
                parts.append(part)
        assert text(parts) == "one "

    async def test_a_server_that_is_not_there(self, wire: Wire, waits: list[float]):
        with pytest.raises(ModelUnreachable):
            await said(way("http://127.0.0.1:9", wire), script(["a"]))

    async def test_the_connection_ends_when_nobody_reads_any_more(self, url: str, wire: Wire):
        left, cancelled = f"left {time.time_ns()}", f"cancelled {time.time_ns()}"
        async with aclosing(ask(way(url, wire), script([left, {"stall": True}]))) as answer:
            _ = [part async for part in _until_text(answer)]

        task = asyncio.create_task(said(way(url, wire), script([cancelled, {"stall": True}])))
        async with asyncio.timeout(SOON):
            while not await requests(url, cancelled):
                await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            for mark in (left, cancelled):
                while [each["end"] for each in await requests(url, mark)] != ["left"]:
                    await asyncio.sleep(0.02)


class TestAdapting:
    async def test_a_server_that_refuses_stream_options_is_asked_without_and_remembered(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(adapting, "_known", {})
        mark = f"adapting {time.time_ns()}"
        asked = script([{"refuse": "stream_options"}, mark])
        for _ in range(2):
            assert text(await said(way(url), asked)) == mark
        assert [each["end"] for each in await requests(url, mark)] == ["refused", "whole", "whole"]

    @pytest.mark.parametrize(
        ("name", "refusal", "instead"),
        [
            ("max_tokens", "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
             {"max_completion_tokens": 5}),
            ("temperature", "Unsupported value: 'temperature' does not support 0.2 with this model.", {}),
            ("dimensions", "Model does not support matryoshka representation", {}),
        ],
    )  # fmt: skip
    def test_what_is_left_out(self, name: str, refusal: str, instead: dict[str, Any]):
        adapted = adapting.Adapted("http://x", {"model": f"one of {name}", name: 5})
        assert adapted.learn(400, refusal.encode()) and not adapted.learn(400, refusal.encode())
        assert adapted.body == {"model": f"one of {name}", **instead}

    @pytest.mark.parametrize(
        ("status", "refusal"),
        [(400, "temperature must be between 0 and 1"), (400, "max_tokens is too large"), (500, "stream_options")],
    )
    def test_other_refusals_stay(self, status: int, refusal: str):
        body = {"model": "a", "temperature": 2, "max_tokens": 9, "stream_options": {}}
        assert not adapting.Adapted("http://x", body).learn(status, refusal.encode())


def answer_of(data: bytes, *cuts: int) -> Answer:
    """A response whose body comes in pieces that are cut at these places."""
    pieces = [data[start:end] for start, end in zip((0, *cuts), (*cuts, len(data)), strict=True)]
    left = [piece for piece in pieces if piece]

    async def readany() -> bytes:
        return left.pop(0) if left else b""

    response: Any = SimpleNamespace(
        status=200, headers={}, content=SimpleNamespace(readany=readany), close=lambda: None
    )  # fmt: skip
    return Answer(response, "POST", len(data))


async def read(reader: AnswerReader, data: bytes, *cuts: int) -> list[Said]:
    return [part async for part in streamed(answer_of(data, *cuts), reader)]


def frames(*chunks: Any) -> bytes:
    return "".join(f"data: {json.dumps(each, ensure_ascii=False)}\n\n" for each in chunks).encode()


def delta(**members: Any) -> dict[str, Any]:
    return {"choices": [{"delta": members, "finish_reason": None}]}


def called(**members: Any) -> dict[str, Any]:
    function = {key: members.pop(key) for key in ("name", "arguments") if key in members}
    return delta(tool_calls=[{**members, "function": function}])


END: dict[str, Any] = {"choices": [{"delta": {}, "finish_reason": "stop"}]}

OPENAI = (
    frames(
        delta(role="assistant", content=""),
        delta(content="Grüße "),
        called(index=0, id="a", name="look", arguments=""),
        called(index=1, id="b", name="feel", arguments='{"y"'),
        called(index=0, arguments='{"x": "ü'),
        called(index=1, arguments=": 2}"),
        called(index=0, arguments='"}'),
        {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]},
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}},
    )
    + b": a comment\n\ndata: [DONE]\n\n"
)
OPENAI_SAID = [
    Text("Grüße "), Usage(3, 4), ToolCall("a", "look", '{"x": "ü"}'), ToolCall("b", "feel", '{"y": 2}'),
    Finish("tool_calls"),
]  # fmt: skip

ANTHROPIC = frames(
    {"type": "message_start", "message": {"usage": {"input_tokens": 3, "cache_read_input_tokens": 2,
                                                    "output_tokens": 1}}},
    {"type": "ping"},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Grüße "}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "a", "name": "look",
                                                                  "input": {}}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"x": '}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '"ü"}'}},
    {"type": "content_block_stop", "index": 1},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}},
    {"type": "message_stop"},
)  # fmt: skip
ANTHROPIC_SAID = [Usage(5, 1), Text("Grüße "), Usage(0, 8), ToolCall("a", "look", '{"x": "ü"}'), Finish("tool_calls")]


class TestReading:
    async def test_wherever_the_bytes_are_cut(self):
        for data, whole, make in (
            (OPENAI, OPENAI_SAID, completions.CompletionReader), (ANTHROPIC, ANTHROPIC_SAID, anthropic.MessageReader)
        ):  # fmt: skip
            assert await read(make(), data, *range(1, len(data))) == whole
            for cut in range(len(data)):
                assert await read(make(), data, cut) == whole, cut

    @pytest.mark.parametrize(
        "chunks",
        [
            pytest.param([called(id="a", name="f", arguments='{"x":1}'), called(id="b", name="g", arguments="{}")],
                         id="without an index"),
            pytest.param([called(index=0, id="a", name="f", arguments='{"x":1}'),
                          called(index=0, id="b", name="g", arguments="{}")], id="all with one index"),
            pytest.param([called(index=0, id="a", name="f"), called(index=0, id="a", name="f", arguments='{"x":1}'),
                          called(index=1, id="b", name="g")], id="the name twice, and no arguments"),
            pytest.param([called(index=0, id="a", name="f", arguments={"x": 1}),
                          called(index=1, id="b", name="g", arguments={})], id="arguments as objects"),
        ],
    )  # fmt: skip
    async def test_calls_as_servers_send_them(self, chunks: list[Any]):
        said = await read(completions.CompletionReader(), frames(*chunks, END))
        assert said == [ToolCall("a", "f", '{"x":1}'), ToolCall("b", "g", "{}"), Finish("tool_calls")]

    async def test_a_call_without_an_id_gets_one(self):
        parts = await read(completions.CompletionReader(), frames(called(index=0, name="f", arguments="{}"), END))
        assert isinstance(parts[0], ToolCall) and parts[0].id.startswith("call_")

    async def test_sums_with_each_chunk_are_counted_once(self):
        sums = [{"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": n}} for n in (1, 2, 7)]
        assert used(await read(completions.CompletionReader(), frames(*sums, {"choices": [], "usage": None}, END))) == (
            5,
            7,
        )

    async def test_odd_members_are_passed_over(self):
        odd: list[Any] = [7, {}, {"choices": None}, {"choices": [None]}, delta(content=None, tool_calls="x")]
        odd += [
            delta(content=[{"type": "thinking"}, {"type": "text", "text": "hi"}]),
            {"usage": {"prompt_tokens": "many"}},
        ]
        assert await read(completions.CompletionReader(), frames(*odd, END)) == [Text("hi"), Finish("stop")]
        assert await read(anthropic.MessageReader(), frames(*odd, {"type": "message_stop"})) == [Finish("stop")]

    @pytest.mark.parametrize(("chunk", "is_whole"), [(END, True), (delta(content="a"), False)])
    async def test_a_connection_that_is_lost_behind_the_last_word_is_no_loss(self, chunk: Any, is_whole: bool):
        left = [frames(chunk)]

        async def readany() -> bytes:
            if not left:
                raise ConnectionResetError
            return left.pop()

        response: Any = SimpleNamespace(
            status=200, headers={}, content=SimpleNamespace(readany=readany), close=lambda: None
        )  # fmt: skip
        parts = streamed(Answer(response, "POST", 1000), completions.CompletionReader())
        if is_whole:
            assert [part async for part in parts] == [Finish("stop")]
        else:
            with pytest.raises(NoAnswer):
                _ = [part async for part in parts]

    @pytest.mark.parametrize("data", [b"", frames(delta(content="a")), b"data: {\n\n", b"<html>"])
    @pytest.mark.parametrize("make", [completions.CompletionReader, anthropic.MessageReader])
    async def test_what_ends_too_early_or_is_no_answer_is_an_error(self, data: bytes, make: Any):
        with pytest.raises(ModelUnreachable):
            await read(make(), data)

    @pytest.mark.parametrize(
        ("make", "error", "status"),
        [
            (completions.CompletionReader, {"error": {"message": "No luck", "code": 429}}, 429),
            (completions.CompletionReader, {"error": "No luck"}, 500),
            (
                anthropic.MessageReader,
                {"type": "error", "error": {"type": "overloaded_error", "message": "No luck"}},
                529,
            ),
        ],
    )
    async def test_an_error_in_the_middle(self, make: Any, error: Any, status: int):
        with pytest.raises(ModelRefused, match="No luck") as refused:
            await read(make(), frames(error))
        assert refused.value.status == status

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (b'{"error": {"message": "a"}}', "a"), (b'{"error": "a"}', "a"), (b'{"message": "a"}', "a"),
            (b'[{"error": {"message": "a"}}]', "a"), (b'{"detail": [{"loc": 1}]}', '[{"loc":1}]'),
            (b" a page ", "a page"), (b"", ""), (b"x" * 5000, "x" * 1000),
        ],
    )  # fmt: skip
    def test_the_reasons_of_refusals(self, body: bytes, reason: str):
        assert reason_of(body) == reason


class TestVectors:
    async def test_each_text_has_one_in_its_order(self, url: str):
        texts = [f"word{number}" for number in range(150)]
        vectors = await embed(way(url), texts)
        assert {len(each) for each in vectors} == {256} and len(vectors) == 150
        assert vectors[149] == (await embed(way(url), ["word149"]))[0] != vectors[0]

    async def test_a_protocol_without_them_refuses(self, url: str):
        with pytest.raises(ModelRefused, match="no vectors"):
            await embed(way(url, "anthropic"), ["a"])


async def _until_text(answer: AsyncIterator[Said]) -> AsyncIterator[Said]:
    async for part in answer:
        yield part
        if isinstance(part, Text):
            return
