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


def test_a_push_has_all_output_so_far_and_a_bounded_number_of_moments_from_all_of_it(clock: Clock):
    pusher = push.Pusher(App(clock))
    app = pusher._api
    count = push.MOMENTS + 50
    for number in range(count):
        pusher.write(b"%03d\n" % number)
        clock.now += 1
    pusher._push(*pusher._next())
    [(_, body, ages)] = app.pushes
    assert body == b"".join(b"%03d\n" % number for number in range(count))
    assert ages.split(",") == [f"{4 * number}:{count - number:.3f}" for number in range(0, count, 2)]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_that_is_not_the_apps_own_is_repeated(status: int, monkeypatch: pytest.MonkeyPatch):
    answers = iter([(status, {}), (status, {}), (200, {"offset": 0})])
    api = push.JobApi("http://127.0.0.1:9/jobs/1", "token")
    monkeypatch.setattr(api, "_once", lambda *_: next(answers))
    assert api.post("/events?offset=0", b"") == (200, {"offset": 0})


@pytest.mark.parametrize("status", [401, 404, 410])
def test_the_apps_own_refusal_ends_the_job(status: int, monkeypatch: pytest.MonkeyPatch):
    api = push.JobApi("http://127.0.0.1:9/jobs/1", "token")
    monkeypatch.setattr(api, "_once", lambda *_: (status, {"error": "gone"}))
    with pytest.raises(push.Over, match="gone"):
        api.post("/events?offset=0", b"")
