"""The tree of an order: a folder that is kept for the next job of the job's owner.

Before the command, the folder gets exactly the files that the order lists, of which only those are downloaded that are
not there already. After the command, the files that it has changed are uploaded. Links, and folders without files, are
not kept.
"""

import contextlib
import hashlib
import json
import os
import stat
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from files import MAX_FILES, MAX_NAME, Kept, opened, put, readable
from inputs import download
from processes import clear
from push import JobApi

TOGETHER = 8  # files that are downloaded at a time
ASKED = 500  # links that are asked for at a time
CHUNK = 1 << 20

Mark = tuple[int, int, int]
"""Size, time of the last change in ns, and inode of a file. A program cannot set that time, unlike that of content."""


class Tree:
    """The tree in a folder. `listed` is the list of the order, as `listed_tree` in shared/job_orders.py makes it.

    A file's tag is the SHA-256 of its content. A file beside the folder notes what lies there since the last job.
    """

    def __init__(self, folder: Path, listed: bytes):
        self._folder, self._notes = folder, folder.with_name(f"{folder.name}.json")
        self._listed: dict[str, str] = dict(json.loads(zlib.decompress(listed)))
        self._marks: dict[str, Mark] = {}

    def prepare(self, api: JobApi) -> None:
        """Make the folder hold the files of the list. `OSError`, `Spoiled` when that fails; `Over`."""
        known = self._known()
        try:
            self._notes.unlink(missing_ok=True)
            self._remove_others()
        except OSError:  # the last job has left what cannot be looked through
            clear(self._notes)
            clear(self._folder)
            self._folder.mkdir()
        missing: list[str] = []
        for path, tag in self._listed.items():
            mark = mark_of(self._folder / path)
            if mark and known.get(path) == [tag, *mark]:
                self._marks[path] = mark
            else:
                missing.append(path)
        for start in range(0, len(missing), ASKED):
            self._download(missing[start : start + ASKED], api)
        self._note()

    def keep(self, kept: Kept, api: JobApi) -> dict[str, str]:
        """Upload the files that have changed, and return the tags of those that were removed, by their paths."""
        seen: set[str] = set()

        def unread(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):  # the command has removed the whole tree
                kept.skip(self._name(error.filename), error.strerror)

        for path in self._files([], unread):
            name = self._name(path)
            seen.add(name)
            try:
                mark = mark_of(path)
                if mark is None:
                    kept.skip(name, "It is a link, or not a regular file")
                elif mark != self._marks.get(name):
                    self._keep(path, name, mark, kept, api)
            except (OSError, ValueError) as error:
                kept.skip(name, getattr(error, "strerror", None) or error)
        removed = {name: tag for name, tag in self._listed.items() if name not in seen and self._is_gone(name)}
        self._note()
        return removed

    def _keep(self, path: Path, name: str, mark: Mark, kept: Kept, api: JobApi) -> None:
        """Upload a file, unless only its time has changed. `OSError`, `ValueError`."""
        before = self._marks.pop(name, None)
        if before and before[0] == mark[0] and hashed(path) == self._listed[name]:
            self._marks[name] = mark
            return
        if readable(name) != name or len(name) > MAX_NAME:
            raise ValueError("Its name cannot be stored")
        if len(kept.files) >= MAX_FILES:
            raise ValueError(f"More than {MAX_FILES} files have changed")
        record = put(path, name, api)
        kept.files.append(record)
        self._listed[name], self._marks[name] = record["sha256"], mark

    def _is_gone(self, name: str) -> bool:
        """Whether no file has this path any more; False where that cannot be seen."""
        try:
            return stat.S_ISDIR((self._folder / name).lstat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False

    def _known(self) -> dict[str, list[Any]]:
        """Return tag and mark of the files by path, as they were noted after the last job."""
        try:
            noted = json.loads(self._notes.read_bytes())
        except (OSError, ValueError):
            return {}
        return noted if isinstance(noted, dict) else {}  # the command of a job can write there too

    def _note(self) -> None:
        with contextlib.suppress(OSError):  # without notes, the next job downloads all
            self._notes.write_text(
                json.dumps({name: [self._listed[name], *mark] for name, mark in self._marks.items()})
            )

    def _name(self, path: str | Path) -> str:
        return os.path.relpath(path, self._folder)

    def _remove_others(self) -> None:
        """Remove all that the list does not have as a file."""
        if self._folder.is_symlink() or self._folder.is_file():
            self._folder.unlink()
        self._folder.mkdir(exist_ok=True)
        folders: list[Path] = []

        def unread(error: OSError) -> None:
            raise error

        for path in self._files(folders, unread):
            if self._name(path) not in self._listed or mark_of(path) is None:
                path.unlink()
        for folder in reversed(folders):
            if not any(folder.iterdir()):
                folder.rmdir()

    def _files(self, folders: list[Path], unread: Callable[[OSError], None]) -> Iterator[Path]:
        """Yield all that is no folder, links too; add the folders to `folders`, those further in last.

        Folders that the command has closed are opened; `unread` gets the error of one that cannot be read.
        """
        try:
            waiting = [] if self._folder.is_symlink() else [str(self._folder)]
        except OSError as error:  # the command has closed the folder above it
            unread(error)
            return
        while waiting:  # os.walk calls itself for each level, and there may be thousands
            open_folder(waiting[-1])
            try:
                entries = sorted(os.scandir(waiting.pop()), key=lambda entry: entry.name)
            except OSError as error:
                unread(error)
                continue
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                    folders.append(Path(entry.path))
                else:
                    yield Path(entry.path)

    def _download(self, paths: list[str], api: JobApi) -> None:
        """Download these files, `TOGETHER` at a time. `OSError`."""
        body = json.dumps({"tags": sorted({self._listed[path] for path in paths})}).encode()
        status, answer = api.post("/inputs", body, "application/json")
        if status != 200:
            raise OSError(f"the app has not given links: {answer.get('error', status)}")
        waiting, faults = iter(paths), list[OSError]()
        lock = threading.Lock()

        def work() -> None:
            while not faults:
                with lock:
                    path = next(waiting, None)
                if path is None:
                    return
                try:
                    self._fetch(path, answer["urls"].get(self._listed[path]))
                except OSError as error:
                    faults.append(error)

        threads = [threading.Thread(target=work) for _ in range(min(TOGETHER, len(paths)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if faults:
            raise faults[0]

    def _fetch(self, path: str, url: str | None) -> None:
        target = self._folder / path
        if url is None:
            raise OSError(f"{path}: it is no longer stored")
        target.parent.mkdir(parents=True, exist_ok=True)
        download(path, url, target)
        if mark := mark_of(target):
            self._marks[path] = mark


def open_folder(path: str) -> None:
    """Let this process list and change a folder, as far as the system allows it."""
    with contextlib.suppress(OSError):
        Path(path).chmod(0o700)


def mark_of(path: Path) -> Mark | None:
    """Return the mark of a regular file; None for anything else, and when there is nothing."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return (status.st_size, status.st_ctime_ns, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def hashed(path: Path) -> str:
    """Return the SHA-256 of a file in hex. `OSError`."""
    digest = hashlib.sha256()
    file, _ = opened(path)
    with file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
