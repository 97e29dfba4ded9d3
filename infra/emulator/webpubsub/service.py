"""What REST requests and client sockets share: state, event handlers, access key and address."""

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from infra.emulator.webpubsub import tokens
from infra.emulator.webpubsub.state import Hubs
from infra.emulator.webpubsub.upstream import Upstream


@dataclass(frozen=True)
class WebPubSubService:
    """One running emulator of Web PubSub."""

    hubs: Hubs
    upstream: Upstream
    key: str
    host: str  # host:port; requests may name the same machine differently

    def token(self, request: web.Request) -> str | None:
        """The token of a request, from its header or its query; None without one."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return token if scheme.lower() == "bearer" else request.query.get("access_token")

    def claims(self, token: str, request: web.Request) -> dict[str, Any]:
        """The claims of a token issued for the address of this request. Raises InvalidToken."""
        return tokens.claims(token, key=self.key, hosts={self.host, request.host.lower()}, path=request.path)


SERVICE = web.AppKey("service", WebPubSubService)
