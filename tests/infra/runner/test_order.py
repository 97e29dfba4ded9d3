"""The order that the app writes and the runner reads: one shape, and a refusal of everything else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from shared.order import VARIABLE, InputFile, MalformedOrder, Order

SMALLEST = Order(url="http://127.0.0.1:1/jobs/1", token="hidden-token", command=["true"], directory="w", timeout=60)
FULL = Order(
    url="https://app/jobs/1",
    token="hidden-token",
    command=["sh", "-c", "echo größer"],
    directory="workspace",
    timeout=60,
    inputs=[InputFile("main.py", "https://storage/inputs/1/main.py?sig=hidden")],
    secrets=["API_KEY"],
    environment={"A": "1"},
    keep="artifacts",
    report="report.json",
    capture="ARTIFACT: (?P<path>.*)",
    mask_words=False,
)

MALFORMED = {
    "": "not JSON: Expecting value: line 1 column 1 (char 0)",
    "[]": "the order is not a JSON object",
    '{"url": "u", "token": "hidden-token", "directory": "w", "timeout": 60}': "the order: command is missing",
    '{"url": "u", "token": "hidden-token", "command": "true"}': "the order: command has the wrong type",
    SMALLEST.to_json().replace('"inputs": []', '"inputs": [{"url": "hidden"}]'): "an input file: path is missing",
    SMALLEST.to_json().replace('"inputs": []', '"inputs": ["hidden"]'): "an input file is not a JSON object",
}


class TestOrder:
    @pytest.mark.parametrize("order", [SMALLEST, FULL])
    def test_comes_back_as_it_was_written(self, order: Order):
        assert Order.from_json(order.to_json()) == order

    def test_unknown_members_are_ignored_and_optional_ones_may_be_absent(self):
        members = {"url": SMALLEST.url, "token": SMALLEST.token, "command": ["true"], "directory": "w", "timeout": 60}
        assert Order.from_json(json.dumps({**members, "of a later version": 1})) == SMALLEST

    @pytest.mark.parametrize(("text", "reason"), MALFORMED.items(), ids=MALFORMED.values())
    def test_says_what_is_wrong_with_another_text(self, text: str, reason: str):
        with pytest.raises(MalformedOrder) as refused:
            Order.from_json(text)
        assert str(refused.value) == reason

    def test_shows_no_secret(self):
        assert "hidden" not in repr(FULL)


def run(image: Path, folder: Path, variables: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(image / "runner.py")]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=30, check=False)


class TestRunner:
    @pytest.mark.parametrize(("text", "reason"), MALFORMED.items(), ids=MALFORMED.values())
    def test_refuses_a_malformed_order_with_the_reason_and_no_secret(
        self, image: Path, tmp_path: Path, text: str, reason: str
    ):
        done = run(image, tmp_path, {VARIABLE: text})
        assert done.returncode == 78
        assert done.stderr == f"runner: {VARIABLE} holds no order that this runner understands: {reason}\n"
        assert done.stdout == ""
        assert list(tmp_path.iterdir()) == []

    def test_refuses_to_run_without_an_order(self, image: Path, tmp_path: Path):
        assert run(image, tmp_path, {}).returncode == 78
