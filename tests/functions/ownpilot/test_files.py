"""Files of workspaces: their paths, rows and contents, what they may hold, and what becomes of those that are gone."""

import asyncio
import hashlib
import io
import time
import uuid
import zipfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from functions.ownpilot.core import file_cleanup, file_shapes, files
from functions.ownpilot.core.file_archive import SMALL, contents, zip_stream
from functions.ownpilot.core.file_cleanup import clear_workspace_files, delete_workspace, sweep_workspace_files
from functions.ownpilot.core.file_paths import MAX_DEPTH, MAX_NAME, MAX_PATH, AccessDenied, normalised, parents
from functions.ownpilot.core.file_shapes import tree_of
from functions.ownpilot.core.file_workspace_store import FileWorkspace, file_workspaces
from functions.ownpilot.core.files import CONTAINER, FileNotFound, FileRow, FileStore, FileUsage, QuotaExceeded
from shared import blobs
from shared.http.errors import Conflict, InvalidRequest
from shared.tables import RecordChanged, StorageUnavailable
from shared.tables.client import client
from shared.workflows import WorkflowClient
from tests.support.failing import Failing
from tests.support.records import Counting

NOBODY: Any = None
MB = 1024 * 1024


class TestPaths:
    @given(st.text(), st.sampled_from(["", "../", "..\\", "/", "%2e%2e/", "a/../../", "\0", "．．/", "..%2f"]))
    @example("a" * MAX_PATH, "")
    def test_a_path_is_refused_or_lies_in_the_workspace_and_stays_as_it_is(self, text: str, before: str):
        try:
            path = normalised(before + text)
        except (AccessDenied, InvalidRequest):
            return
        names = path.split("/") if path else []
        assert not {"", ".", ".."} & {*names} and "\\" not in path and "\0" not in path
        assert len(path.encode()) <= MAX_PATH and len(names) <= MAX_DEPTH
        assert normalised(path) == path

    @pytest.mark.parametrize(
        "path",
        ["..", "../a", "a/../../b", "/..", "a\\..\\..\\b", "%2e%2e", "%2E%2e/a", "a/..%2f..%2fb", "..%5cb", "a/．．/b",
         "a%2fb", "%252e%252e/../.."],
    )  # fmt: skip
    def test_a_path_that_leads_out_is_denied(self, path: str):
        with pytest.raises(AccessDenied):
            normalised(path)

    @pytest.mark.parametrize(
        "path",
        ["a\0b", "a%00b", "a\nb", "\x7f", "\ud800", "a" * (MAX_NAME + 1), "é" * 128, "/".join("a" * (MAX_DEPTH + 1)),
         "/".join(["a" * 200] * 6)],
    )  # fmt: skip
    def test_a_path_that_no_file_can_have_is_refused(self, path: str):
        with pytest.raises(InvalidRequest):
            normalised(path)

    @pytest.mark.parametrize(
        ("path", "found"),
        [("/a//b/", "a/b"), ("a/./b/../c", "a/c"), ("a\\b", "a/b"), ("", ""), ("/", ""), ("cafe\u0301", "café"),
         ("100%", "100%"), ("a b/ü", "a b/ü"), ("...", "..."), (".env", ".env")],
    )  # fmt: skip
    def test_ways_to_write_a_path_are_one(self, path: str, found: str):
        assert normalised(path) == found

    @pytest.mark.parametrize("path", ["a" + "\u0301\u0327" * 20_000, "a/" * 400_000])
    def test_a_path_of_any_length_is_refused_at_once(self, path: str):
        began = time.thread_time()
        with pytest.raises(InvalidRequest):
            normalised(path)
        assert time.thread_time() - began < 0.5

    def test_the_folders_of_a_path(self):
        assert parents("a/b/c.txt") == ["a", "a/b"] and parents("c.txt") == []


