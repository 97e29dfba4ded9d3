"""Runs inside a container: checks an agent's archive, installs its dependencies, and packs what can be run.

Standard library and PyYAML only. `build.py <on|off> <MB>` unpacks `artifact.tar.gz`; on or off is whether dependencies
may be installed, `<MB>` the memory of the container. The result is `kept/ready.tar.gz`, which `boot.py` runs, and
`report.json`: `config` (YAML text) and `entrypoint`, or `reason`, why there is none. What pip and the import print
goes to the output.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any, cast

import yaml
from boot import ENTRY, FOLDER, KEPT, PACKAGES, REPORT, TREE, unpack
from supervision import MAX_ERROR, Refused, whole

ARCHIVE = Path("artifact.tar.gz")
CONFIG, REQUIREMENTS = "anymind.yaml", "requirements.txt"
MAX_MEMBERS = 10_000
MAX_UNPACKED = 500_000_000  # bytes
MAX_CONFIG = 256 * 1024  # bytes
INSTALL_SECONDS = 120
MAX_INSTALLED = 300_000_000  # bytes
SHOWN_LOG = 2000  # characters of pip's output in the reason of a failure


def main(install: bool, megabytes: int) -> None:
    """Build, and write the report."""
    limit = megabytes * 900_000
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    try:
        report = build(install, megabytes)
    except Refused as error:
        report = {"reason": str(error)}
    except MemoryError:
        report = {"reason": f"The build ran out of memory ({megabytes / 1000:g} GB)"}
    except (OSError, ValueError, RecursionError) as error:
        report = {"reason": f"The build failed: {error}"}
    report = {name: whole(text)[: 2 * MAX_ERROR] if name == "reason" else text for name, text in report.items()}
    REPORT.write_text(json.dumps(report))


def build(install: bool, megabytes: int) -> dict[str, str]:
    """Return the report of an agent that can be run. `Refused` with the first reason why it cannot."""
    try:
        unpack(ARCHIVE, TREE, MAX_MEMBERS, MAX_UNPACKED)
    except MemoryError:
        raise
    except Exception as error:  # of any kind: for a hard link to nothing it is a KeyError
        raise Refused(f"The archive cannot be unpacked: {error}") from None
    files = [Path(folder, name) for folder, _, names in os.walk(TREE) for name in names]
    files.sort(key=lambda path: (len(path.parts), path))
    place = next((path for path in files if path.name == CONFIG), None)
    if place is None:
        raise Refused(f"The archive has no {CONFIG}")
    config = read_config(place)
    entrypoint = entrypoint_of(config)
    module, _, function = entrypoint.partition(":")
    root = root_of(module, [path.relative_to(TREE) for path in files])
    PACKAGES.mkdir()
    ENTRY.write_text(json.dumps({"root": str(root), "module": module, "function": function}))
    wanted = (folder / REQUIREMENTS for folder in (place.parent, TREE / root, TREE))
    if requirements := next((path for path in wanted if path.is_file()), None):
        if not install:
            raise Refused(f"The archive has a {REQUIREMENTS}, but dependencies are not installed here")
        install_packages(requirements)
    check(megabytes)
    KEPT.mkdir()
    with tarfile.open(KEPT / "ready.tar.gz", "w:gz", compresslevel=1) as tar:
        for path in sorted(FOLDER.iterdir()):
            tar.add(path, path.name)
    return {"config": yaml.safe_dump(config, sort_keys=False, allow_unicode=True), "entrypoint": entrypoint}


def read_config(place: Path) -> Any:
    """Return what anymind.yaml says. `Refused` when it is not YAML."""
    try:
        if place.stat().st_size > MAX_CONFIG:
            raise Refused(f"{CONFIG} is larger than {MAX_CONFIG} bytes")
        return yaml.safe_load(place.read_bytes())
    except (Refused, MemoryError):
        raise
    except Exception as error:  # of any kind: for `!!bool x` it is a KeyError, for `!!timestamp x` an AttributeError
        raise Refused(f"{CONFIG} is not valid YAML: {error}") from None


def entrypoint_of(config: Any) -> str:
    """Return the entrypoint, `module:function`. `Refused` when there is none of this form."""
    if not isinstance(config, dict):
        raise Refused(f"{CONFIG} must be a mapping, not {'empty' if config is None else type(config).__name__}")
    if "entrypoint" not in config:
        raise Refused(f"{CONFIG} has no entrypoint")
    entrypoint = cast("dict[str, Any]", config)["entrypoint"]
    if not isinstance(entrypoint, str):
        raise Refused(f"The entrypoint in {CONFIG} must be a text, not {type(entrypoint).__name__}")
    if ":" not in entrypoint:
        raise Refused(f"The entrypoint {entrypoint!r} must have the form module:function")
    return entrypoint


def root_of(module: str, files: list[Path]) -> Path:
    """Return the folder of the archive in which this module is found. `Refused` when no file of it is there."""
    wanted = module.split(".")
    for path in files:
        parts = [*path.parts[:-1], path.stem] if path.stem != "__init__" else list(path.parts[:-1])
        if path.suffix == ".py" and parts[-len(wanted) :] == wanted:
            return Path(*parts[: -len(wanted)])
    raise Refused(f"The archive has no file of the module {module!r}")


def install_packages(requirements: Path) -> None:
    """Install what a file lists into `packages`, and print pip's output. `Refused` when that fails."""
    command = [sys.executable, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-cache-dir"]
    command += ["--progress-bar=off", "--root-user-action=ignore", "--target", str(PACKAGES.resolve())]
    log = Path("pip.log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--requirement", requirements.name], cwd=requirements.parent, stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        code = process.wait(INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise Refused(f"Installing {REQUIREMENTS} took longer than {INSTALL_SECONDS} seconds") from None
    finally:
        text = log.read_text("utf-8", "replace")
        print(text[-1_000_000:], flush=True)
    if code:
        raise Refused(f"Installing {REQUIREMENTS} failed:\n{text[-SHOWN_LOG:].strip()}")
    size = sum(path.lstat().st_size for path in PACKAGES.rglob("*"))
    if size > MAX_INSTALLED:
        raise Refused(f"The packages of {REQUIREMENTS} have {size} bytes, more than {MAX_INSTALLED}")


def check(megabytes: int) -> None:
    """Import the agent as an execution does, in a process of its own. `Refused` when it has no handler."""
    done = subprocess.run(
        [sys.executable, "-SEu", "boot.py", "check", str(megabytes)], stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        raise Refused(f"The process that imports the agent ended with code {done.returncode}")
    report = json.loads(REPORT.read_text())
    if reason := report.get("error"):
        raise Refused(reason)


if __name__ == "__main__":
    main(sys.argv[1] == "on", int(sys.argv[2]))
