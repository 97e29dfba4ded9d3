"""The start of the app: import and indexing, its memory, and the whole local environment."""

import subprocess
import sys
import time

from bench.figures import Figure
from bench.services import running
from infra.emulator.processes import ROOT

_INDEX = (
    "import time, resource; start = time.perf_counter(); import function_app; function_app.app.get_functions();"
    "print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
)


async def run() -> list[Figure]:
    """Measure everything; of the import, the best of five processes."""
    samples: list[tuple[float, float]] = []
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", _INDEX], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: ASYNC221
        seconds, memory = map(float, done.stdout.split())
        samples.append((seconds, memory))
    start = time.perf_counter()
    async with running():
        environment = time.perf_counter() - start
    return [
        Figure("import and indexing of all APIs", min(s for s, _ in samples), "s", at_most=1.5),
        Figure("memory after that import", min(m for _, m in samples) / 1024, "MiB"),
        Figure("start of the whole environment, with a first run", environment, "s"),
    ]
