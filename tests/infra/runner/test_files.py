"""The files of a job: whatever a command leaves in its folder, the good ones are kept and the exit gets through."""

import json
import os
import socket
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from shared.jobs import MAX_SKIPPED, REPORT_BYTES, Exit, KeptFile, SkippedFile
from tests.infra.runner.harness import App

# Imported as the runner does: from the folder that `conftest` has added to the path.
files: Any = import_module("files")
push: Any = import_module("push")
runner: Any = import_module("runner")


def kept(folder: Path, api: App) -> tuple[dict[str, int], dict[str, str]]:
    """Sizes of the kept files by name, and the reasons of the others; all within the bounds of the app."""
    report = files.keep(folder, api).members
    found = [KeptFile.model_validate(file) for file in report["files"]]
    others = [SkippedFile.model_validate(file) for file in report["skipped"]]
    json.dumps(report).encode()
    return {file.name: file.size for file in found}, {file.name: file.reason for file in others}


def test_names_that_are_no_text_are_kept_under_readable_ones(tmp_path: Path, api: App):
    for name in (b"caf\xe9", b"caf%E9", b"a\nb", b"\x01", b" ", b"..."):
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_bytes(name)
    names, skipped = kept(tmp_path, api)
    assert names == {"%01": 1, " ": 1, "...": 3, "a%0Ab": 3, "caf%E9": 6, "caf%E9~2": 4}
    assert skipped == {}


def test_a_path_longer_than_a_name_may_be_is_kept_under_its_end(tmp_path: Path, api: App):
    folder = tmp_path
    for _ in range(8):
        folder /= "d" * 200
    folder.mkdir(parents=True)
    (folder / "end.txt").write_text("x")
    (name,), _ = kept(tmp_path, api)
    assert len(name) == 1024
    assert name.endswith("d/end.txt")


def test_links_pipes_sockets_and_what_vanishes_are_not_kept(tmp_path: Path, api: App, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "own").write_text("x")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        assert kept(tmp_path, api)[0] == {"own": 1}
    gone = files.regular_files(tmp_path, files.Kept())
    next(gone)
    (tmp_path / "own").unlink()
    assert list(gone) == []
    with pytest.raises(OSError):
        files.put(tmp_path / "own", "own", api)
    with pytest.raises(OSError, match="Not a regular file"):  # exchanged after it was found; a plain open would wait
        files.opened(tmp_path / "pipe")


def test_a_folder_that_is_a_link_is_not_followed(tmp_path: Path, api: App):
    (tmp_path / "artifacts").symlink_to("/etc")
    assert kept(tmp_path / "artifacts", api) == ({}, {"artifacts": "The folder is a link"})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_listed(tmp_path: Path, api: App):
    (tmp_path / "closed").mkdir(mode=0)
    assert kept(tmp_path, api)[1] == {"closed": "Permission denied"}


def test_a_file_that_grows_while_it_is_read_is_kept_as_it_was_and_one_that_shrinks_is_skipped(
    tmp_path: Path, api: App, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "grows").write_bytes(b"12345")
    (tmp_path / "shrinks").write_bytes(b"123456")
    sent = files.body

    def changed(file: Any, size: int, digest: Any) -> Any:
        (tmp_path / ("grows" if size == 5 else "shrinks")).write_bytes(b"1234567" if size == 5 else b"1")
        return sent(file, size, digest)

    monkeypatch.setattr(files, "body", changed)
    monkeypatch.setattr(files.time, "sleep", lambda _: None)
    assert kept(tmp_path, api) == ({"grows": 5}, {"shrinks": "file became shorter while it was read"})


def test_a_refused_file_is_listed_with_the_reason(tmp_path: Path, api: App):
    (tmp_path / "refused").write_text("123456")
    assert kept(tmp_path, api) == ({}, {"refused": "File is over 5 bytes"})


def test_of_very_many_files_the_first_are_kept_and_the_others_counted(
    tmp_path: Path, api: App, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(files, "MAX_FILES", 3)
    for number in range(1000):
        (tmp_path / f"{number:05}").touch()
    names, skipped = kept(tmp_path, api)
    assert len(names) == 3
    assert len(skipped) == MAX_SKIPPED
    assert list(skipped)[-1] == "and 897 more"


@pytest.mark.parametrize(
    ("make", "report", "skipped"),
    [
        (lambda path: path.write_bytes(b"a\xffb"), b"a\xffb", {}),
        (lambda path: path.touch(), b"", {}),
        (lambda path: None, None, {}),
        (lambda path: path.write_bytes(b"x" * (REPORT_BYTES + 1)), None, {"report": "File is over 4194304 bytes"}),
        (lambda path: path.mkdir(), None, {"report": "Is a directory"}),
        (lambda path: os.mkfifo(path), None, {"report": "Not a regular file"}),
        (lambda path: path.symlink_to("/etc/passwd"), None, {"report": "Too many levels of symbolic links"}),
    ],
    ids=["bytes", "empty", "absent", "too large", "folder", "pipe", "link"],
)  # fmt: skip
def test_a_reported_file_is_read_or_skipped_with_the_reason(
    tmp_path: Path, make: Callable[[Path], Any], report: bytes | None, skipped: dict[str, str]
):
    make(tmp_path / "report")
    found = files.Kept()
    assert files.read_report(tmp_path / "report", "report", found) == report
    assert {each["name"]: each["reason"] for each in found.members["skipped"]} == skipped


def test_an_exit_that_is_refused_is_reported_again_without_files(api: App):
    api.refusals = 1
    end = {"exit_code": 3, "reason": "exited", "message": "", "size": 7, "files": [{"name": "x"}], "output": "eA=="}
    end["report"] = "eQ=="
    runner.report_exit(end, api)
    (_, first), (_, second) = api.posts
    assert json.loads(first) == end
    bare = Exit.model_validate_json(second)
    assert (bare.exit_code, bare.reason, bare.size, bare.files, bare.report) == (3, "exited", 7, [], "eQ==")


class Output:
    """Collects what is written."""

    def __init__(self) -> None:
        self.text = b""

    def write(self, data: bytes) -> None:
        self.text += data


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (None, b"0123456789\nabc"),
        (14, b"0123456789\nabc"),
        (12, b"0123456789\na\n[output over 12 bytes was dropped]\n"),
    ],
)
def test_output_over_the_limit_is_dropped_and_one_line_says_so(limit: int | None, expected: bytes):
    sink = Output()
    process = runner.subprocess.Popen([sys.executable, "-c", "print('0123456789\\nabc', end='')"], stdout=-1)
    reader = runner.OutputReader(process, runner.Redactor([]), sink, limit)
    reader.run()
    process.wait()
    process.stdout.close()
    assert sink.text == expected


def test_a_runner_whose_app_is_gone_gives_up_when_its_patience_ends(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(push, "PATIENCE", 0.3)
    pusher = push.Pusher(push.JobApi("http://127.0.0.1:9/jobs/1", "token"))
    pusher.write(b"x" * (push.REST + 1))
    with pytest.raises(push.Over, match="no answer for 0 s"):
        pusher.close()
