"""The app in the library of Azure's own Python worker (3.13 on): it indexes, loads and answers there."""

import json
import os
import subprocess
import sys

import pytest

from infra.emulator.processes import ROOT
from infra.local.environment import Environment
from tests.support.gateway import register

pytestmark = pytest.mark.skipif(sys.version_info < (3, 13), reason="azure-functions-runtime needs Python 3.13")


async def test_it_indexes_loads_and_answers(stack: Environment):
    gateway = await register(stack)
    await gateway.http.aclose()
    environment = {**os.environ, **stack.app_settings, "KEY": gateway.key}
    done = subprocess.run(
        [sys.executable, "tests/worker_host.py"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr or done.stdout
    shown = json.loads(done.stdout.strip().splitlines()[-1])
    assert shown["status"] == 200
    assert {"python", "bash"} <= {model["id"] for model in shown["body"]["models"]}
    assert {"run_job", "maintenance_minute", "gateway_00_create_run"} <= set(shown["functions"])
