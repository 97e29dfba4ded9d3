"""Run the emulator of Web PubSub: `python -m infra.emulator.webpubsub --port P --key KEY --hubs FILE.json`."""

import argparse
import asyncio
import logging
import signal
from pathlib import Path

from infra.emulator.webpubsub import KEY, settings, wire


async def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", default=KEY)
    parser.add_argument("--hubs", type=Path, required=True, help="JSON file of the hub settings")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")

    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with wire.serving(arguments.port, settings.read(arguments.hubs), key=arguments.key):
        await ended.wait()


asyncio.run(main())
