"""OwnPilot's chat: what a turn costs beside the model, and each call of a tool in it."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any
from unittest.mock import patch

from bench.figures import Figure
from bench.growth import Timed, measured
from functions.ownpilot.chat import turn
from functions.ownpilot.chat.question import Question
from functions.ownpilot.core.catalogue import stored
from functions.ownpilot.core.catalogue.facts import Catalogue
from functions.ownpilot.core.llm import Finish, Message, Said, Text, ToolCall, Usage
from functions.ownpilot.core.local_store import LocalModel, LocalProvider, id_of_model, local_models, local_providers
from functions.ownpilot.core.owner import Person

OWNER, MODEL, CALLS = "bench", "instant", 10


async def figures(timed: Timed) -> list[Figure]:
    """Measure turns with a model that answers at once: without tools, and with some calls of one that only counts."""
    provider = LocalProvider(user_id=OWNER, name="Instant", provider_type="vllm", base_url="http://127.0.0.1:1")
    model = LocalModel(
        id=id_of_model(provider, MODEL), user_id=OWNER, local_provider_id=provider.id, model_id=MODEL,
        display_name=MODEL, context_window=200_000,
    )  # fmt: skip
    await local_providers.of(OWNER).insert(provider)
    await local_models.of(OWNER).insert(model)
    question = Question("hello", provider=provider.id, model=MODEL)
    tools = 0

    async def answer(way: Any, messages: Sequence[Message], *given: Any, **more: Any) -> AsyncGenerator[Said]:
        if tools and messages[-1].role == "user":
            for number in range(tools):
                yield ToolCall(f"{number}", "generate_uuid", "{}")
        else:
            yield Text("Good morning")
        yield Usage(10, 2)
        yield Finish("stop")

    async def shipped(*, fresh: bool = False) -> Catalogue:
        return catalogue

    catalogue = stored.shipped()
    with patch.object(turn, "ask", answer), patch.object(stored, "current", shipped):
        plain = await measured("a turn without tools", lambda: turn.take_turn(Person(OWNER), question), timed)
        tools = CALLS
        called = await measured("with tools", lambda: turn.take_turn(Person(OWNER), question), timed)
    by_unit = {figure.unit: figure for figure in plain}
    by_unit["calls"].at_most, by_unit["ms"].at_most = 18, 60
    each = (next(it.value for it in called if it.unit == "ms") - by_unit["ms"].value) / CALLS
    return [*plain, Figure("per tool call: processor time", each, "ms", at_most=25)]
