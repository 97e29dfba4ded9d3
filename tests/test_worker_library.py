"""The app in the library of Azure's own Python worker (3.13 on): it indexes, loads and answers there."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.emulator.processes import ROOT
from infra.local.environment import Environment
from tests.support.gateway import register

pytestmark = pytest.mark.skipif(sys.version_info < (3, 13), reason="azure-functions-runtime needs Python 3.13")

SAMPLE = ROOT / "tests/shared/http/sample"


def worker_host(what: str, folder: Path, **environment: str) -> dict[str, Any]:
    """Run `worker_host.py` in the folder of an app; returns what it has printed."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/worker_host.py"), what],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr or done.stdout
    return json.loads(done.stdout.strip().splitlines()[-1])


async def test_the_worker_library_indexes_loads_and_invokes_the_app(stack: Environment):
    gateway = await register(stack)
    await gateway.http.aclose()
    shown = worker_host("models", ROOT, **stack.app_settings, KEY=gateway.key)
    assert shown["status"] == 200
    assert {"python", "bash"} <= {model["id"] for model in shown["body"]["models"]}
    assert {"run_job", "maintenance_minute", "gateway_000_create_run"} <= set(shown["functions"])


async def test_in_the_worker_library_each_server_sent_event_arrives_before_the_next_is_made(storage: str):
    assert worker_host("events", SAMPLE, AzureWebJobsStorage=storage)["numbers"] == [0, 1, 2]
