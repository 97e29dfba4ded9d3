"""What runs in the containers, run here as plain processes: the build of an archive, and the call of a handler."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from functions.anymind.build_job import PROGRAMS
from tests.support.agents import CONFIG, ECHO, agent_of, archive

MEGABYTES = 1500


@dataclass
class Ran:
    """What a program has done: its report, and what it has printed."""

    report: dict[str, Any]
    printed: str


def run(folder: Path, *command: str, **environment: str) -> Ran:
    """Run one of the programs in a folder."""
    for name, program in PROGRAMS.items():
        (folder / name).write_bytes(program)
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env={"PYTHONUNBUFFERED": "1", **environment}, capture_output=True,
        timeout=120, check=True,
    )  # fmt: skip
    assert done.stderr == b""
    return Ran(json.loads((folder / "report.json").read_text()), done.stdout.decode())


def build(folder: Path, packed: bytes, install: str = "off") -> Ran:
    """Build an archive."""
    (folder / "artifact.tar.gz").write_bytes(packed)
    return run(folder, "build.py", install, str(MEGABYTES))


def call(folder: Path, main: str, payload: Any, *, megabytes: int = MEGABYTES) -> Ran:
    """Call the handler of an agent with this `main.py`, which is not built."""
    files = {"entry.json": '{"root": "", "module": "main", "function": "handle"}', "tree/main.py": main}
    (folder / "ready.tar.gz").write_bytes(archive({**files}))
    (folder / "payload.json").write_text(json.dumps(payload))
    return run(folder, "boot.py", "call", str(megabytes))


def member(kind: bytes, target: str = "", size: int = 0, mtime: float = 0) -> tarfile.TarInfo:
    """A member of another kind than a file, or of another size or time than a real one."""
    info = tarfile.TarInfo()
    info.type, info.linkname, info.size, info.mtime = kind, target, size, mtime
    return info


class Refusal:
    """Archives that are no agent, by the reason that the report gives."""

    NOT_UNPACKED: dict[str, bytes] = {
        "The archive cannot be unpacked: empty file": b"",
        "The archive cannot be unpacked: not a gzip file": b"only text, whatever its name says",
        "The archive cannot be unpacked: Compressed file ended": archive({"noise": os.urandom(100_000)})[:50_000],
        "'../out' would be extracted to": archive({"../out": "x"}),
        "/out is an absolute name": archive({"/out": "x"}),
        "'link' would link to": archive({"link": member(tarfile.SYMTYPE, "../../../out")}),
        "'link' is a link to an absolute path": archive({"link": member(tarfile.SYMTYPE, "/etc/passwd")}),
        "linkname 'nothing' not found": archive({"link": member(tarfile.LNKTYPE, "nothing")}),
        "timestamp out of range": archive({"late": member(tarfile.REGTYPE, mtime=1e300)}),
        "'pipe' is a special file": archive({"pipe": member(tarfile.FIFOTYPE)}),
        "it is too large when unpacked": archive({"bomb": member(tarfile.REGTYPE, size=500_000_001)}),
    }
    NO_ENTRYPOINT: dict[str, dict[str, str]] = {
        "The archive has no anymind.yaml": {"main.py": ECHO},
        "anymind.yaml is not valid YAML: while parsing": {"anymind.yaml": "a: [1, 2"},
        "anymind.yaml must be a mapping, not list": {"anymind.yaml": "- entrypoint"},
        "anymind.yaml must be a mapping, not empty": {"anymind.yaml": ""},
        "anymind.yaml has no entrypoint": {"anymind.yaml": "name: x"},
        "The entrypoint in anymind.yaml must be a text, not int": {"anymind.yaml": "entrypoint: 5"},
        "The entrypoint 'main' must have the form module:function": {"anymind.yaml": "entrypoint: main"},
        "The archive has no file of the module 'main'": {"anymind.yaml": CONFIG, "other.py": ECHO},
    }
    NO_HANDLER: dict[str, str] = {
        "Importing main failed: ZeroDivisionError: division by zero": "1 / 0",
        "Importing main failed: SyntaxError: invalid syntax (main.py, line 1)": "def",
        "Importing main failed: SystemExit: 3": "raise SystemExit(3)",
        "main has no function handle": "other = 1",
        "handle in main is not callable": "handle = 5",
        "The agent's process exited with code 5": "import os; os._exit(5)",
        "The agent's process was killed by SIGKILL": "import os; os.kill(os.getpid(), 9)",
    }


class TestBuild:
    @pytest.mark.parametrize("reason", Refusal.NOT_UNPACKED)
    def test_an_archive_that_cannot_be_unpacked_is_refused(self, tmp_path: Path, reason: str):
        inside = tmp_path / "a/b/c/d"
        inside.mkdir(parents=True)
        ran = build(inside, Refusal.NOT_UNPACKED[reason])
        assert reason in ran.report["reason"]
        assert not [*tmp_path.rglob("out")]
        assert not (inside / "kept").exists()

    def test_an_archive_of_too_many_members_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setitem(PROGRAMS, "build.py", PROGRAMS["build.py"].replace(b"MEMBERS = 10_000", b"MEMBERS = 10"))
        ran = build(tmp_path, archive({f"d/{number}": "" for number in range(11)}))
        assert ran.report == {"reason": "The archive cannot be unpacked: it has more than 10 members"}

    @pytest.mark.parametrize("reason", Refusal.NO_ENTRYPOINT)
    def test_an_archive_without_an_entrypoint_is_refused(self, tmp_path: Path, reason: str):
        assert build(tmp_path, archive({**Refusal.NO_ENTRYPOINT[reason]})).report["reason"].startswith(reason)

    @pytest.mark.parametrize("reason", Refusal.NO_HANDLER)
    def test_an_agent_without_a_handler_is_refused(self, tmp_path: Path, reason: str):
        ran = build(tmp_path, agent_of(Refusal.NO_HANDLER[reason]))
        assert ran.report == {"reason": reason}
        assert not (tmp_path / "kept").exists()

    def test_an_endless_import_is_ended(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        hasty = PROGRAMS["supervision.py"].replace(b"IMPORT_SECONDS = 30", b"IMPORT_SECONDS = 1")
        monkeypatch.setitem(PROGRAMS, "supervision.py", hasty)
        ran = build(tmp_path, agent_of("while True: pass"))
        assert ran.report == {"reason": "Importing the agent took longer than 1 seconds"}

    def test_a_tree_below_one_folder_with_a_package_is_built_and_runs(self, tmp_path: Path):
        files = {
            "my-agent/anymind.yaml": "name: größer\nentrypoint: agent.main:handle\nzeta: 1\nalpha: [1, 2]\n",
            "my-agent/agent/__init__.py": "",
            "my-agent/agent/tools.py": "def shout(text): return text.upper()\n",
            "my-agent/agent/main.py": """
                from agent.tools import shout

                print("imported")

                def handle(payload):
                    return {"said": shout(payload["text"])}
                """,
        }
        ran = build(tmp_path, archive({**files}))
        config = "name: größer\nentrypoint: agent.main:handle\nzeta: 1\nalpha:\n- 1\n- 2\n"
        assert ran.report == {"config": config, "entrypoint": "agent.main:handle"}
        assert ran.printed.endswith(" O imported\n")
        shutil.rmtree(tmp_path / "agent")
        (tmp_path / "ready.tar.gz").write_bytes((tmp_path / "kept/ready.tar.gz").read_bytes())
        (tmp_path / "payload.json").write_text('{"text": "hi"}')
        assert json.loads(run(tmp_path, "boot.py", "call", str(MEGABYTES)).report["result"]) == {"said": "HI"}

    def test_dependencies_are_refused_where_none_may_be_installed(self, tmp_path: Path):
        ran = build(tmp_path, agent_of(ECHO, requirements_txt="six"))
        assert "dependencies are not installed here" in ran.report["reason"]

    def test_a_package_that_cannot_be_installed_is_named_with_what_pip_says(self, tmp_path: Path):
        ran = build(tmp_path, agent_of(ECHO, requirements_txt="--no-index\nno-such-package-anywhere"), "on")
        assert ran.report["reason"].startswith("Installing requirements.txt failed:\n")
        assert "no-such-package-anywhere" in ran.report["reason"]
        assert "no-such-package-anywhere" in ran.printed


class TestCall:
    @pytest.mark.parametrize(
        ("result", "shown"),
        [("{'a': 1}", '{"a": 1}'), ("None", '{"result": null}'), ("[1, 'x']", '{"result": [1, "x"]}'),
         ("awaited()", '{"result": 5}')],
    )  # fmt: skip
    def test_a_result_is_an_object_or_becomes_one(self, tmp_path: Path, result: str, shown: str):
        ran = call(tmp_path, f"async def awaited(): return 5\ndef handle(payload):\n    return {result}\n", {})
        assert ran.report == {"result": shown, "log": ""}

    @pytest.mark.parametrize(
        ("line", "error"),
        [
            ("return {1, 2}", "The result cannot be represented as JSON: Object of type set is not JSON serializable"),
            ("return b'x'", "The result cannot be represented as JSON: Object of type bytes is not JSON serializable"),
            ("return float('nan')", "The result cannot be represented as JSON: Out of range float values"),
            ("return 'x' * 10_000_001", "The result is larger than 10000000 bytes"),
            ("raise ValueError('two\\nlines')", "two\nlines"),
            ("raise KeyError", "KeyError"),
            ("import sys; sys.exit(4)", "The agent exited with code 4"),
            ("import os; os._exit(4)", "The agent's process exited with code 4"),
            ("import os; os.kill(os.getpid(), 9)", "The agent's process was killed by SIGKILL"),
            ("return bytearray(10 << 30)", "Ran out of memory (1.5 GB)"),
            ("import os; os.closerange(3, 100)", "[Errno 9] Bad file descriptor"),
        ],
    )
    def test_a_failure_is_reported_with_its_reason(self, tmp_path: Path, line: str, error: str):
        ran = call(tmp_path, f"def handle(payload):\n    {line}\n", {})
        if "closerange" in line:  # the agent has closed the way to the program that watches over it
            error = "The agent's process exited with code 1"
        assert ran.report["error"].startswith(error)

    def test_an_error_is_printed_with_its_place_in_the_agent(self, tmp_path: Path):
        ran = call(tmp_path, "def handle(payload):\n    raise ValueError('broken')\n", {})
        lines = [line[27:] for line in ran.printed.splitlines()]
        assert lines[0] == "E Traceback (most recent call last):"
        assert lines[1].endswith('agent/tree/main.py", line 2, in handle')
        assert "boot.py" not in ran.printed

    def test_both_streams_are_told_apart_line_by_line(self, tmp_path: Path):
        main = """
            import sys

            def handle(payload):
                print("one")
                print("two", file=sys.stderr)
                print("no end", end="")
                return {}
            """
        ran = call(tmp_path, main, {})
        assert sorted(line[27:] for line in ran.printed.splitlines()) == ["E two", "O no end", "O one"]
        assert ran.report["log"] == ran.printed

    def test_a_call_without_an_end_is_ended(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        hasty = PROGRAMS["supervision.py"].replace(b"CALL_SECONDS = 30", b"CALL_SECONDS = 1")
        monkeypatch.setitem(PROGRAMS, "supervision.py", hasty)
        main = (
            "import subprocess, time\ndef handle(payload):\n    subprocess.Popen(['sleep', '99'])\n    time.sleep(99)\n"
        )
        assert call(tmp_path, main, {}).report["error"] == "Timed out after 1 seconds"

    def test_output_without_an_end_is_cut_and_the_call_fails(self, tmp_path: Path):
        ran = call(tmp_path, "def handle(payload):\n    while True: print('x' * 999)\n", {})
        assert ran.report["error"] == "The agent printed more than 10000000 bytes"
        assert len(ran.printed) < 12_000_000
        assert "E [output over 10000000 bytes was dropped]\n" in ran.printed

    def test_a_process_in_the_background_holds_up_nothing(self, tmp_path: Path):
        main = """
            import subprocess

            def handle(payload):
                subprocess.Popen(["sleep", "99"], start_new_session=True)
                return {"done": True}
            """
        assert call(tmp_path, main, {}).report["result"] == '{"done": true}'

    def test_a_long_result_is_kept_as_a_file(self, tmp_path: Path):
        ran = call(tmp_path, "def handle(payload):\n    return {'text': 'x' * 9_000_000}\n", {})
        assert ran.report["result"] is None
        assert len(json.loads((tmp_path / "kept/result.json").read_text())["text"]) == 9_000_000

    def test_many_lines_are_not_reported_a_second_time(self, tmp_path: Path):
        ran = call(tmp_path, "def handle(payload):\n    print(('x' * 999 + '\\n') * 200)\n    return {}\n", {})
        assert "log" not in ran.report
        assert ran.printed.count("\n") == 201
