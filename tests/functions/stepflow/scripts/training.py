"""Ten steps of a training, one of which may fail; with CRITICAL=yes the last one must not and does."""

import json
import os
import sys
import time
from pathlib import Path


def step(name: str, *, ends: bool = True) -> None:
    print(f"STEP_START: {name}")
    print(f"in {name.split('[')[0].strip()}", file=sys.stderr, flush=True)
    if ends:
        print(f"STEP_COMPLETE: {name}")


print("META: project: digits")
step("load data [rows=1000] [ratio=0.8] [shuffle=TRUE]")
Path("data.csv").write_text("x,y\n1,2\n")
print("ARTIFACT: data.csv: the rows")
step("clean data", ends=False)
step("split {seed:7}")
print("STEP_START: plot")
Path("plots").mkdir()
Path("plots/größe.png").write_bytes(b"\x89PNG\r\n\x1a\n")
print("ARTIFACT: plots/größe.png: sizes")
print("STEP_ERROR: no display")
step("train --epochs=2 --rate=-0.1")
for epoch in range(2):
    print(f"epoch {epoch}: loss {1 / (epoch + 1)}")
step("evaluate")
Path("metrics.json").write_text(json.dumps({"accuracy": 0.9}))
print("ARTIFACT: metrics.json")
step("export")
print("ARTIFACT: model.bin: was never written")
Path("../shared").mkdir(exist_ok=True)
Path("../shared/notes.md").write_text("# Notes\n")
print("ARTIFACT: ../shared/notes.md: beside the workspace")
step("archive")
step("notify")
step("deploy [stop_on_error=true]", ends=False)
if os.environ["CRITICAL"] == "yes":
    print("STEP_ERROR: no target", flush=True)
    time.sleep(60)
print("STEP_COMPLETE: deploy")
