"""The answers of models, judged by the vendors' SDKs."""

import asyncio
import json
import math
from typing import Any

import anthropic
import httpx
import openai
import pytest

from infra.emulator.providers import KEY
from infra.emulator.providers.scripts import turn_of

MODEL = "stand-in-large"
CALLS: list[Any] = [
    "Let me see. ",
    {"call": "look", "arguments": {"at": "the ünder side"}},
    {"call": "feel", "arguments": {}},
]


def openai_sdk(url: str, key: str = KEY) -> openai.AsyncOpenAI:
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, http_client=http)


def anthropic_sdk(url: str, key: str = KEY) -> anthropic.AsyncAnthropic:
    http = anthropic.DefaultAsyncHttpxClient(trust_env=False)
    return anthropic.AsyncAnthropic(base_url=url, api_key=key, max_retries=0, http_client=http)


def script(*turns: list[Any]) -> Any:
    return [{"role": "user", "content": f"script: {json.dumps(turns)}"}]


async def requests(url: str, text: str) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        return (await http.get("/local/requests", params={"text": text})).json()


class TestChatCompletions:
    async def test_an_answer_as_a_whole(self, url: str):
        async with openai_sdk(url) as client:
            answer = await client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "Hello there"}]
            )
            assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (
                "You said: Hello there",
                "stop",
            )
            assert answer.usage and (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (10, 4)

    async def test_calls_of_tools_as_a_whole_and_streamed(self, url: str):
        async with openai_sdk(url) as client:
            whole = await client.chat.completions.create(model=MODEL, messages=script(CALLS))
            async with client.chat.completions.stream(
                model=MODEL, messages=script(CALLS), stream_options={"include_usage": True}
            ) as stream:
                streamed = await stream.get_final_completion()
            for answer in (whole, streamed):
                message = answer.choices[0].message
                assert (message.content, answer.choices[0].finish_reason) == ("Let me see. ", "tool_calls")
                calls: Any = message.tool_calls
                assert [(each.function.name, json.loads(each.function.arguments)) for each in calls] == [
                    ("look", {"at": "the ünder side"}),
                    ("feel", {}),
                ]
                assert answer.usage and answer.usage.total_tokens == 10 + 3 + 10

    async def test_the_fragments_of_two_calls_come_in_turns(self, url: str):
        asked = script(
            [{"call": "a", "arguments": {"x": "0123456789"}}, {"call": "b", "arguments": {"y": "0123456789"}}]
        )
        async with openai_sdk(url) as client:
            stream = await client.chat.completions.create(model=MODEL, messages=asked, stream=True)
            deltas = [chunk.choices[0].delta.tool_calls async for chunk in stream if chunk.choices]
        assert [each[0].index for each in deltas if each] == [0, 1] * 4

    @pytest.mark.parametrize(
        ("status", "error"),
        [(400, openai.BadRequestError), (401, openai.AuthenticationError), (429, openai.RateLimitError),
         (500, openai.InternalServerError)],
    )  # fmt: skip
    async def test_errors(self, url: str, status: int, error: type[openai.APIStatusError]):
        asked = script([{"error": status, "message": "No such luck", "retry_after": 7}])
        async with openai_sdk(url) as client:
            with pytest.raises(error, match="No such luck") as raised:
                await client.chat.completions.create(model=MODEL, messages=asked)
        assert raised.value.response.headers["retry-after"] == "7"

    async def test_a_wrong_key_and_an_unknown_model_are_refused(self, url: str):
        async with openai_sdk(url, "sk-wrong") as client:
            with pytest.raises(openai.AuthenticationError):
                await client.chat.completions.create(model=MODEL, messages=script(["a"]))
        async with openai_sdk(url) as client:
            with pytest.raises(openai.NotFoundError):
                await client.chat.completions.create(model="nothing", messages=script(["a"]))
            with pytest.raises(openai.BadRequestError):
                await client.chat.completions.create(model=MODEL, messages=script([{"colour": 1}]))


class TestMessages:
    async def test_an_answer_as_a_whole_and_streamed(self, url: str):
        async with anthropic_sdk(url) as client:
            whole = await client.messages.create(model=MODEL, max_tokens=100, messages=script(CALLS))
            async with client.messages.stream(model=MODEL, max_tokens=100, messages=script(CALLS)) as stream:
                streamed = await stream.get_final_message()
        for answer in (whole, streamed):
            text, look, feel = (block.to_dict() for block in answer.content)
            assert text == {"type": "text", "text": "Let me see. "}
            assert [(each["name"], each["input"]) for each in (look, feel)] == [
                ("look", {"at": "the ünder side"}),
                ("feel", {}),
            ]
            assert (answer.stop_reason, answer.usage.input_tokens, answer.usage.output_tokens) == ("tool_use", 10, 13)

    @pytest.mark.parametrize(
        ("status", "error"),
        [(400, anthropic.BadRequestError), (429, anthropic.RateLimitError), (529, anthropic.InternalServerError)],
    )
    async def test_errors(self, url: str, status: int, error: type[anthropic.APIStatusError]):
        async with anthropic_sdk(url) as client:
            with pytest.raises(error, match="No such luck"):
                asked = script([{"error": status, "message": "No such luck"}])
                await client.messages.create(model=MODEL, max_tokens=100, messages=asked)

    async def test_models_are_listed(self, url: str):
        async with anthropic_sdk(url) as client:
            assert MODEL in [model.id async for model in client.models.list()]

    async def test_a_wrong_key_is_refused(self, url: str):
        async with anthropic_sdk(url, "sk-wrong") as client:
            with pytest.raises(anthropic.AuthenticationError):
                await client.models.list()
            with pytest.raises(anthropic.AuthenticationError):
                await client.messages.create(model=MODEL, max_tokens=100, messages=script(["a"]))


class TestEmbeddings:
    async def test_texts_of_like_words_are_near_to_each_other(self, url: str):
        async with openai_sdk(url) as client:
            texts = ["a new car", "an automobile", "green tea"]
            answer = await client.embeddings.create(model=MODEL, input=texts, dimensions=64)
            car, automobile, tea = (each.embedding for each in answer.data)
            assert len(car) == 64 and math.dist(car, automobile) < math.dist(car, tea)
            assert answer.usage.prompt_tokens == 7
            assert len((await client.embeddings.create(model=MODEL, input="tea")).data[0].embedding) == 384
            with pytest.raises(openai.NotFoundError):
                await client.embeddings.create(model="nothing", input="tea")


class TestScripts:
    def test_the_last_turn_is_repeated(self):
        [asked] = script(["one"], ["two"])
        said = {"role": "assistant", "content": "x"}
        turns = [turn_of([asked, *[said] * number]) for number in range(4)]
        assert [each.steps[0].text for each in turns] == ["one", "two", "two", "two"]

    async def test_an_error_may_come_a_number_of_times_only(self, url: str):
        asked = script([{"error": 503, "times": 1}, "at last"])
        async with openai_sdk(url) as client:
            with pytest.raises(openai.InternalServerError):
                await client.chat.completions.create(model=MODEL, messages=asked)
            answer = await client.chat.completions.create(model=MODEL, messages=asked)
            assert answer.choices[0].message.content == "at last"

    async def test_a_member_may_be_refused(self, url: str):
        asked = script([{"refuse": "temperature"}, "ok"])
        async with openai_sdk(url) as client:
            with pytest.raises(openai.BadRequestError, match="temperature"):
                await client.chat.completions.create(model=MODEL, messages=asked, temperature=0.5)
            assert (await client.chat.completions.create(model=MODEL, messages=asked)).choices[
                0
            ].message.content == "ok"

    async def test_a_connection_may_break(self, url: str):
        asked = script(["one two ", {"break": True}])
        async with openai_sdk(url) as client:
            stream = await client.chat.completions.create(model=MODEL, messages=asked, stream=True)
            said: list[str | None] = []
            with pytest.raises((openai.APIError, httpx.HTTPError, OSError)):
                async for chunk in stream:
                    said.append(chunk.choices[0].delta.content)
        assert "".join(filter(None, said)) == "one two "
        assert [each["end"] for each in await requests(url, "one two")] == ["broken"]

    async def test_that_a_client_left_is_seen(self, url: str):
        asked = script(["words ", {"stall": True}])
        async with openai_sdk(url) as client:
            stream = await client.chat.completions.create(model=MODEL, messages=asked, stream=True)
            await anext(aiter(stream))
            await stream.close()
        async with asyncio.timeout(10):
            while [each["end"] for each in await requests(url, "words")] != ["left"]:
                await asyncio.sleep(0.02)

    @pytest.mark.parametrize(
        "text", ["script: x", "script: {}", "script: []", 'script: [[{"colour": 1}]]', "script: [1]"]
    )
    def test_what_is_no_script_is_refused(self, text: str):
        with pytest.raises((ValueError, TypeError)):
            turn_of([{"role": "user", "content": text}])
