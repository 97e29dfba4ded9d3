"""The README's commands, as they stand in its text; only the address of the app is replaced by that of the test's."""

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from infra.emulator.processes import ROOT
from infra.local.__main__ import as_exports
from infra.local.environment import Environment

README = (ROOT / "README.md").read_text()
ADDRESS = "http://127.0.0.1:7071"

FENCED = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?<=\n\n)(?: {4}(?! ).*\n)(?: {4}.*\n)*")
BLOCKS = [*FENCED.findall(README), *INDENTED.findall(README)]


def block(word: str) -> str:
    """The one block of commands that contains this word."""
    (found,) = (block for block in BLOCKS if word in block)
    return found


async def run(commands: str, folder: Path, **environment: str) -> str:
    """Run commands in a shell; returns what they have printed."""
    shell = await asyncio.create_subprocess_exec(
        "sh", "-eu", "-c", commands, cwd=folder, env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(120):
            printed, errors = await shell.communicate()
    finally:
        if shell.returncode is None:
            shell.kill()
    assert shell.returncode == 0, errors.decode()
    return printed.decode()


def documents(text: str) -> list[Any]:
    """The JSON documents that follow each other in a text."""
    found: list[Any] = []
    while text := text.strip():
        document, end = json.JSONDecoder().raw_decode(text)
        found.append(document)
        text = text[end:]
    return found


def test_every_block_of_commands_has_a_test_here():
    known = ("make ", "KEY=", "API=", "mkdir ", "curl ", "azd ", "az ", "cp ")
    assert [block for block in BLOCKS if not block.strip().startswith(known)] == []


async def test_a_run_is_created_awaited_and_read(stack: Environment, tmp_path: Path):
    *_, run_read, artifacts = documents(
        await run(block("gateway/api/auth/login").replace(ADDRESS, stack.url), tmp_path)
    )
    assert (run_read["status"], run_read["result"]) == ("completed", "done\n")
    assert {artifact["filename"] for artifact in artifacts["artifacts"]} == {"now.txt", "claude.log"}


async def test_a_user_of_anymind_makes_a_key_and_an_agent_which_is_built_and_executed(
    stack: Environment, tmp_path: Path
):
    commands = (block("AGENT=") + block("mkdir my-agent")).replace(ADDRESS, stack.url)
    user, version, agent, execution, logs = documents(await run(commands, tmp_path))
    assert user["username"] == "me"
    assert (version["version"], agent["status"]) == ("v1", "ready")
    assert execution["output_data"] == {"said": "HELLO"}
    assert "asked" in [entry["message"] for entry in logs]


async def test_a_rebuild_is_started(stack: Environment, tmp_path: Path):
    command = block("maintenance_rebuild").replace(ADDRESS, stack.url).rstrip()
    assert await run(f"{command} -sw '%{{http_code}}'", tmp_path) == "202"


async def test_a_task_is_created_and_listed(stack: Environment, tmp_path: Path):
    made, listed = documents(await run(block("ownpilot/api/v1/tasks").replace(ADDRESS, stack.url), tmp_path))
    assert made["data"]["id"] in [task["id"] for task in listed["data"]]


async def test_the_environment_of_make_services_reaches_core_tools(stack: Environment, tmp_path: Path):
    (tmp_path / ".local").mkdir()
    (tmp_path / ".local/environment").write_text(as_exports(stack.app_settings))
    (tmp_path / "func").write_text('#!/bin/sh\n[ "$1" = start ] && env\n')
    (tmp_path / "func").chmod(0o700)
    (line,) = (line for line in block("func start").splitlines() if "func start" in line)
    printed = await run(line, tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert {f"{name}={value}" for name, value in stack.app_settings.items()} <= set(printed.splitlines())


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?<![\w-])make ([a-z][a-z-]*)(?=[` ]|$)", README))))
def test_every_target_of_make_exists(target: str):
    assert re.search(rf"^{target}:.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_every_file_that_a_command_names_exists():
    for path in re.findall(r"(?:--file|^ *cp) (\S+)", "".join(BLOCKS), re.MULTILINE):
        assert (ROOT / path).is_file(), path


def test_every_name_of_a_setting_or_an_output_exists():
    settings = (ROOT / "shared/settings.py").read_text()
    local = "".join(path.read_text() for path in (ROOT / "infra/local").glob("*.py"))
    parameters = (ROOT / "infra/main.parameters.json").read_text()
    outputs = re.findall(r"^output (\w+)", (ROOT / "infra/main.bicep").read_text(), re.MULTILINE)
    known = {*re.findall(r"\b[A-Z][A-Z_]+[A-Z]\b", settings + local + parameters), *outputs}
    commands = re.findall(r"azd env set (\w+)|azd env get-value (\w+)", README)
    for name in {*re.findall(r"\bRUNYARD_[A-Z_]+\b", README), *(a or b for a, b in commands)}:
        assert name in known, name
    for name in re.findall(r"azd env get-value (\w+)", README):
        assert name in outputs, name
    for name in re.findall(r"azd env set (\w+)", README):
        assert f"${{{name}" in parameters, name
