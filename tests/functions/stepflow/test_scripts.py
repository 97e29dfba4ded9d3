"""Whole scripts of ten steps, as their watchers and readers see them."""

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.stepflow import StepFlow, Watcher

SCRIPTS = Path(__file__).with_name("scripts")


def ends(heard: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The steps in the order of their ends, each with its status."""
    steps = [message["data"]["step"] for message in heard if message["type"] == "step_update"]
    return [(step["name"], step["status"]) for step in steps if step["status"] != "running"]


def in_order(heard: list[dict[str, Any]]) -> None:
    """Started first, completed last, and between them each step's lines and files while it is open."""
    kinds = [message["type"] for message in heard]
    assert (kinds[0], kinds[-1]) == ("execution_started", "execution_completed")
    assert kinds.count("execution_started") == kinds.count("execution_completed") == 1
    open_step = None
    for message in heard[1:]:
        data = message["data"]
        if message["type"] == "step_update":
            assert (open_step is None) is (data["step"]["status"] == "running")
            open_step = data["step"]["id"] if open_step is None else None
        elif message["type"] == "log_entry":
            assert data["step_id"] == open_step
        elif message["type"] == "artifact_created":
            assert data["artifact"]["step_id"] == open_step


async def follow(stepflow: StepFlow, command: str | list[str], critical: str) -> tuple[dict[str, Any], Watcher]:
    async with stepflow.watch("/") as watcher:
        execution_id = await stepflow.create(command, environment={"CRITICAL": critical})
        await watcher.completed(execution_id)
    watcher.heard = watcher.of(execution_id)
    return await stepflow.data(f"/api/executions/{execution_id}"), watcher


class TestShellScript:
    @pytest.mark.parametrize("critical", ["no", "yes"])
    async def test_ten_steps_of_a_release(self, stepflow: StepFlow, critical: str):
        found, watcher = await follow(stepflow, (SCRIPTS / "pipeline.sh").read_text(), critical)
        execution, steps = found["execution"], {step["name"]: step for step in found["steps"]}
        in_order(watcher.heard)
        expected = {
            "Checkout": "completed", "Configure": "completed", "Compile": "completed", "Lint": "failed",
            "Unit tests": "completed", "Coverage": "completed", "Package": "completed", "Sign": "completed",
            "Upload": "completed", "Publish": "failed" if critical == "yes" else "completed",
        }  # fmt: skip
        assert {name: step["status"] for name, step in steps.items()} == expected
        assert ends(watcher.heard) == list(expected.items())
        assert [step["index"] for step in found["steps"]] == list(range(10))
        if critical == "yes":
            assert (execution["status"], execution["exit_code"]) == ("failed", 1)
            assert execution["error_message"] == "Critical step 'Publish' failed: registry refused"
            assert execution["duration_seconds"] < 40
            failure = watcher.heard[-2]
            assert failure["type"] == "error"
            assert (failure["data"]["error_code"], failure["data"]["error_message"]) == (
                "EXECUTION_ERROR",
                execution["error_message"],
            )
        else:
            assert (execution["status"], execution["exit_code"], execution["error_message"]) == ("completed", 0, None)
            assert [line["content"] for line in steps["Publish"]["logs"]] == ["done"]
        completed = 8 if critical == "yes" else 9
        assert (execution["total_steps"], execution["completed_steps"], execution["current_step_index"]) == (
            10,
            completed,
            9,
        )
        assert execution["progress_percentage"] == completed * 10.0
        assert execution["metadata"] == {"release": "1.2.3"}

        assert steps["Checkout"]["metadata"] == {"duration": 2, "branch": "main", "depth": 1}
        assert steps["Checkout"]["estimated_duration"] == 2.0
        assert (steps["Configure"]["description"], steps["Configure"]["estimated_duration"]) == (
            "writes the configuration",
            4.5,
        )
        assert (steps["Compile"]["stop_on_error"], steps["Compile"]["metadata"]["jobs"]) == (True, 4)
        assert [line["content"] for line in steps["Compile"]["logs"]] == ["cc a.c", "cc b.c"]
        assert (steps["Lint"]["exit_code"], steps["Lint"]["error_message"]) == (1, "3 warnings: style")
        assert steps["Package"]["metadata"] == {"format": "tar", "compress": True}
        assert steps["Sign"]["metadata"] == {"key": "release: 2026"}
        assert steps["Upload"]["metadata"] == {"retries": 3, "timeout": 1.5}

        files = {artifact["file_name"]: artifact for artifact in found["artifacts"]}
        assert list(files) == ["config.txt", "reports.tar.gz", "summary.json", "coverage.xml", "package.bin"]
        assert files["config.txt"]["step_id"] == steps["Configure"]["id"]
        assert files["config.txt"]["description"] == "what was configured"
        assert [files[name]["artifact_type"] for name in files] == ["document", "archive", "data", "data", "other"]
        assert (files["coverage.xml"]["file_size"], files["coverage.xml"]["mime_type"]) == (0, None)
        assert (await stepflow.http.get(files["coverage.xml"]["download_url"])).status_code == 404
        assert (await stepflow.http.get(files["package.bin"]["download_url"])).content == b"x" * 300_000
        packed = (await stepflow.http.get(files["reports.tar.gz"]["download_url"])).content
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            page = archive.extractfile("reports/html/index.html")
            assert page and page.read() == b"<p>42 passed</p>\n"


class TestPythonScript:
    @pytest.mark.parametrize("critical", ["no", "yes"])
    async def test_ten_steps_of_a_training(self, stepflow: StepFlow, critical: str):
        found, watcher = await follow(stepflow, ["python3", "-c", (SCRIPTS / "training.py").read_text()], critical)
        execution, steps = found["execution"], {step["name"]: step for step in found["steps"]}
        in_order(watcher.heard)
        expected = {
            "load data": "completed", "clean data": "completed", "split": "completed", "plot": "failed",
            "train": "completed", "evaluate": "completed", "export": "completed", "archive": "completed",
            "notify": "completed", "deploy": "failed" if critical == "yes" else "completed",
        }  # fmt: skip
        assert ends(watcher.heard) == list(expected.items())
        assert {name: step["status"] for name, step in steps.items()} == expected
        assert (execution["status"], execution["exit_code"]) == (
            ("failed", 1) if critical == "yes" else ("completed", 0)
        )
        assert ("deploy" in (execution["error_message"] or "")) is (critical == "yes")
        assert execution["metadata"] == {"project": "digits"}
        assert steps["load data"]["metadata"] == {"rows": 1000, "ratio": 0.8, "shuffle": True}
        assert steps["split"]["metadata"] == {"seed": 7}
        assert steps["train"]["metadata"] == {"epochs": 2, "rate": "-0.1"}
        assert [line["content"] for line in steps["clean data"]["logs"]] == ["in clean data"]

        files = {artifact["file_name"]: artifact for artifact in found["artifacts"]}
        assert list(files) == ["data.csv", "größe.png", "metrics.json", "model.bin", "notes.md"]
        assert files["größe.png"]["step_id"] == steps["plot"]["id"]
        assert [files[name]["step_id"] for name in files if name != "größe.png"] == [None] * 4
        answer = await stepflow.http.get(files["größe.png"]["download_url"])
        assert answer.content == b"\x89PNG\r\n\x1a\n"
        assert answer.headers["content-type"] == "image/png"
        assert "filename*=utf-8''gr%C3%B6%C3%9Fe.png" in answer.headers["content-disposition"]
        assert (files["model.bin"]["exists"], files["notes.md"]["exists"]) == (False, True)
        created = [message["data"]["artifact"] for message in watcher.heard if message["type"] == "artifact_created"]
        assert [each["file_name"] for each in created] == list(files)
        assert created[0]["download_url"] == files["data.csv"]["download_url"]
        assert watcher.heard[-1]["data"]["artifacts_count"] == 5
