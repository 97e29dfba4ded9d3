"""Run the emulator of Web PubSub: `python -m infra.emulator.webpubsub --port P --hubs FILE.json`.

The environment variable WEBPUBSUB_KEY is its access key; without it, the key is the published one.
"""

import argparse
import asyncio
import logging
import os
import signal
from pathlib import Path

from infra.emulator.origins import Origins
from infra.emulator.webpubsub import KEY, settings, wire


async def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--hubs", type=Path, required=True, help="JSON file of the hub settings")
    Origins.add_options(parser)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")

    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    hubs, key = settings.read(arguments.hubs), os.environ.get("WEBPUBSUB_KEY", KEY)
    async with wire.serving(arguments.port, hubs, key=key, origins=Origins.of_options(arguments)):
        await ended.wait()


asyncio.run(main())
