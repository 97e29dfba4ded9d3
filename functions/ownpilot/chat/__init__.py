"""The chat: a message to the assistant, answered whole or as a stream."""

from typing import Annotated, Any, Literal

from fastapi import Request, Response
from pydantic import AfterValidator, Field

from functions.ownpilot.chat.conversations import pointers
from functions.ownpilot.chat.demo import demo_answer, demo_frames, is_demo
from functions.ownpilot.chat.preparing import prepare
from functions.ownpilot.chat.question import EarlierMessage, Origin, Question
from functions.ownpilot.chat.streaming import frames
from functions.ownpilot.chat.turn import TurnAnswer, take_turn
from functions.ownpilot.core.catalogue.resolve import defaults_of
from functions.ownpilot.core.entry import Given, Shown
from functions.ownpilot.core.owner import Owner, routes_for
from shared.http.bodies import example
from shared.http.json import not_blank
from shared.http.ratelimit import address_of
from shared.http.sse import event_stream
from shared.redaction import redact

routes = routes_for("chat")

Id = Annotated[str, Field(max_length=200)]


class PastMessage(Given):
    """A message of a conversation that the client kept itself."""

    role: Literal["user", "assistant"]
    content: str


class ChatRequest(Given):
    """A message. Without `conversationId` it goes into the current conversation with the provider, model and agent.

    `history` is used where there is no current conversation. `directTools` are names of tools that the model gets
    besides the ones that find others.
    """

    model_config = example(message="Hello, what can you do?")

    message: Annotated[str, AfterValidator(not_blank)]
    conversation_id: Id | None = None
    agent_id: Id | None = None
    provider: Id | None = None
    model: Id | None = None
    stream: bool = False
    include_tool_list: bool = False
    workspace_id: Id | None = None
    direct_tools: Annotated[list[Id], Field(max_length=100)] = []
    history: Annotated[list[PastMessage], Field(max_length=100)] = []


class TokensShown(Shown):
    """Tokens of all calls of the model together."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class CalledTool(Shown):
    """A tool that the model called."""

    id: str
    name: str
    arguments: dict[str, Any]


class ChatAnswer(Shown):
    """The answer; `message` and `response` are the same text. Times in `trace` are in milliseconds."""

    id: str
    conversation_id: str
    message: str
    response: str
    model: str
    tool_calls: list[CalledTool] | None
    usage: TokensShown
    finish_reason: str | None
    trace: dict[str, Any]


class ContextReset(Given):
    """Which conversations shall no longer be the current ones: those with a provider and model, or all."""

    model_config = example(provider="openai", model="gpt-4o")

    provider: Id | None = None
    model: Id | None = None
    clear_all: bool = False


def _shown(answer: TurnAnswer) -> ChatAnswer:
    return ChatAnswer.model_validate({
        "id": answer.id, "conversation_id": answer.conversation_id, "message": answer.text, "response": answer.text,
        "model": answer.model, "tool_calls": answer.calls or None, "usage": {
            "prompt_tokens": answer.usage["promptTokens"], "completion_tokens": answer.usage["completionTokens"],
            "total_tokens": answer.usage["totalTokens"],
        }, "finish_reason": answer.finish_reason, "trace": answer.trace,
    })  # fmt: skip


def _question(body: ChatRequest, request: Request) -> Question:
    origin = Origin(
        request.url.path, request.method, address_of(request) or None,
        redact(request.headers.get("user-agent", ""))[:500] or None,
    )  # fmt: skip
    return Question(
        body.message, body.conversation_id or None, body.agent_id or None, body.provider or "", body.model or "",
        [EarlierMessage(each.role, each.content) for each in body.history], body.direct_tools, body.include_tool_list,
        body.workspace_id or None, origin=origin,
    )  # fmt: skip


@routes.post("", response_model=ChatAnswer, responses={200: {"content": {"text/event-stream": {}}}})
async def send_message(body: ChatRequest, owner: Owner, request: Request) -> ChatAnswer | Response:
    """Send a message to the assistant, which may use tools before it answers.

    With `stream` the answer comes as server-sent events: `progress`, `chunk`, `autonomy`, and as the last one either
    `done` or `error`. An answer that takes longer than 200 seconds, or 480 as a stream, ends as it is, and says so.
    """
    if await is_demo(owner.id):
        return event_stream(demo_frames(body.message)) if body.stream else _shown(demo_answer(body.message))
    question = _question(body, request)
    if body.stream:
        return event_stream(frames(await prepare(owner, question)))
    return _shown(await take_turn(owner, question))


@routes.post("/reset-context")
async def reset_context(body: ContextReset, owner: Owner) -> dict[str, Any]:
    """Let the next message begin a new conversation: with a provider and model, or with `clearAll` with all.

    Without a model it holds for all models of the provider; without a provider for what is used by default.
    """
    own = pointers.of(owner.id)
    if body.clear_all:
        cleared = await own.clear()
        return {"cleared": cleared, "message": f"{cleared} conversations are no longer current"}
    provider, model = body.provider or None, body.model or None
    if provider is None:
        defaults = await defaults_of(owner.id)
        provider, model = defaults.provider, model or defaults.model
    where = {name: value for name, value in (("provider", provider), ("model", model)) if value is not None}
    cleared = await own.clear(where) if where else 0
    return {
        "reset": cleared > 0, "provider": provider, "model": model,
        "message": "The next message begins a new conversation",
    }  # fmt: skip