class TestTree:
    def test_folders_come_first_with_their_sizes_and_times(self):
        start = datetime(2030, 1, 1, tzinfo=UTC)
        rows = [
            FileRow(path=path, size=size, sha256="", created_at=start, updated_at=start + timedelta(days=days))
            for path, size, days in [("z.txt", 1, 0), ("a/b/c.txt", 2, 3), ("a/d.txt", 4, 1)]
        ]
        tree = tree_of(rows, extra=[("temp", start)])
        assert [each["path"] for each in tree] == ["a", "temp", "z.txt"]
        a, temp, z = tree
        assert (a["size"], a["isDirectory"], a["modifiedAt"]) == (6, True, "2030-01-04T00:00:00.000Z")
        assert [each["path"] for each in a["children"]] == ["a/b", "a/d.txt"]
        assert temp["children"] == [] and "children" not in z and z["name"] == z["relativePath"] == "z.txt"
        assert [each["path"] for each in tree_of(rows[1:], "a")] == ["a/b", "a/d.txt"]

    def test_a_folder_of_many_files_is_listed_in_one_step_for_each_file(self, monkeypatch: pytest.MonkeyPatch):
        made: list[str] = []
        make = file_shapes._node
        monkeypatch.setattr(file_shapes, "_node", lambda *its, **flags: made.append(its[1]) or make(*its, **flags))
        rows = [FileRow(path=f"a/{'b/' * 20}{number}", size=1, sha256="") for number in range(100)]
        (a,) = tree_of(rows, recursive=False)
        assert (a["size"], a["children"], made) == (100, [], ["a"])
        tree_of(rows)
        assert len(made) == 1 + 21 + 100


@pytest.fixture
def store(app: None) -> FileStore:
    return new_store()


def new_store(quota: int = 10 * MB) -> FileStore:
    return FileStore(f"user {uuid.uuid4()}", str(uuid.uuid4()), quota)


@pytest.fixture
async def counting(app: None) -> Counting:
    wire = client().wire
    wire.transport = counting = Counting(wire.transport)
    return counting


async def blobs_of(store: FileStore) -> set[str]:
    return {name.rpartition("/")[2] async for name, _ in blobs.names(CONTAINER, store.folder)}


