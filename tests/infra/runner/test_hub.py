"""The runner's WebSocket client, against a server of the `websockets` library."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest
from websockets.sync.server import ServerConnection, serve

hub: Any = import_module("hub")


@contextmanager
def serving(handle: Callable[[ServerConnection], None], **options: Any) -> Iterator[str]:
    """The address of a server that handles each connection so."""
    with serve(handle, "127.0.0.1", 0, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/hub"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 300_000])
def test_messages_of_any_length_come_back_as_they_were_sent(size: int):
    def echo(socket: ServerConnection) -> None:
        for text in socket:
            socket.send(text)

    with serving(echo) as url:
        client = hub.HubClient(url, "token")
        text = "ü" * (size // 2) + "x" * (size % 2)
        client.send(text)
        assert next(iter(client)) == text
        client.close()


def test_fragments_are_joined_and_pings_are_answered_between_them():
    answered = threading.Event()

    def fragments(socket: ServerConnection) -> None:
        socket.send(["one ", "two ", "three"])
        if socket.ping().wait(30):
            answered.set()
        socket.send("last")

    with serving(fragments) as url:
        client = hub.HubClient(url, "token")
        assert list(client) == ["one two three", "last"]
        assert answered.is_set()
        client.close()


def test_a_silent_connection_is_tested_with_a_ping(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub, "SILENCE", 0.2)

    def answer_late(socket: ServerConnection) -> None:
        threading.Event().wait(1)
        socket.send("still here")

    with serving(answer_late) as url:
        client = hub.HubClient(url, "token")
        assert next(iter(client)) == "still here"
        client.close()


def test_a_message_that_is_too_large_ends_the_connection(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub, "LARGEST", 100)
    for message in ("x" * 101, ["x" * 60, "x" * 60]):
        with serving(lambda socket, message=message: socket.send(message)) as url:
            client = hub.HubClient(url, "token")
            with pytest.raises(OSError, match="too large"):
                next(iter(client))
            client.close()


def test_a_refused_connection_says_why_without_the_token():
    with (
        serving(lambda _: None, process_request=lambda socket, _: socket.respond(401, "no")) as url,
        pytest.raises(OSError, match="401") as refused,
    ):
        hub.HubClient(url, "hidden")
    assert "hidden" not in str(refused.value)
