"""Artifacts: uploads, downloads in whole and in part, lists, deletion."""

import asyncio
import hashlib
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from functions.gateway import cleanup
from functions.gateway.store import artifacts
from shared import blobs
from shared.jobs import ARTIFACTS
from tests.support.environments import StrictHost
from tests.support.gateway import Gateway
from tests.support.values import UNKNOWN

DATA = bytes(range(256)) * 40_000
"""Ten megabytes: more than one block of a blob."""


@pytest.fixture(scope="module")
async def run(gateway: Gateway) -> str:
    """A finished run without artifacts of its own."""
    return (await gateway.reach((await gateway.run("true"))["id"]))["id"]


async def upload(
    gateway: Gateway, run_id: str, name: str = "a.txt", data: bytes = b"abc", **form: Any
) -> dict[str, Any]:
    kind = form.pop("content_type", None)
    answer = await gateway.http.post(
        f"/gateway/api/runs/{run_id}/artifacts", files={"file": (name, data, kind) if kind else (name, data)}, data=form
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.fixture(scope="module")
async def large(gateway: Gateway, run: str) -> dict[str, Any]:
    return await upload(gateway, run, "large.bin", DATA)


class TestUpload:
    async def test_the_response_describes_the_stored_file(self, gateway: Gateway, run: str):
        artifact = await upload(gateway, run, "notes.txt", b"hello", metadata='{"a": 1}')
        assert set(artifact) == {"id", "run_id", "filename", "size", "content_type", "created_at", "metadata"}
        assert (artifact["run_id"], artifact["filename"], artifact["size"]) == (run, "notes.txt", 5)
        assert (artifact["content_type"], artifact["metadata"]) == ("text/plain", {"a": 1})

    async def test_a_file_of_ten_megabytes_is_downloaded_unchanged(self, gateway: Gateway, large: dict[str, Any]):
        assert large["size"] == len(DATA)
        assert await gateway.download(large["id"]) == DATA

    @pytest.mark.parametrize(
        ("name", "stored"),
        [("../../x y.txt", "x_y.txt"), ("..\\..\\evil.exe", "evil.exe"), ("grüße.txt", "gr__e.txt"), ("/", "_"),
         (".", "_"), ("..", "__"),
         ("x" * 300, "x" * 255)],
    )  # fmt: skip
    async def test_file_names_are_cleaned(self, gateway: Gateway, run: str, name: str, stored: str):
        artifact = await upload(gateway, run, name)
        assert artifact["filename"] == stored
        answer = await gateway.http.get(f"/gateway/api/artifacts/{artifact['id']}")
        assert answer.headers["content-disposition"] == f'attachment; filename="{stored}"'

    @pytest.mark.parametrize(
        ("name", "given", "stored"),
        [("a.bin", "image/png", "image/png"), ("a.csv", None, "text/csv"), ("a", None, "application/octet-stream"),
         ("a.json", "no type", "application/json"), ("a", "text/plain; charset=utf-8", "text/plain; charset=utf-8")],
    )  # fmt: skip
    async def test_the_content_type_is_that_of_the_part_or_follows_from_the_extension(
        self, gateway: Gateway, run: str, name: str, given: str | None, stored: str
    ):
        head = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        head += f"Content-Type: {given}\r\n" if given else ""
        answer = await gateway.http.post(
            f"/gateway/api/runs/{run}/artifacts",
            content=f"{head}\r\nabc\r\n--x--".encode(),
            headers={"Content-Type": "multipart/form-data; boundary=x"},
        )
        assert (answer.status_code, answer.json()["content_type"]) == (201, stored)
        whole = await gateway.http.get(f"/gateway/api/artifacts/{answer.json()['id']}")
        assert whole.headers["content-type"].replace(" ", "") == stored.replace(" ", "")

    async def test_an_empty_file_can_be_uploaded_and_downloaded(self, gateway: Gateway, run: str):
        artifact = await upload(gateway, run, "empty", b"")
        assert artifact["size"] == 0
        answer = await gateway.http.get(f"/gateway/api/artifacts/{artifact['id']}")
        assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "0")

    async def test_of_two_files_the_first_is_stored(self, gateway: Gateway, run: str):
        files = [("file", ("one", b"1")), ("file", ("two", b"22"))]
        answer = await gateway.http.post(f"/gateway/api/runs/{run}/artifacts", files=files)
        assert (answer.status_code, answer.json()["filename"]) == (201, "one")

    @pytest.mark.parametrize("metadata", ["", "x", "[]", "5", "null", "[" * 10_000])
    async def test_metadata_other_than_an_object_is_refused(self, gateway: Gateway, run: str, metadata: str):
        answer = await gateway.http.post(
            f"/gateway/api/runs/{run}/artifacts", files={"file": ("a", b"x")}, data={"metadata": metadata}
        )
        assert (answer.status_code, answer.json()) == (400, {"error": "metadata: must be a JSON object"})

    async def test_a_form_without_the_file_is_refused(self, gateway: Gateway, run: str):
        answer = await gateway.http.post(f"/gateway/api/runs/{run}/artifacts", files={"data": ("a", b"x")})
        assert (answer.status_code, list(answer.json())) == (400, ["error"])

    async def test_a_form_in_which_no_file_was_chosen_is_refused(self, gateway: Gateway, run: str):
        head = 'Content-Disposition: form-data; name="file"; filename="{}"\r\nContent-Type: application/octet-stream'
        url, headers = f"/gateway/api/runs/{run}/artifacts", {"Content-Type": "multipart/form-data; boundary=x"}
        empty = f"--x\r\n{head.format('')}\r\n\r\n\r\n"
        answer = await gateway.http.post(url, content=f"{empty}--x--", headers=headers)
        assert (answer.status_code, answer.json()) == (400, {"error": "file: Field required"})
        chosen = f"--x\r\n{head.format('b')}\r\n\r\nabc\r\n"
        answer = await gateway.http.post(url, content=f"{empty}{chosen}--x--", headers=headers)
        assert (answer.status_code, answer.json()["filename"], answer.json()["size"]) == (201, "b", 3)

    @pytest.mark.parametrize(
        ("kind", "content"),
        [("application/json", b"{}"), ("multipart/form-data", b""), ("multipart/form-data; boundary=x", b""),
         ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\n")],
    )  # fmt: skip
    async def test_an_incomplete_form_is_refused(self, gateway: Gateway, run: str, kind: str, content: bytes):
        before = await count(gateway, run)
        answer = await gateway.http.post(
            f"/gateway/api/runs/{run}/artifacts", content=content, headers={"Content-Type": kind}
        )
        assert (answer.status_code, list(answer.json())) == (400, ["error"])
        assert await count(gateway, run) == before

    async def test_a_missing_file_comes_before_an_unknown_run(self, gateway: Gateway):
        answer = await gateway.http.post(f"/gateway/api/runs/{UNKNOWN}/artifacts", files={"other": ("a", b"x")})
        assert (answer.status_code, answer.json()) == (400, {"error": "file: Field required"})

    async def test_metadata_with_too_many_members_are_refused(self, gateway: Gateway, run: str):
        form: dict[str, Any] = {"files": {"file": ("a", b"x")}, "data": {"metadata": json.dumps({"a": ["x"] * 20_001})}}
        answer = await gateway.http.post(f"/gateway/api/runs/{run}/artifacts", **form)
        assert answer.status_code == 400
        assert "20000 members" in answer.json()["error"]

    async def test_wrong_metadata_come_before_an_unknown_run(self, gateway: Gateway):
        form: dict[str, Any] = {"files": {"file": ("a", b"x")}, "data": {"metadata": "[]"}}
        answer = await gateway.http.post(f"/gateway/api/runs/{UNKNOWN}/artifacts", **form)
        assert (answer.status_code, answer.json()) == (400, {"error": "metadata: must be a JSON object"})

    async def test_an_upload_to_an_unknown_run_is_404(self, gateway: Gateway):
        answer = await gateway.http.post(f"/gateway/api/runs/{UNKNOWN}/artifacts", files={"file": ("a", b"x")})
        assert (answer.status_code, answer.json()) == (404, {"error": "Run not found"})

    async def test_a_file_over_the_limit_is_refused_whether_or_not_its_size_is_announced(
        self, gateway: Gateway, run: str, strict_host: StrictHost
    ):
        http, key = strict_host.http, gateway.http.headers
        url = f"/gateway/api/runs/{run}/artifacts"
        fits = await http.post(url, files={"file": ("a", b"x" * 1_000_000)}, headers=key)
        assert fits.status_code == 201
        for size in (1_000_001, 5_000_000):
            answer = await http.post(url, files={"file": ("a", b"x" * size)}, headers=key)
            assert (answer.status_code, answer.json()) == (413, {"error": "File too large"})

        async def form() -> AsyncIterator[bytes]:
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            for _ in range(50):
                yield b"x" * 100_000
            yield b"\r\n--x--"

        headers = {**key, "Content-Type": "multipart/form-data; boundary=x"}
        try:
            answer = await http.post(url, content=form(), headers=headers)
        except httpx.WriteError:  # the answer came before the body was sent, and the line was closed
            return
        assert (answer.status_code, answer.json()) == (413, {"error": "File too large"})


async def count(gateway: Gateway, run_id: str) -> int:
    return (await gateway.get(run_id))["artifact_count"]


class TestCount:
    async def test_the_count_is_exact_after_concurrent_uploads_and_deletions(self, gateway: Gateway):
        run = await gateway.reach((await gateway.run("true"))["id"])
        made = await asyncio.gather(*(upload(gateway, run["id"], f"{i}.txt") for i in range(12)))
        assert await count(gateway, run["id"]) == 12
        await asyncio.gather(
            *(gateway.http.delete(f"/gateway/api/artifacts/{artifact['id']}") for artifact in made[:5]),
            *(upload(gateway, run["id"], f"late{i}") for i in range(3)),
        )
        assert await count(gateway, run["id"]) == 10
        listed = (await gateway.http.get(f"/gateway/api/runs/{run['id']}/artifacts")).json()
        assert listed["total"] == 10


class TestDownload:
    async def test_the_etag_is_the_sha_256(self, gateway: Gateway, large: dict[str, Any]):
        answer = await gateway.http.head(f"/gateway/api/artifacts/{large['id']}")
        assert answer.headers["etag"] == f'"{hashlib.sha256(DATA).hexdigest()}"'
        assert answer.headers["content-length"] == str(len(DATA))
        assert answer.content == b""

    @pytest.mark.parametrize(
        ("wanted", "start", "end"),
        [("bytes=0-0", 0, 1), ("bytes=5-9", 5, 10), ("bytes=4194300-4194310", 4194300, 4194311),
         ("bytes=10239990-", 10_239_990, 10_240_000), ("bytes=-10", 10_239_990, 10_240_000),
         ("bytes=10239999-99999999", 10_239_999, 10_240_000), ("bytes=-99999999", 0, 10_240_000)],
    )  # fmt: skip
    async def test_a_range_gets_that_part_of_the_file(
        self, gateway: Gateway, large: dict[str, Any], wanted: str, start: int, end: int
    ):
        answer = await gateway.http.get(f"/gateway/api/artifacts/{large['id']}", headers={"Range": wanted})
        assert answer.status_code == 206
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(DATA)}"
        assert answer.headers["content-length"] == str(end - start)
        assert answer.content == DATA[start:end]

    @pytest.mark.parametrize("wanted", ["bytes=10240000-", "bytes=99999999-", "bytes=-0"])
    async def test_a_range_beyond_the_end_is_416(self, gateway: Gateway, large: dict[str, Any], wanted: str):
        answer = await gateway.http.get(f"/gateway/api/artifacts/{large['id']}", headers={"Range": wanted})
        assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{len(DATA)}")

    @pytest.mark.parametrize("wanted", ["bytes=5-1", "bytes=-", "lines=1-2", "bytes=1-2,5-6", "x"])
    async def test_an_invalid_range_is_ignored(self, gateway: Gateway, large: dict[str, Any], wanted: str):
        url = f"/gateway/api/artifacts/{large['id']}"
        async with gateway.http.stream("GET", url, headers={"Range": wanted}) as answer:
            assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(DATA)))

    async def test_a_client_that_has_this_version_gets_304(self, gateway: Gateway, large: dict[str, Any]):
        url = f"/gateway/api/artifacts/{large['id']}"
        tag = (await gateway.http.head(url)).headers["etag"]
        for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            answer = await gateway.http.get(url, headers={"If-None-Match": given})
            assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
        assert (
            await gateway.http.get(url, headers={"If-None-Match": '"other"', "Range": "bytes=0-1"})
        ).status_code == 206

    async def test_a_range_of_another_version_gets_the_whole_file(self, gateway: Gateway, large: dict[str, Any]):
        url = f"/gateway/api/artifacts/{large['id']}"
        tag = (await gateway.http.head(url)).headers["etag"]
        same = await gateway.http.get(url, headers={"Range": "bytes=0-1", "If-Range": tag})
        assert (same.status_code, same.content) == (206, DATA[:2])
        async with gateway.http.stream("GET", url, headers={"Range": "bytes=0-1", "If-Range": '"x"'}) as answer:
            assert answer.status_code == 200

    async def test_a_range_of_a_log_can_be_downloaded(self, gateway: Gateway):
        run = await gateway.reach((await gateway.run("echo one; echo two"))["id"])
        log = (await gateway.artifacts(run["id"]))["claude.log"]
        answer = await gateway.http.get(f"/gateway/api/artifacts/{log['id']}", headers={"Range": "bytes=4-"})
        assert (answer.status_code, answer.content) == (206, b"two\n")
        assert answer.headers["content-type"].startswith("text/plain")


