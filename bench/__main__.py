"""`python -m bench [part ...]`: measure the named parts, or all, and write `bench/results.json` and README's table."""

import asyncio
import dataclasses
import importlib
import json
import platform
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.figures import Figure
from infra.emulator.processes import ROOT

PARTS = (
    "start", "requests", "runs", "steps", "anymind", "dev8", "ownpilot", "ownpilot_tools", "ownpilot_load", "catalogue",
    "load", "records", "growth", "writers", "durable", "webpubsub",
)  # fmt: skip
RESULTS, README = Path(__file__).with_name("results.json"), ROOT / "README.md"
_TABLE = re.compile(r"(<!-- figures of make bench -->\n).*?(<!-- end of the figures -->)", re.DOTALL)


def main() -> None:
    """Measure each part in a new event loop; parts that are not measured keep their figures of last time."""
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for part in sys.argv[1:] or PARTS:
        start = time.perf_counter()
        figures: list[Figure] = asyncio.run(importlib.import_module(f"bench.{part}").run())
        seconds = round(time.perf_counter() - start, 1)
        print(f"\n{part} ({seconds} s)")
        for each in figures:
            missed = "" if each.is_reached else "  MISSED"
            print(f"  {each.name:80} {each.value:>12,} {each.unit:10} {each.goal:10} load {each.load}{missed}")
        sys.stdout.flush()
        results[part] = {"seconds": seconds, "figures": [dataclasses.asdict(each) for each in figures]}
        results["machine"] = f"{platform.machine()}, Python {platform.python_version()}"
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    if results.keys() >= {*PARTS}:
        write_table(results)


def write_table(results: Mapping[str, Any]) -> None:
    """Replace the table in README."""
    README.write_text(_TABLE.sub(lambda found: found[1] + _table(results) + found[2], README.read_text()))


def _table(results: Mapping[str, Any]) -> str:
    """The figures that have a goal as a table in Markdown."""
    lines = ["| Figure | Value | Unit | Goal | Load |", "|---|---:|---|---|---:|"]
    for part in PARTS:
        for each in (Figure(**figure) for figure in results[part]["figures"]):
            if each.goal:
                lines.append(f"| {each.name} | {each.value:,} | {each.unit} | {each.goal} | {each.load} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
