"""The app gives no cause for warnings of Python and its libraries: in a log they hide what matters."""

import os
import re
import subprocess
import sys

import httpx

from infra.emulator.processes import ROOT
from infra.local.environment import Environment

INDEX = """
import function_app
from shared.slices import slices

function_app.app.get_functions()
for part in slices.values():
    if part.api:
        part.api.openapi()
"""
"""Indexes the app, and builds the model of each body of a request or response, as it is done late otherwise."""

WARNING = re.compile(r"^\S+:\d+: \w*Warning: .*", re.MULTILINE)


def test_the_app_is_indexed_and_described_with_warnings_as_errors():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", INDEX],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


async def test_the_hosts_log_holds_no_warning_after_the_first_requests(stack: Environment, http: httpx.AsyncClient):
    for path in ("/gateway/openapi.json", "/stepflow/openapi.json", "/gateway/docs", "/gateway/health/ready"):
        assert (await http.get(path)).status_code == 200
    assert WARNING.findall((stack.state / "logs/host.log").read_text()) == []
