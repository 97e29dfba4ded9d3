"""One HTTP connection: how long it waits for a slow client, and how it ends when the host stops."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

Awaited = Literal["first byte", "header", "body", ""]
"""What a connection waits for; empty while it waits for the app."""

MAX_HEADER = 64 * 1024
"""Bytes of a request's header, which the parser does not limit."""

TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 24\r\n\r\nThe request is too slow."
)
TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 24\r\n\r\nThe header is too large."
)


@dataclass(frozen=True)
class ConnectionLimits:
    """How many seconds a connection waits for its client."""

    header: float = 30
    """For the end of a request's header, counted from its first byte or from the start of the connection."""
    body: float = 60
    """For the next piece of a request's body."""
    last_request: float = 1
    """When the host stops: for the first byte of a connection that has sent none yet."""


class PatientConnection(HttpToolsProtocol):
    """uvicorn's connection, with time limits for reading: a client that exceeds one gets 408 and is disconnected.

    When the server stops, idle connections are closed, except for those that have not sent their first request yet:
    their clients have just connected, and would see a request fail that they are about to send.
    """

    limits = ConnectionLimits()

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._is_stopping = self._has_sent = False
        self._reading: Literal["header", "body", ""] = ""
        self._header_size = 0
        self._awaited: Awaited = ""
        self._limit: asyncio.TimerHandle | None = None
        self._wait_for("header", self.limits.header, self._refuse)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._reading = "header"

    def on_headers_complete(self) -> None:
        self._reading, self._header_size = "body", 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._reading = ""
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        # What ends a body is no part of the next header; the response may have come before it.
        size = 0 if self._reading == "body" else self._header_size + len(data)
        self._has_sent = True
        super().data_received(data)
        if self._is_stopping and self.cycle is not None:
            self.cycle.keep_alive = False
        if self.transport.is_closing() or self.transport.get_protocol() is not self:  # it has become a WebSocket
            return
        if self._reading == "body":
            self._wait_for("body", self.limits.body, self._refuse_body)
        elif self._reading == "" and self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif size > MAX_HEADER:
            self._refuse(TOO_LARGE)
        else:
            self._header_size = size
            if self._awaited != "header":
                self._wait_for("header", self.limits.header, self._refuse)

    def handle_websocket_upgrade(self) -> None:
        self._stop_waiting()
        super().handle_websocket_upgrade()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Called by the server when it stops."""
        self._is_stopping = True
        if self.cycle is not None:
            super().shutdown()
        elif not self._has_sent:
            self._wait_for("first byte", self.limits.last_request, self.transport.close)

    def _wait_for(self, awaited: Awaited, seconds: float, then: Callable[[], None]) -> None:
        self._stop_waiting()
        self._awaited, self._limit = awaited, self.loop.call_later(seconds, then)

    def _stop_waiting(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
        self._awaited, self._limit = "", None

    def _refuse_body(self) -> None:
        if self.flow.read_paused or self.cycle.waiting_for_100_continue:  # the client waits for the app
            self._wait_for("body", self.limits.body, self._refuse_body)
        else:
            self._refuse()

    def _refuse(self, answer: bytes = TOO_SLOW) -> None:
        """End the connection; the app gets a disconnect."""
        if self.cycle is None or self.cycle.response_complete:
            is_answered = self._reading == "body"  # the rest of the body comes after the response
        else:
            is_answered = self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if not is_answered:
            self.transport.write(answer)
        self.transport.close()
