"""Files that lines of output name: they are uploaded before their lines are passed on, which keep their times."""

import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.infra.runner.harness import App

# Imported as the runner does: from the folder that `conftest` has added to the path.
capture: Any = import_module("capture")

PATTERN = r"(?m)^ARTIFACT:(?P<path>.+)$"


class Pusher:
    """Notes what is passed on, and when it came."""

    over = None

    def __init__(self) -> None:
        self.passed: list[tuple[bytes, float]] = []

    def write(self, data: bytes, came: float) -> None:
        self.passed.append((data, came))


class SlowApp(App):
    """An app that answers nothing until the test lets it."""

    def __init__(self, uploads: str):
        super().__init__(uploads)
        self.asked, self.may_answer = threading.Event(), threading.Event()

    def post(self, path: str, body: bytes, kind: str = "") -> tuple[int, dict[str, Any]]:
        self.asked.set()
        assert self.may_answer.wait(60)
        return super().post(path, body, kind)


@pytest.fixture
def app(uploads: str) -> SlowApp:
    return SlowApp(uploads)


def capture_to(app: App, pusher: Pusher, folder: Path) -> Any:
    return capture.Capture(PATTERN, folder, folder, app, pusher)


def test_output_that_comes_during_an_upload_is_passed_on_after_it_with_its_own_time(app: SlowApp, tmp_path: Path):
    (tmp_path / "f").write_text("x")
    pusher = Pusher()
    lines = capture_to(app, pusher, tmp_path)
    lines.write(b"ARTIFACT: f\n")
    assert app.asked.wait(60)
    lines.write(b"during the upload\n")
    written = time.monotonic()
    time.sleep(2 * capture.APART)
    lines.write(b"later\n")
    assert pusher.passed == []
    app.may_answer.set()
    lines.finish()
    assert [data for data, _ in pusher.passed] == [b"ARTIFACT: f\n", b"during the upload\n", b"later\n"]
    (_, named), (_, during), (_, later) = pusher.passed
    assert named < during <= written < later
    assert [path for path, _ in app.posts] == ["/files", "/captures"]


def test_while_much_output_waits_for_an_upload_the_command_waits(
    app: SlowApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(capture, "AHEAD", 100)
    pusher = Pusher()
    lines = capture_to(app, pusher, tmp_path)
    lines.write(b"ARTIFACT: none\n")
    assert app.asked.wait(60)
    lines.write(b"x" * 100)
    waiting = threading.Thread(target=lines.write, args=[b"\ny"])
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    app.may_answer.set()
    waiting.join(60)
    lines.finish()
    assert b"".join(data for data, _ in pusher.passed) == b"ARTIFACT: none\n" + b"x" * 100 + b"\ny"
