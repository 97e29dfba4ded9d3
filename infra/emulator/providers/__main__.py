"""Run the emulator of providers: `python -m infra.emulator.providers --port P`."""

import argparse
import asyncio
import logging
import signal

from infra.emulator.origins import Origins
from infra.emulator.providers import wire


async def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    Origins.add_options(parser)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")

    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with wire.serving(arguments.port, origins=Origins.of_options(arguments)):
        await ended.wait()


asyncio.run(main())
