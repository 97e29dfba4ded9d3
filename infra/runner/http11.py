"""A client of HTTP/1.1 for what a job's container asks of the app and of storage.

Importing `http.client` would take longer than all else that the start of a job waits for.
"""

import socket
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

TIMEOUT = 60.0  # seconds of every wait
LONGEST_LINE = 64 * 1024  # bytes of a line of an answer's head
MOST_HEADERS = 200


class HttpError(OSError):
    """The answer is not one of HTTP/1.1, or it was cut off."""


class HttpConnection:
    """A connection to a server, opened by the first request, and again after the server or an error has closed it.

    The answer to a request must be read to its end before the next request.
    """

    def __init__(self, scheme: str, netloc: str):
        place = urlsplit(f"//{netloc}")
        self._secure, self._netloc, self._host = scheme == "https", netloc, place.hostname or ""
        self._port = place.port or (443 if self._secure else 80)
        self._socket: socket.socket | None = None
        self._file: Any = None

    def request(
        self, method: str, target: str, body: bytes | Iterable[bytes] = b"", headers: Mapping[str, str] | None = None
    ) -> "Response":
        """Send a request and return the answer once its head is there. `OSError`, `ValueError` for a bad header.

        A body in parts needs its `Content-Length` among the headers.
        """
        whole = body if isinstance(body, bytes) else None
        fields = {"Host": self._netloc, "Accept-Encoding": "identity", **(headers or {})}
        if whole is not None and (whole or method != "GET"):
            fields["Content-Length"] = str(len(whole))
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("a header has a line break")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        try:
            connected = self._connected()
            connected.sendall(head + (whole or b""))
            for part in () if isinstance(body, bytes) else body:
                connected.sendall(part)
            return Response(self, self._file)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._file.close()
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        if self._socket is None:
            plain = socket.create_connection((self._host, self._port), TIMEOUT)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = secured(plain, self._host) if self._secure else plain
            self._file = self._socket.makefile("rb")
        return self._socket


class Response:
    """An answer: its `status`, and its body by `read`."""

    def __init__(self, connection: HttpConnection, file: Any):
        self._connection, self._file = connection, file
        version, self.status, fields = self._head()
        while 100 <= self.status < 200:
            version, self.status, fields = self._head()
        self._last = fields.get("connection", "").lower() == "close" or version == b"HTTP/1.0"
        self._chunked = "chunked" in fields.get("transfer-encoding", "").lower()
        self._left: int | None = 0
        """Bytes of the body, or of its current chunk, that are not read; None up to the end of the connection."""
        self._ended = self.status in (204, 304)
        if not self._chunked and not self._ended:
            length = fields.get("content-length")
            self._left, self._last = (int(length), self._last) if length and length.isdecimal() else (None, True)
            self._ended = self._left == 0
        if self._ended:
            self._finish()

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes of the body, at most `size`; all of the rest without it; b"" at its end.

        `HttpError` when the body is cut off.
        """
        if size < 0:
            return b"".join(iter(lambda: self.read(1 << 20), b""))
        try:
            return b"" if self._ended else self._next(size)
        except BaseException:
            self._connection.close()
            raise

    def _next(self, size: int) -> bytes:
        if self._chunked and not self._left:
            self._left = self._chunk()
            if not self._left:
                while self._line():  # trailers
                    pass
                self._finish()
                return b""
        data = self._file.read(size if self._left is None else min(size, self._left))
        if self._left is None:
            if not data:
                self._finish()
            return data
        if not data:
            raise HttpError("the answer was cut off")
        self._left -= len(data)
        if self._chunked and not self._left:
            self._line()
        elif not self._left:
            self._finish()
        return data

    def _finish(self) -> None:
        self._ended = True
        if self._last:
            self._connection.close()

    def _head(self) -> tuple[bytes, int, dict[str, str]]:
        version, _, rest = self._line().partition(b" ")
        status = rest[:3]
        if not version.startswith(b"HTTP/1.") or not status.isdigit():
            raise HttpError("the server has not answered in HTTP/1.1")
        fields: dict[str, str] = {}
        while line := self._line():
            name, _, value = line.decode("latin-1").partition(":")
            fields[name.strip().lower()] = value.strip()
            if len(fields) > MOST_HEADERS:
                raise HttpError("the answer has too many headers")
        return version, int(status), fields

    def _chunk(self) -> int:
        digits = self._line().partition(b";")[0].strip()
        if not digits or digits.strip(b"0123456789abcdefABCDEF"):
            raise HttpError("a chunk of the answer has no length")
        return int(digits, 16)

    def _line(self) -> bytes:
        line = self._file.readline(LONGEST_LINE)
        if not line.endswith(b"\n"):
            raise HttpError(
                "a line of the answer is too long" if len(line) == LONGEST_LINE else "the answer was cut off"
            )
        return line.rstrip(b"\r\n")


def secured(plain: socket.socket, host: str) -> socket.socket:
    """Return the socket with TLS, by which the server has proved its name."""
    import ssl  # 12 ms, and not needed on a laptop

    return ssl.create_default_context().wrap_socket(plain, server_hostname=host)
