"""The HTTP surface on one port: routes, refusals of foreign pages, answers set by a test, and 501 for the rest."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from infra.emulator.origins import Origins
from infra.emulator.providers import (
    completions,
    discord,
    embeddings,
    google,
    messages,
    operations,
    outside,
    slack,
    telegram,
)
from infra.emulator.providers.state import STATE, ProvidersState, SetAnswer

log = logging.getLogger(__name__)

_PIECE = b" " * 65_536

MAX_BODY = 64 * 1024 * 1024
"""Bytes of a request."""


def routes() -> list[web.AbstractRouteDef]:
    """Every operation; the last route answers all other requests with 501."""
    return [
        web.get("/api.json", operations.list_catalogue),
        web.get("/v1/models", list_models),
        web.get("/v1/models/{model:.+}", operations.get_openai_model),
        web.get("/stats/eurofxref/eurofxref-daily.xml", operations.list_exchange_rates),
        web.get("/api/tags", operations.list_ollama_models),
        web.get("/api/version", operations.show_version),
        web.post("/v1/chat/completions", completions.complete),
        web.post("/v1/embeddings", embeddings.embed),
        web.post("/v1/messages", messages.create_message),
        web.get("/google/o/oauth2/v2/auth", google.agree),
        web.post("/google/token", google.give_tokens),
        web.get("/google/v1/userinfo", google.show_user),
        web.post("/google/revoke", google.revoke),
        web.get("/google/local/given", google.count_tokens),
        web.post("/telegram/bot{token}/{method}", telegram.call_method),
        web.post("/slack/api/{method}", slack.call_method),
        web.get("/discord/api/v10/users/@me", discord.show_user),
        web.post("/discord/api/v10/channels/{channel}/messages", discord.create_message),
        web.patch("/discord/api/v10/webhooks/{application}/{token}/messages/@original", discord.edit_original),
        web.post("/discord/api/v10/webhooks/{application}/{token}", discord.follow_up),
        *outside.routes(),
        web.get("/local/requests", operations.list_requests),
        web.put("/local/answers", operations.set_answers),
        web.route("*", "/{path:.*}", unsupported),
    ]


async def list_models(request: web.Request) -> web.StreamResponse:
    """GET /v1/models, in the form of Anthropic for those who name a version of its protocol."""
    spoken = messages.list_models if "anthropic-version" in request.headers else operations.list_openai_models
    return await spoken(request)


async def unsupported(request: web.Request) -> web.Response:
    """501 for every operation that the emulator does not have, with a warning in the log."""
    log.warning("501: %s %s", request.method, request.path)
    message = f"{request.method} {request.path} is not implemented by the emulator"
    return operations.openai_error(501, message, "server_error", "not_implemented")


def guard(origins: Origins) -> Middleware:
    """The middleware that refuses requests of foreign web pages, and gives the answers that a test has set."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        headers = request.headers
        if refused := origins.refusal(headers.get("Host"), headers.get("Origin"), for_pages=False):
            return web.Response(status=refused[0], text=refused[1])
        answer = request.app[STATE].answers.get(request.path)
        return await (handler(request) if answer is None else _send(request, answer))

    return check


async def _send(request: web.Request, answer: SetAnswer) -> web.StreamResponse:
    await asyncio.sleep(answer.pause)
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    await response.prepare(request)
    await response.write(answer.text.encode())
    for start in range(0, answer.size, len(_PIECE)):
        await response.write(_PIECE[: answer.size - start])
    return response


@asynccontextmanager
async def serving(port: int, *, origins: Origins | None = None) -> AsyncIterator[None]:
    """Serve on a loopback port."""
    app = web.Application(middlewares=[guard(origins or Origins())], client_max_size=MAX_BODY)
    app[STATE] = ProvidersState()
    app[google.CONSENT] = google.ConsentState()
    app[telegram.BOTS] = telegram.BotsState()
    app[discord.MESSAGES] = discord.MessagesState()
    app.router.add_routes(routes())
    # Without the cancellation an answer to a client that has left would be sent to its end.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield
    finally:
        await runner.cleanup()