class TestInfo:
    async def test_the_info_has_the_documented_keys(self, gateway: Gateway, run: str):
        artifact = await upload(gateway, run, "info.txt", metadata=json.dumps({"k": "v"}))
        info = (await gateway.http.get(f"/gateway/api/artifacts/{artifact['id']}/info")).json()
        assert info.pop("path") == f".data/artifacts/{run}/{artifact['id']}_info.txt"
        assert info == artifact

    async def test_the_info_of_an_unknown_artifact_is_404(self, gateway: Gateway):
        answer = await gateway.http.get(f"/gateway/api/artifacts/{UNKNOWN}/info")
        assert (answer.status_code, answer.json()) == (404, {"error": "Artifact not found"})


class TestLists:
    async def test_artifacts_of_a_run_are_listed_newest_first(self, gateway: Gateway):
        run = await gateway.reach((await gateway.run("true"))["id"])
        made = [await upload(gateway, run["id"], f"{i}") for i in range(3)]
        page = (await gateway.http.get(f"/gateway/api/runs/{run['id']}/artifacts?limit=2")).json()
        assert [artifact["id"] for artifact in page["artifacts"]] == [made[2]["id"], made[1]["id"]]
        assert page["total"] == 3
        rest = (await gateway.http.get(f"/gateway/api/runs/{run['id']}/artifacts?offset=2")).json()
        assert [artifact["id"] for artifact in rest["artifacts"]] == [made[0]["id"]]
        assert set(page["artifacts"][0]) == {"id", "run_id", "filename", "size", "content_type", "created_at"}

    async def test_artifacts_of_an_unknown_run_are_404(self, gateway: Gateway):
        answer = await gateway.http.get(f"/gateway/api/runs/{UNKNOWN}/artifacts")
        assert (answer.status_code, answer.json()) == (404, {"error": "Run not found"})

    async def test_artifacts_are_filtered_by_run_and_content_type(self, gateway: Gateway):
        run = await gateway.reach((await gateway.run("true"))["id"])
        kind = f"text/x-{uuid.uuid4().hex}"
        mine = await upload(gateway, run["id"], "a", content_type=kind)
        await upload(gateway, run["id"], "b.txt")
        for params in ({"content_type": kind}, {"content_type": kind, "run_id": run["id"]}):
            page = (await gateway.http.get("/gateway/api/artifacts", params=params)).json()
            assert ([artifact["id"] for artifact in page["artifacts"]], page["total"]) == ([mine["id"]], 1)
        page = (await gateway.http.get("/gateway/api/artifacts", params={"run_id": run["id"]})).json()
        assert page["total"] == 2

    @pytest.mark.parametrize("query", [f"run_id={UNKNOWN}", "run_id=x", "content_type=a/b", "run_id=" + "y" * 3000])
    async def test_a_filter_without_matches_gives_an_empty_list(self, gateway: Gateway, query: str):
        answer = await gateway.http.get(f"/gateway/api/artifacts?{query}")
        assert (answer.status_code, answer.json()) == (200, {"artifacts": [], "total": 0})