async def slowly(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


class TestFiles:
    async def test_what_is_written_is_read_listed_and_counted(self, store: FileStore):
        written = await store.write("/a//b.txt", b"hello")
        row, data = await store.read("a/b.txt")
        assert (row.path, row.size, data, row.sha256) == ("a/b.txt", 5, b"hello", hashlib.sha256(b"hello").hexdigest())
        assert row.id == written.id
        await store.write("c", lambda: slowly(b"x" * 100, b"y" * 5 * MB))
        assert (await store.read("c"))[1] == b"x" * 100 + b"y" * 5 * MB
        assert (await store.read("c", 3))[1] == b"xxx"
        await store.write("a/b.txt", b"hi")
        await store.write("a/empty", b"")
        assert (await store.read("a/empty"))[1] == b""
        assert await store.usage() == FileUsage(2 + 100 + 5 * MB, 3)
        assert [row.path for row in await store.list()] == ["a/b.txt", "a/empty", "c"]
        assert [row.path for row in await store.list("a", recursive=False)] == ["a/b.txt", "a/empty"]
        assert [row.path for row in await store.list(recursive=False)] == ["c"]

    async def test_one_that_is_not_there_is_not_found(self, store: FileStore):
        await store.write("a/b", b"1")
        for path in ("b", "a", "", "A/b"):
            with pytest.raises(FileNotFound):
                await store.find(path)
        with pytest.raises(FileNotFound):
            await store.delete("b")
        with pytest.raises(FileNotFound):
            await store.move("a", "c")

    async def test_long_and_similar_names_are_different_files(self, store: FileStore):
        long = f"{'ß' * 60}/{'a' * 100}"
        paths = sorted([f"{long}/x", f"{long}/X", f"{long}y/x", "ab/c", "Ab/c", "abd", "\u2028\u2029😀"])
        await asyncio.gather(*(store.write(path, path.encode()) for path in paths))
        assert [row.path for row in await store.list()] == paths
        assert [row.path for row in await store.list(long)] == sorted([f"{long}/x", f"{long}/X"])
        assert [row.path for row in await store.list("ab")] == ["ab/c"]

    async def test_a_file_is_no_folder_and_a_folder_no_file(self, store: FileStore):
        await store.write("a/b/c", b"1")
        for path in ("a", "a/b", "a/b/c/d", "a/b/c/d/e"):
            with pytest.raises(Conflict):
                await store.write(path, b"2")
        with pytest.raises(Conflict):
            await store.check_folder("a/b/c/d")
        await store.check_folder("a/b")
        await store.write("x", b"3")
        for path in ("a", "a/b/c/x"):
            with pytest.raises(Conflict):
                await store.move("x", path)

    async def test_a_file_is_moved_with_its_content_and_not_over_another_one(self, store: FileStore):
        made = await store.write("a", b"1")
        await store.write("b", b"2")
        with pytest.raises(Conflict):
            await store.move("a", "b")
        moved = await store.move("a", "c/d")
        assert (moved.id, moved.path) == (made.id, "c/d") and (await store.read("c/d"))[1] == b"1"
        assert (await store.move("c/d", "c//d")).path == "c/d"
        await store.write("a", b"3")
        assert [row.path for row in await store.list()] == ["a", "b", "c/d"]

    async def test_a_folder_is_deleted_with_its_files(self, store: FileStore):
        for path in ("a/b", "a/c/d", "ab"):
            await store.write(path, b"1")
        assert await store.delete("a") == 2 and await store.delete("ab") == 1
        assert await store.usage() == FileUsage(0, 0)

    async def test_writers_of_one_path_leave_one_of_their_contents(self, store: FileStore):
        contents = [f"{number}" * 10 for number in range(8)]
        await asyncio.gather(*(store.write("a", each.encode()) for each in contents))
        row, data = await store.read("a")
        assert data.decode() in contents and await store.usage() == FileUsage(row.size, 1)

    async def test_what_they_cost(self, counting: Counting):
        store = new_store()
        await store.write("first", b"1")
        for operation, cost in [
            (lambda: store.write("new", b"1"), {"query": 2, "batch": 1}),
            (lambda: store.find("new"), {"get": 2}),
            (lambda: store.move("new", "moved"), {"get": 2, "query": 1, "batch": 1}),
            (lambda: store.list(), {"query": 1}),
            (lambda: store.usage(), {"query": 1}),
        ]:
            counting.reset()
            await operation()
            assert counting.calls == cost

    async def test_a_write_that_storage_refuses_leaves_the_old_file(self, store: FileStore):
        await store.write("a", b"old")
        wire = client().wire
        wire.transport = Failing(wire.transport, "OwnpilotFiles", StorageUnavailable("now"))
        with pytest.raises(StorageUnavailable):
            await store.write("a", b"new")
        assert (await store.read("a"))[1] == b"old"


class TestQuota:
    async def test_what_passes_it_is_refused_and_all_is_as_before(self, app: None):
        store = new_store(quota=10)
        await store.write("a", b"12345")
        for path, data in [("b", b"123456"), ("a", b"1" * 11), ("b", b"1" * 11)]:
            with pytest.raises(QuotaExceeded):
                await store.write(path, data)
        with pytest.raises(QuotaExceeded):
            await store.write("b", lambda: slowly(b"123456", b"123456"))
        await store.write("b", b"12345")
        with pytest.raises(QuotaExceeded):
            await store.write("a", b"123456")
        assert (await store.read("a"))[1] == b"12345" and await store.usage() == FileUsage(10, 2)
        assert len(await blobs_of(store)) == 1, "the content of a refused file was stored"
        await store.write("a", b"1")

    async def test_writers_at_once_do_not_pass_it(self, app: None):
        store = new_store(quota=10)
        await store.write("0", b"1")
        writes = [store.write(f"{number % 4}", b"1" * (1 + number % 5)) for number in range(16)]
        done = await asyncio.gather(*writes, return_exceptions=True)
        assert {type(each) for each in done} <= {FileRow, QuotaExceeded}
        usage, rows = await store.usage(), await store.list()
        assert usage.bytes <= 10 and usage == FileUsage(sum(row.size for row in rows), len(rows))

    async def test_there_are_so_many_files(self, app: None, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(files, "MAX_FILES", 1)
        store = new_store()
        await store.write("a", b"1")
        with pytest.raises(QuotaExceeded, match="1 files"):
            await store.write("b", b"1")
        await store.write("a", b"22")
        assert await store.usage() == FileUsage(2, 1)
        assert len(await blobs_of(store)) == 2, "the content of a refused file was stored"


class TestArchive:
    async def test_a_zip_has_every_file_also_odd_ones(self, store: FileStore):
        written = {"a/ä b.txt": b"text", "empty": b"", "large": b"x" * (5 * MB), "c": b"y" * SMALL} | {
            f"many/{number}": b"%d" % number for number in range(20)
        }
        await asyncio.gather(*(store.write(path, data) for path, data in written.items()))
        parts = [part async for part in zip_stream(store, await store.list())]
        with zipfile.ZipFile(io.BytesIO(b"".join(parts))) as archive:
            assert archive.testzip() is None
            assert {name: archive.read(name) for name in archive.namelist()} == written
        assert max(map(len, parts)) < 5 * MB

    async def test_contents_come_file_by_file(self, store: FileStore):
        await store.write("a", b"1")
        await store.write("b", b"x" * (SMALL + 1))
        found = [(row.path, b"".join([part async for part in data])) async for row, data in
                 contents(store, await store.list())]  # fmt: skip
        assert found == [("a", b"1"), ("b", b"x" * (SMALL + 1))]


class TestEnd:
    async def test_the_sweep_deletes_what_no_file_has_and_nothing_else(
        self, store: FileStore, monkeypatch: pytest.MonkeyPatch
    ):
        kept = (await store.write("a", b"kept")).sha256
        old = (await store.write("b", b"old")).sha256
        new = (await store.write("b", b"new")).sha256
        gone = (await store.write("c", b"gone")).sha256
        await store.delete("c")
        workflows: WorkflowClient = NOBODY
        monkeypatch.setattr(file_cleanup, "PARTS", [store.folder[:2]])
        await blobs.put(CONTAINER, f"{store.folder[:2]} not written by this app", b"")
        await sweep_workspace_files(workflows)
        assert await blobs_of(store) == {kept, old, new, gone}  # none is older than a day
        monkeypatch.setattr(file_cleanup, "KEPT", timedelta(seconds=-60))
        await sweep_workspace_files(workflows)
        assert await blobs_of(store) == {kept, old, new}  # a write may still go back to what it replaced
        monkeypatch.setattr(file_cleanup, "REPLACED", timedelta(0))
        await sweep_workspace_files(workflows)
        assert await blobs_of(store) == {kept, new}

    async def test_a_sweep_whose_time_is_over_does_the_rest_another_night(
        self, store: FileStore, monkeypatch: pytest.MonkeyPatch
    ):
        await store.delete((await store.write("a", b"1")).path)
        monkeypatch.setattr(file_cleanup, "KEPT", timedelta(seconds=-60))
        monkeypatch.setattr(file_cleanup, "NIGHT", -1)
        monkeypatch.setattr(file_cleanup, "PARTS", ["another part", store.folder[:2]])
        monkeypatch.setattr(file_cleanup.random, "sample", lambda parts, _: parts)
        await sweep_workspace_files(NOBODY)
        assert await blobs_of(store)
        monkeypatch.setattr(file_cleanup.random, "sample", lambda parts, _: parts[::-1])
        await sweep_workspace_files(NOBODY)
        assert not await blobs_of(store)

    async def test_a_blob_that_is_written_again_is_left(self, store: FileStore):
        row = await store.write("a", b"1")
        await blobs.delete(CONTAINER, store.blob(row), unless_written_after=datetime.now(UTC) - timedelta(hours=1))
        assert await blobs_of(store) == {row.sha256}
        await blobs.delete(CONTAINER, store.blob(row), unless_written_after=datetime.now(UTC) + timedelta(hours=1))
        assert await blobs_of(store) == set()

    async def test_the_files_of_a_workspace_go_after_it_and_not_without_it(
        self, app: None, monkeypatch: pytest.MonkeyPatch
    ):
        orders: list[dict[str, Any]] = []

        async def defer(handler: str, value: dict[str, Any], *, delay: int = 0) -> None:
            assert handler == "ownpilot.clear_workspace_files"
            orders.append(value)

        monkeypatch.setattr(file_cleanup, "defer", defer)
        user = f"user {uuid.uuid4()}"
        workspace = FileWorkspace(user_id=user, workspace_id="w", name="n")
        await file_workspaces.of(user).insert(workspace)
        await workspace.files.write("a", b"1")
        with pytest.raises(RecordChanged):
            await delete_workspace(workspace.files, file_workspaces, if_match="another")
        await clear_workspace_files(orders[0])
        assert (await workspace.files.read("a"))[1] == b"1"
        await delete_workspace(workspace.files, file_workspaces)
        first, late, second = orders
        assert first == second and late == {**first, "late": True}
        await clear_workspace_files(second)
        assert await workspace.files.usage() == FileUsage(0, 0) and await blobs_of(workspace.files) == set()
        await workspace.files.write("b", b"of a request that had begun before")
        await clear_workspace_files(late)
        assert await workspace.files.usage() == FileUsage(0, 0) and len(orders) == 4
        monkeypatch.setattr(file_cleanup, "TURN", 0)
        await clear_workspace_files(late)
        assert orders[4:] == [late]
