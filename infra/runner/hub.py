"""A client of a WebSocket hub (RFC 6455): text frames in both directions, without extensions."""

import base64
import hashlib
import os
import socket
import struct
import threading
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

from http11 import secured

TIMEOUT = 30.0  # seconds for the connection
SILENCE = 60.0  # seconds without a frame, after which a ping is sent
LARGEST = 4 * 1024 * 1024  # bytes of a message
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # of the protocol

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


class HubClient:
    """One connection to `url` (`ws://` or `wss://`), with an access token; one thread reads, any thread sends."""

    def __init__(self, url: str, token: str):
        parts = urlsplit(url)
        secure = parts.scheme == "wss"
        self._socket = socket.create_connection((parts.hostname or "", parts.port or (443 if secure else 80)), TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if secure:
            self._socket = secured(self._socket, parts.hostname or "")
        self._lock, self._received = threading.Lock(), bytearray()
        try:
            self._open(parts.netloc, f"{parts.path}?access_token={quote(token, safe='')}")
        except OSError:
            self.close()
            raise
        self._socket.settimeout(SILENCE)

    def close(self) -> None:
        """End the connection without a word."""
        self._socket.close()

    def _open(self, host: str, target: str) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = self._head()
        status = head.split(b" ", 2)[1:2]
        accept = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest())
        if status != [b"101"] or accept not in head:
            raise OSError(f"the hub has refused the connection: {head[:100].decode('latin-1')!r}")

    def _head(self) -> bytes:
        while b"\r\n\r\n" not in self._received:
            if len(self._received) > 65_536 or not self._receive():
                raise OSError("the hub has not answered as a WebSocket does")
        head, _, rest = bytes(self._received).partition(b"\r\n\r\n")
        self._received[:] = rest
        return head

    def _receive(self) -> bool:
        data = self._socket.recv(65_536)
        self._received += data
        return bool(data)

    def send(self, text: str) -> None:
        """Send a text message. `OSError` when the connection has ended."""
        self._send(TEXT, text.encode())

    def _send(self, opcode: int, data: bytes) -> None:
        size, mask = len(data), os.urandom(4)
        if size < 126:
            length = bytes([128 | size])
        else:
            length = struct.pack(">BH", 254, size) if size < 65_536 else struct.pack(">BQ", 255, size)
        pattern = (mask * (size // 4 + 1))[:size]
        masked = (int.from_bytes(data, "big") ^ int.from_bytes(pattern, "big")).to_bytes(size, "big")
        with self._lock:
            self._socket.sendall(bytes([128 | opcode]) + length + mask + masked)

    def __iter__(self) -> Iterator[str]:
        """Yield the text messages until the hub closes the connection. `OSError` when it breaks."""
        message = bytearray()
        while True:
            final, opcode, data = self._frame()
            if opcode == CLOSE:
                self._send(CLOSE, data[:2])
                return
            if opcode == PING:
                self._send(PONG, data)
            elif opcode in (CONTINUATION, TEXT, BINARY):
                message += data
                if len(message) > LARGEST:
                    raise OSError("a message of the hub is too large")
                if final:
                    yield message.decode()
                    message.clear()

    def _frame(self) -> tuple[bool, int, bytes]:
        first, second = self._bytes(2)
        size = second & 127
        if size >= 126:
            size = int.from_bytes(self._bytes(2 if size == 126 else 8), "big")
        if size > LARGEST:
            raise OSError("a frame of the hub is too large")
        return bool(first & 128), first & 15, self._bytes(size)

    def _bytes(self, count: int) -> bytes:
        """Return the next bytes; a silent connection is tested once with a ping. `OSError` when it has ended."""
        pinged = False
        while len(self._received) < count:
            try:
                if not self._receive():
                    raise OSError("the hub has closed the connection")
                pinged = False
            except TimeoutError:
                if pinged:
                    raise
                self._send(PING, b"")
                pinged = True
        data = bytes(self._received[:count])
        del self._received[:count]
        return data
