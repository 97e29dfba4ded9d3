"""Demo mode: without any provider that could be asked, the chat answers with a text that says so."""

from collections.abc import AsyncIterator

from functions.ownpilot.chat.streaming import done_of
from functions.ownpilot.chat.trace import Trace
from functions.ownpilot.chat.turn import TurnAnswer
from functions.ownpilot.core.catalogue.resolve import view_of
from functions.ownpilot.core.settings_store import key_holders
from shared.http.sse import frame
from shared.tables.ids import new_id

CONVERSATION = "demo-conversation"
MODEL = "demo"

TEXT = (
    "This is the demo mode: no provider of models has an API key, and no local one is switched on. Store a key in the"
    " settings, and I can answer. You wrote: {message}"
)

QUOTED = 200
"""Characters of the message that are repeated."""


async def is_demo(owner: str) -> bool:
    """Whether no provider has a key, and no local one is switched on. Looks twice, as a key may have just been set."""
    for fresh in (False, True):
        view = await view_of(owner, fresh=fresh)
        local = any(each.source == "local" and each.is_enabled for each in view.providers.values())
        if local or await key_holders(owner):
            return False
    return True


def demo_answer(message: str) -> TurnAnswer:
    """Return the answer to a message. Nothing of it is stored."""
    text = TEXT.format(message=message if len(message) <= QUOTED else f"{message[:QUOTED]}...")
    trace = Trace().shown(
        {"provider": MODEL, "model": MODEL, "endpoint": "", "messageCount": 1},
        {"status": 200, "contentLength": len(text), "finishReason": "stop"},
    )
    usage = {"promptTokens": 0, "completionTokens": 0, "totalTokens": 0}
    return TurnAnswer(new_id(), CONVERSATION, text, MODEL, "stop", [], usage, trace)


async def demo_frames(message: str) -> AsyncIterator[bytes]:
    """Yield the same answer as server-sent events."""
    answer = demo_answer(message)
    yield frame("chunk", {"id": answer.id, "conversationId": CONVERSATION, "delta": answer.text, "done": False})
    yield frame("done", done_of(answer))
