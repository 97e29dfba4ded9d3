"""A fixture that starts hosts, each with an app written for the test."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.infra.emulator.host.harness import Serve, ServedApp, write_app


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """Serve an app with this code: `await serve(source, "--option", host_json={...}, env={...})`."""
    started: list[ServedApp] = []

    async def start(
        source: str, *options: str, host_json: dict[str, Any] | None = None, env: dict[str, str] | None = None
    ) -> ServedApp:
        app = write_app(tmp_path / f"app{len(started)}", source, host_json=host_json)
        served = ServedApp(app, tmp_path / f"state{len(started)}", list(options), env)
        started.append(served)
        await served.start()
        return served

    yield start
    for served in started:
        await served.stop()
