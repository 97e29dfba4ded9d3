"""What the client side and the REST side share: state, handlers, key and address."""

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from infra.emulator.webpubsub import tokens
from infra.emulator.webpubsub.state import Hubs
from infra.emulator.webpubsub.upstream import Upstream


@dataclass(frozen=True)
class WebPubSubService:
    """One running stand-in."""

    hubs: Hubs
    upstream: Upstream
    key: str
    host: str  # host:port; a request may come under another name of the same machine

    def token(self, request: web.Request) -> str | None:
        """The token that a request carries, in its header or its query."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return token if scheme.lower() == "bearer" else request.query.get("access_token")

    def claims(self, token: str, request: web.Request) -> dict[str, Any]:
        """The claims of a token made out for the address of this request; `tokens.InvalidToken` otherwise."""
        return tokens.claims(token, key=self.key, hosts={self.host, request.host.lower()}, path=request.path)


SERVICE = web.AppKey("service", WebPubSubService)
