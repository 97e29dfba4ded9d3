"""An emulator of Web PubSub: its REST and WebSocket protocols on a loopback port."""

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.emulator.processes import Child, listening, python

KEY = "AccessKeyOfTheWebPubSubEmulatorForEverybody="  # published: the port is on the loopback interface


def connection_string(port: int, key: str = KEY) -> str:
    """The connection string with which an SDK reaches the emulator on this port."""
    return f"Endpoint=http://127.0.0.1;Port={port};AccessKey={key};Version=1.0;"


async def start(port: int, hubs: dict[str, Any], *, folder: Path, key: str = KEY, options: Sequence[str] = ()) -> Child:
    """Start the emulator with these hubs, in the shape of `settings.HubSettings` by name.

    Its hubs file and its log are written to `folder`; `options` are further options of its command line.
    Raises NotReady.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "hubs.json"
    file.write_text(json.dumps(hubs))
    child = Child(
        "webpubsub",
        python("infra.emulator.webpubsub", "--port", str(port), "--hubs", str(file), *options),
        log=folder / "webpubsub.log",
        env={"WEBPUBSUB_KEY": key},
    )
    await child.start(functools.partial(listening, port))
    return child
