"""What the runner tells the app about the times of its output."""

from collections.abc import Callable
from typing import Any

import pytest

from shared.order import AGES

# Imported as the runner does: from the folder that `conftest` has added to the path.
import push  # isort: skip  # pyright: ignore[reportMissingImports]


class Clock:
    """A clock that stands still until it is set."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


class App:
    """An app that takes every push."""

    def __init__(self, clock: Clock):
        self.clock, self.pushes = clock, list[tuple[str, bytes, str]]()

    def post(
        self, path: str, body: bytes, kind: str = "", headers: Callable[[], dict[str, str]] = dict
    ) -> tuple[int, dict[str, Any]]:
        self.pushes.append((path, body, headers().get(AGES, "")))
        return 200, {}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(push.time, "monotonic", clock.monotonic)
    monkeypatch.setattr(push.threading.Thread, "start", lambda self: None)  # the test pushes itself
    return clock


def test_each_push_says_how_long_ago_its_parts_were_printed(clock: Clock):
    pusher = push.Pusher(App(clock))
    app = pusher._api
    pusher.write(b"one\n")
    clock.now += 0.001
    pusher.write(b"two\n")  # too close to be told apart
    clock.now += 2
    pusher.write(b"three\n")
    clock.now += 1
    pusher._push(*pusher._next())
    pusher.write(b"four\n")
    clock.now += 5
    pusher._push(*pusher._next())
    assert app.pushes == [
        ("/events?offset=0", b"one\ntwo\nthree\n", "0:3.001,8:1.000"),
        ("/events?offset=14", b"four\n", "14:5.000"),
    ]


def test_a_push_has_a_bounded_number_of_moments_and_the_next_goes_on_after_them(clock: Clock):
    pusher = push.Pusher(App(clock))
    app = pusher._api
    for number in range(push.MOMENTS + 50):
        pusher.write(b"%03d\n" % number)
        clock.now += 1
    while (ready := pusher._next())[0]:
        pusher._push(*ready)
    assert [ages.count(":") for _, _, ages in app.pushes] == [push.MOMENTS, 50]
    assert b"".join(body for _, body, _ in app.pushes) == b"".join(b"%03d\n" % n for n in range(push.MOMENTS + 50))
