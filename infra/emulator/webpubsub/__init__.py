"""The Web PubSub stand-in: the service's REST and WebSocket wire on a loopback port."""

import functools
import json
from pathlib import Path
from typing import Any

from infra.emulator.processes import Child, listening, python

KEY = "AccessKeyOfTheWebPubSubEmulatorForEverybody="  # published: it guards a loopback port


def connection_string(port: int, key: str = KEY) -> str:
    """How an SDK reaches the stand-in on this port."""
    return f"Endpoint=http://127.0.0.1;Port={port};AccessKey={key};Version=1.0;"


async def start(port: int, hubs: dict[str, Any], *, folder: Path, key: str = KEY) -> Child:
    """Start it with these hub settings (the shape of `settings.py`); its hubs file and its log go to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "hubs.json"
    file.write_text(json.dumps(hubs))
    child = Child(
        "webpubsub",
        python("infra.emulator.webpubsub", "--port", str(port), "--key", key, "--hubs", str(file)),
        log=folder / "webpubsub.log",
    )
    await child.start(functools.partial(listening, port))
    return child
