"""An emulator of what an assistant calls outside: a catalogue of models, and servers that offer models."""

import functools
from collections.abc import Sequence
from pathlib import Path

from infra.emulator.processes import Child, listening, python

KEY = "sk-stand-in"  # published: behind it is nothing but the models of `state.py`


async def start(port: int, *, log: Path, options: Sequence[str] = ()) -> Child:
    """Start the emulator on a loopback port; `options` are further options of its command line. Raises NotReady."""
    child = Child("providers", python("infra.emulator.providers", "--port", str(port), *options), log=log)
    await child.start(functools.partial(listening, port))
    return child
