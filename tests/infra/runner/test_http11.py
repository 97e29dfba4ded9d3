"""The runner's HTTP client, against a server that answers with given bytes."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest

http11: Any = import_module("http11")

OK = b"HTTP/1.1 200 OK\r\n"


class Server:
    """Answers the requests of each connection with the next of these bytes; an empty answer ends the connection."""

    def __init__(self, answers: list[bytes]):
        self.requests: list[bytes] = []
        self.connections = 0
        self._answers = iter(answers)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.netloc = f"127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        answer = next(self._answers, None)
        while answer is not None:
            connection, _ = self._socket.accept()
            self.connections += 1
            with connection:
                while answer is not None and (request := connection.recv(1 << 20)):
                    while b"\r\n\r\n" not in request or not request.split(b"\r\n\r\n", 1)[1].endswith(b"."):
                        if b"Content-Length: 0" in request or request.startswith(b"GET"):
                            break
                        request += connection.recv(1 << 20)
                    self.requests.append(request)
                    connection.sendall(answer)
                    answer = next(self._answers, None)
                    if self.requests[-1].startswith(b"GET /last"):
                        break
        self._socket.close()


@contextmanager
def connected(*answers: bytes) -> Iterator[tuple[Any, Server]]:
    server = Server([*answers])
    connection = http11.HttpConnection("http", server.netloc)
    yield connection, server
    connection.close()


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 5\r\n\r\nhello",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3;name=value\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: x\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"content-length:5\r\n\r\nhello",
    ],
    ids=["length", "chunks", "continue"],
)
def test_bodies_are_read_to_their_end_and_the_connection_serves_the_next_request(answer: bytes):
    with connected(answer, answer) as (connection, server):
        for _ in range(2):
            response = connection.request("POST", "/path?a=b", b"data.", {"Content-Type": "text/plain"})
            assert (response.status, response.read(2), response.read(), response.read()) == (200, b"he", b"llo", b"")
        assert server.connections == 1
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        assert body == b"data."
        assert head.split(b"\r\n")[0] == b"POST /path?a=b HTTP/1.1"
        assert {b"Content-Type: text/plain", b"Content-Length: 5", f"Host: {server.netloc}".encode()} <= {
            *head.split(b"\r\n")
        }


def test_a_body_in_parts_is_sent_as_it_comes():
    with connected(OK + b"Content-Length: 0\r\n\r\n") as (connection, server):
        response = connection.request("PUT", "/", iter([b"one ", b"two."]), {"Content-Length": "8"})
        assert (response.status, response.read()) == (200, b"")
        assert server.requests[0].endswith(b"\r\n\r\none two.")


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.0 200 OK\r\n\r\nhello", OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello"]
)
def test_after_the_last_answer_of_a_connection_a_new_one_is_opened(answer: bytes):
    with connected(answer, answer) as (connection, server):
        for _ in range(2):
            assert connection.request("GET", "/last").read() == b"hello"
        assert server.connections == 2


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_ends_with_its_head(status: int):
    with connected(f"HTTP/1.1 {status} None\r\n\r\n".encode(), OK + b"Content-Length: 0\r\n\r\n") as (
        connection,
        server,
    ):
        response = connection.request("GET", "/")
        assert (response.status, response.read()) == (status, b"")
        assert connection.request("GET", "/").read() == b""
        assert server.connections == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (OK + b"Content-Length: 50\r\n\r\nhello", "cut off"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n50\r\nhello", "cut off"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "cut off"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nx\r\nhello", "no length"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello", "no length"),
        (OK + b"Content-Le", "cut off"),
        (b"", "cut off"),
        (b"SSH-2.0 hello\r\n", "HTTP/1.1"),
        (OK + b"Long: " + b"x" * 70_000, "too long"),
        (OK + b"".join(b"Name-%d: x\r\n" % number for number in range(300)), "too many"),
    ],
)
def test_an_answer_that_is_cut_off_or_no_http_is_an_error_and_the_next_request_works(answer: bytes, error: str):
    with connected(answer, OK + b"Content-Length: 2\r\n\r\nok") as (connection, _):
        with pytest.raises(OSError, match=error):
            connection.request("GET", "/last").read()
        assert connection.request("GET", "/last").read() == b"ok"


@pytest.mark.parametrize(
    "call", [lambda c: c.request("GET", "/\r\nX: y"), lambda c: c.request("GET", "/", b"", {"A": "b\nc"})]
)
def test_a_line_break_in_a_header_is_refused(call: Callable[[Any], Any]):
    with connected(b"") as (connection, server):
        with pytest.raises(ValueError, match="line break"):
            call(connection)
        assert server.requests == []


def test_nobody_who_listens_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        netloc = f"127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(OSError):
        http11.HttpConnection("http", netloc).request("GET", "/")
