"""Runs inside a container: starts the `claude` command line, prints what it does, and writes a report and a diff.

Standard library only; called as `agent.py <model>` in the folder of `prompt.txt`. The command works in `workspace/`,
and the files in `workspace/artifacts/` are kept. One of them is written here: `latest.diff`, a unified diff of all
files outside that folder. Beside the workspace the report is written, `claude.json`, with the text of the last answer,
tokens and cost.
"""

import difflib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MAX_DIFF_FILE = 1024 * 1024  # bytes; larger files are only named
MAX_LINE = 2000  # characters of a tool's input or output that are printed

WORKSPACE = Path("workspace")
KEPT = WORKSPACE / "artifacts"


def main(model: str) -> int:
    """Run the model on the prompt; return the exit code of the command line.

    It is 1 instead of 0 after an error or without a result, and 127 when the command line cannot be started.
    """
    KEPT.mkdir(parents=True)
    command = ["claude", "-p", "--output-format", "stream-json", "--verbose", "--permission-mode", "acceptEdits"]
    # The container is the sandbox, so shell commands need no permission.
    command += ["--allowedTools", "Bash", "--model", model]
    print(f"$ {' '.join(command)}", flush=True)
    try:
        with Path("prompt.txt").open("rb") as prompt:
            process = subprocess.Popen(command, cwd=WORKSPACE, stdin=prompt, stdout=subprocess.PIPE)
    except OSError as error:
        print(f"claude cannot be started: {error}", flush=True)
        return 127
    assert process.stdout
    last: dict[str, Any] = {}
    for line in process.stdout:
        event = parsed(line)
        if event is None:
            print(line.decode("utf-8", "replace"), end="", flush=True)
            continue
        if event.get("type") == "result":
            last = event
        for text in log_lines(event):
            print(text, flush=True)
    code = process.wait()
    print(f"claude ended with code {code}", flush=True)
    (KEPT / "latest.diff").write_text("".join(diff()), "utf-8", "surrogateescape", newline="")
    if not last:
        return code or 1
    report = {
        "result": str(last.get("result") or last.get("subtype", "")),
        "is_error": bool(last.get("is_error")) or code != 0,
        "tokens": tokens(last),
        "cost": float(last.get("total_cost_usd") or 0),
    }
    Path("claude.json").write_text(json.dumps(report), "utf-8")
    return code or int(report["is_error"])


def tokens(result: dict[str, Any]) -> int:
    """Return the tokens of all models that were used, including those read from a cache."""
    kinds = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheCreationInputTokens")
    return sum(int(used.get(kind, 0)) for used in result.get("modelUsage", {}).values() for kind in kinds)


def parsed(line: bytes) -> dict[str, Any] | None:
    """Return the event in a line, None when the line is not a JSON object."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def log_lines(event: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of the log for one event."""
    if event.get("subtype") == "api_retry":
        yield f"the model's API answered {event.get('error_status')}: attempt {event.get('attempt')} failed"
    if event.get("type") not in ("assistant", "user"):
        return
    content = event.get("message", {}).get("content")
    for block in content if isinstance(content, list) else []:
        match block.get("type"):
            case "text":
                yield block["text"]
            case "tool_use":
                yield f"> {block['name']} {short(json.dumps(block['input'], ensure_ascii=False))}"
            case "tool_result":
                yield f"< {short(plain(block.get('content')))}"
            case _:
                pass


def plain(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(part.get("text", "") for part in content)
    return str(content)


def short(text: str) -> str:
    return text if len(text) <= MAX_LINE else f"{text[:MAX_LINE]} ... ({len(text)} characters)"


def diff() -> Iterator[str]:
    """Yield a diff for `git apply` that adds all files of the workspace, which was empty at the start."""
    for root, folders, files in os.walk(WORKSPACE):
        folders[:] = sorted(name for name in folders if Path(root, name) != KEPT and name != ".git")
        for name in sorted(files):
            path = Path(root, name)
            if path.is_symlink() or not path.is_file():
                continue
            shown = path.relative_to(WORKSPACE).as_posix()
            mode = "100755" if path.stat().st_mode & 0o100 else "100644"
            yield f"diff --git a/{shown} b/{shown}\nnew file mode {mode}\n"
            data = path.read_bytes() if path.stat().st_size <= MAX_DIFF_FILE else b"\0"
            if b"\0" in data:
                yield f"Binary files /dev/null and b/{shown} differ\n"
                continue
            lines = data.decode("utf-8", "surrogateescape").split("\n")
            whole = [f"{line}\n" for line in lines[:-1]]
            unended = [lines[-1]] if lines[-1] else []
            for line in difflib.unified_diff([], whole + unended, "/dev/null", f"b/{shown}"):
                yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