class TestDelete:
    async def test_a_deleted_artifact_is_404_and_not_counted(self, gateway: Gateway):
        run = await gateway.reach((await gateway.run("true"))["id"])
        artifact = await upload(gateway, run["id"])
        url = f"/gateway/api/artifacts/{artifact['id']}"
        answer = await gateway.http.delete(url)
        assert (answer.status_code, answer.json()) == (200, {"message": "Artifact deleted"})
        assert await count(gateway, run["id"]) == 0
        for again in (
            await gateway.http.get(url),
            await gateway.http.get(f"{url}/info"),
            await gateway.http.delete(url),
        ):
            assert (again.status_code, again.json()) == (404, {"error": "Artifact not found"})


async def test_an_upload_whose_run_is_deleted_meanwhile_leaves_no_record_and_no_file(app: None, gateway: Gateway):
    run = (await gateway.reach((await gateway.run("true"))["id"]))["id"]
    deleted = asyncio.Event()

    async def form() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"x" * 100_000
        await deleted.wait()
        yield b"\r\n--x--"

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    url = f"/gateway/api/runs/{run}/artifacts"
    uploading = asyncio.create_task(gateway.http.post(url, content=form(), headers=headers))
    await asyncio.sleep(0.3)  # the upload has begun; if it has not, the result is the same
    await cleanup._delete_run(run)
    deleted.set()
    assert (await uploading).status_code == 404
    assert [artifact async for artifact in artifacts.all({"run_id": run})] == []
    assert [name async for name, _ in blobs.names(ARTIFACTS) if run in name] == []
