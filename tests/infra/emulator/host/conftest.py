"""A fixture that starts hosts, each with an app written for the test."""

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.infra.emulator.host.harness import Serve, ServedApp, write_app


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """Serve an app with this code: `await serve(source, "--option", host_json={...}, env={...})`.

    `files` are written into its folder first, `timers` into the records of its timers, by name.
    """
    started: list[ServedApp] = []

    async def start(
        source: str,
        *options: str,
        host_json: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
        files: Mapping[str, str] = {},
        timers: Mapping[str, Any] = {},
    ) -> ServedApp:
        app, state = tmp_path / f"app{len(started)}", tmp_path / f"state{len(started)}"
        write_app(app, source, host_json=host_json)
        for name, text in files.items():
            (app / name).write_text(text)
        for name, record in timers.items():
            (state / "timers").mkdir(parents=True, exist_ok=True)
            (state / "timers" / f"{name}.json").write_text(json.dumps(record))
        served = ServedApp(app, state, list(options), env)
        started.append(served)
        await served.start()
        return served

    yield start
    for served in started:
        await served.stop()
