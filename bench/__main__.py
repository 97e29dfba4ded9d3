"""`python -m bench [part ...]`: measure, print a table, and write `bench/results.json`."""

import asyncio
import importlib
import json
import platform
import sys
from pathlib import Path
from typing import Any

PARTS = ("app", "load", "tables", "durable", "webpubsub")


def main() -> None:
    """Run the named parts, or all of them, each in a new event loop."""
    results: dict[str, Any] = {"python": platform.python_version(), "machine": platform.machine()}
    for part in sys.argv[1:] or PARTS:
        rows = asyncio.run(importlib.import_module(f"bench.{part}").run())
        results[part] = rows
        print(f"\n{part}")
        for row in rows:
            name, *rest = row.values()
            print(f"  {name!s:64}", *(f"{value:>12}" if isinstance(value, float | int) else value for value in rest))
        sys.stdout.flush()
    Path(__file__).with_name("results.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
