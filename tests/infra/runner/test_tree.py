"""The tree of an order: a folder whose files are fetched, kept and sent back."""

import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from shared.job_orders import listed_tree
from tests.infra.runner.harness import App

pytest.importorskip("fcntl")


def tag_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Blobs(BaseHTTPRequestHandler):
    """Stored contents by their tags; takes every upload."""

    server: "BlobServer"  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        tag = self.path.partition("?")[0].strip("/")
        self.server.downloads.append(tag)
        content = self.server.contents.get(tag)
        self.send_response(200 if content is not None else 404)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.contents[tag_of(content)] = content
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None: ...


class BlobServer(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Blobs)
        self.contents: dict[str, bytes] = {}
        self.downloads: list[str] = []


class TreeApp(App):
    """The app, which gives links for the stored contents."""

    def post(self, path: str, body: bytes, kind: str = "") -> tuple[int, dict[str, Any]]:
        if path != "/inputs":
            return super().post(path, body, kind)
        return 200, {"urls": {tag: f"{self.uploads}/{tag}?sig=x" for tag in json.loads(body)["tags"]}}


class Jobs:
    """Jobs, one after the other, of a container whose tree is in `folder`."""

    def __init__(self, folder: Path, server: BlobServer):
        self.folder, self.server = folder, server
        self.app = TreeApp(f"http://127.0.0.1:{server.server_port}")

    def begin(self, files: dict[str, bytes]) -> Any:
        """A job that finds these files; the contents that it had to download are in `fetched`."""
        from tree import Tree  # pyright: ignore[reportMissingImports]

        self.server.downloads.clear()
        for content in files.values():
            self.server.contents.setdefault(tag_of(content), content)
        self._tree = Tree(self.folder, listed_tree({path: tag_of(content) for path, content in files.items()}))
        self._tree.prepare(self.app)
        return self.folder

    @property
    def fetched(self) -> int:
        return len(self.server.downloads)

    def end(self) -> tuple[dict[str, bytes], set[str], dict[str, str]]:
        """What the job has changed: contents by path, the paths that it has removed, and why others were not kept."""
        from files import Kept  # pyright: ignore[reportMissingImports]

        kept = Kept()
        removed = self._tree.keep(kept, self.app)
        changed = {file["name"]: self.server.contents[file["sha256"]] for file in kept.files}
        return changed, {*removed}, {file["name"]: file["reason"] for file in kept.skipped}

    def there(self) -> dict[str, bytes]:
        """The files in the folder."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()
        }


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    server = BlobServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Jobs(tmp_path / "files", server)
    subprocess.run(["rm", "-rf", tmp_path / "files"], check=True)  # pytest cannot remove what lies very deep
    server.shutdown()
    server.server_close()
    thread.join()


FILES = {"a.txt": b"a", "b/c.txt": b"c", "b/ü d.bin": b"\x00\xff"}


def test_the_first_job_gets_all_files_and_the_next_one_only_those_that_are_new(jobs: Jobs):
    jobs.begin(FILES)
    assert (jobs.there(), jobs.fetched) == (FILES, 3)
    assert jobs.end() == ({}, set(), {})
    jobs.begin({**FILES, "a.txt": b"other", "e": b"new"})
    assert jobs.there() == {**FILES, "a.txt": b"other", "e": b"new"}
    assert jobs.fetched == 2


def test_what_a_job_changes_is_sent_once_and_is_there_for_the_next_one(jobs: Jobs):
    folder = jobs.begin(FILES)
    (folder / "a.txt").write_bytes(b"b")  # of the same size
    (folder / "b/c.txt").unlink()
    (folder / "new/deep").mkdir(parents=True)
    (folder / "new/deep/file").write_bytes(b"new")
    (folder / "b/ü d.bin").touch()  # as it was
    changed, removed, not_kept = jobs.end()
    assert changed == {"a.txt": b"b", "new/deep/file": b"new"}
    assert (removed, not_kept) == ({"b/c.txt"}, {})
    now = {"a.txt": b"b", "b/ü d.bin": b"\x00\xff", "new/deep/file": b"new"}
    jobs.begin(now)
    assert (jobs.there(), jobs.fetched) == (now, 0)
    assert jobs.end() == ({}, set(), {})


def test_a_content_that_is_changed_behind_its_time_is_sent_too(jobs: Jobs):
    folder = jobs.begin(FILES)
    before = (folder / "a.txt").stat()
    (folder / "a.txt").write_bytes(b"z")
    os.utime(folder / "a.txt", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert jobs.end()[0] == {"a.txt": b"z"}


def test_what_the_app_does_not_list_is_removed_before_the_next_job(jobs: Jobs):
    folder = jobs.begin(FILES)
    (folder / "empty/folder").mkdir(parents=True)
    (folder / "link").symlink_to("/etc")
    (folder / "refused").write_bytes(b"x")
    os.mkfifo(folder / "pipe")
    (folder / os.fsdecode(b"\xff")).write_bytes(b"x")
    (folder / "line\nbreak").write_bytes(b"x")
    changed, removed, not_kept = jobs.end()
    assert (changed, removed) == ({}, set())
    assert set(not_kept) == {"link", "refused", "pipe", "%FF", "line%0Abreak"}
    jobs.begin(FILES)
    assert {path.name for path in folder.rglob("*")} == {"a.txt", "b", "c.txt", "ü d.bin"}
    assert jobs.fetched == 0


def test_a_file_in_place_of_a_folder_and_a_folder_in_place_of_a_file(jobs: Jobs):
    folder = jobs.begin(FILES)
    (folder / "a.txt").unlink()
    (folder / "a.txt").mkdir()
    (folder / "a.txt/inner").write_bytes(b"i")
    changed, removed, _ = jobs.end()
    assert (changed, removed) == ({"a.txt/inner": b"i"}, {"a.txt"})
    jobs.begin({"b": b"file", "a.txt": b"a"})
    assert jobs.there() == {"b": b"file", "a.txt": b"a"}


@pytest.mark.parametrize("harm", ["no folder", "a link", "closed", "no notes", "other notes", "folder of notes"])
def test_whatever_a_job_leaves_the_next_one_has_its_files(jobs: Jobs, harm: str, tmp_path: Path):
    folder, notes = jobs.begin(FILES), jobs.folder.with_name("files.json")
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious").write_bytes(b"x")
    match harm:
        case "no folder":
            for name in FILES:
                (folder / name).unlink()
            (folder / "b").rmdir()
            folder.rmdir()
        case "a link":
            folder.rename(tmp_path / "moved")
            folder.symlink_to(other)
        case "closed":
            (folder / "b").chmod(0)
            folder.chmod(0)
        case _:
            pass
    removed = jobs.end()[1]
    assert removed == (set(FILES) if harm in ("no folder", "a link") else set())
    if harm == "no notes":
        notes.unlink()
    elif harm == "other notes":
        notes.write_text("[1]")
    elif harm == "folder of notes":
        notes.unlink()
        notes.mkdir()
    jobs.begin(FILES)
    assert jobs.there() == FILES
    assert (other / "precious").exists()


def test_what_lies_too_deep_for_a_path_is_not_kept_and_gone_before_the_next_job(jobs: Jobs):
    folder = jobs.begin(FILES)
    (folder / "a.txt").write_bytes(b"b")
    inner = os.open(folder, os.O_RDONLY)
    for _ in range(2500):  # more than a program can call itself, and in all longer than a path may be
        os.mkdir("d", dir_fd=inner)
        inner, outer = os.open("d", os.O_RDONLY, dir_fd=inner), inner
        os.close(outer)
    os.close(inner)
    changed, removed, not_kept = jobs.end()
    assert (changed, removed, [*not_kept.values()]) == ({"a.txt": b"b"}, set(), ["File name too long"])
    jobs.begin(FILES)
    assert jobs.there() == FILES and not (folder / "d").exists()


def test_notes_that_cannot_be_written_cost_downloads_only(jobs: Jobs):
    jobs.begin(FILES)
    jobs.folder.with_name("files.json").unlink()
    jobs.folder.with_name("files.json").mkdir()
    assert jobs.end() == ({}, set(), {})
    jobs.begin(FILES)
    assert (jobs.there(), jobs.fetched) == (FILES, 3)


def test_a_file_that_is_no_longer_stored_ends_the_job_before_it_begins(jobs: Jobs, monkeypatch: pytest.MonkeyPatch):
    import inputs  # pyright: ignore[reportMissingImports]

    monkeypatch.setattr(inputs, "PAUSES", (None,))
    jobs.begin(FILES)
    jobs.end()
    with pytest.raises(OSError, match=r"^new: storage answered 404$"):
        begin_without(jobs, {**FILES, "new": b"gone"})
    jobs.begin(FILES)
    assert jobs.there() == FILES


def begin_without(jobs: Jobs, files: dict[str, bytes]) -> None:
    """Begin a job whose files are not all stored."""
    from tree import Tree  # pyright: ignore[reportMissingImports]

    Tree(jobs.folder, listed_tree({path: tag_of(content) for path, content in files.items()})).prepare(jobs.app)
