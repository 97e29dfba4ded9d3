"""Artifacts: files that output names, and uploads."""

import io
import tarfile
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.types import Message, Receive

from functions.stepflow.artifacts import upload_artifact
from functions.stepflow.records import Artifact
from functions.stepflow.store import artifacts
from infra.local.environment import NODE_MODULES
from shared import blobs, tables
from shared.jobs import ARTIFACTS
from tests.support.stepflow import StepFlow, refused
from tests.support.values import UNKNOWN

ARTIFACT = {
    "id", "execution_id", "step_id", "name", "description", "file_path", "file_name", "file_size", "mime_type",
    "artifact_type", "created_at", "tags", "is_public", "retention_days", "download_url",
}  # fmt: skip


async def upload(stepflow: StepFlow, *, file: Any = ("a.txt", b"hello"), **fields: Any) -> httpx.Response:
    return await stepflow.http.post("/api/artifacts", data=fields, files={"file": file} if file else {"x": ("", b"")})


@pytest.fixture(scope="module")
async def ended(stepflow: StepFlow) -> dict[str, Any]:
    """An execution with one step that has ended."""
    return await stepflow.run("echo STEP_START: one")


class TestOfMarkers:
    async def test_a_file_is_stored_as_it_is_when_its_marker_is_read(self, stepflow: StepFlow):
        found = await stepflow.run("echo 1 > f; echo ARTIFACT: f; sleep 1; echo 2 > f; echo ARTIFACT: f; sleep 1; rm f")
        contents = [(await stepflow.http.get(a["download_url"])).content for a in found["artifacts"]]
        assert contents == [b"1\n", b"2\n"]
        assert [artifact["name"] for artifact in found["artifacts"]] == ["f", "f"]

    async def test_the_artifact_type_follows_from_the_extension(self, stepflow: StepFlow):
        names = {
            "a.pdf": "document",
            "b.PNG": "image",
            "c.csv": "data",
            "d.log": "log",
            "e.zip": "archive",
            "f": "other",
        }
        command = "; ".join(f"echo x > {name}; echo ARTIFACT: {name}" for name in names)
        found = await stepflow.run(command)
        assert {a["file_name"]: a["artifact_type"] for a in found["artifacts"]} == names

    async def test_a_missing_file_is_recorded_without_a_download(self, stepflow: StepFlow):
        found = await stepflow.run("echo 'ARTIFACT: sub/none.txt: it: was'")
        artifact = found["artifacts"][0]
        assert set(artifact) >= ARTIFACT
        assert (artifact["name"], artifact["description"]) == ("none.txt", "it: was")
        assert (artifact["file_size"], artifact["mime_type"], artifact["exists"]) == (0, None, False)
        assert artifact["metadata"]["message"]
        refused(await stepflow.http.get(artifact["download_url"]), 404)

    async def test_a_folder_is_archived_with_its_links_as_links(self, stepflow: StepFlow):
        found = await stepflow.run("mkdir -p d/e; echo x > d/e/f; ln -s /etc d/link; echo ARTIFACT: d/: all of it")
        artifact = found["artifacts"][0]
        assert (artifact["file_name"], artifact["artifact_type"], artifact["mime_type"]) == (
            "d.tar.gz", "archive", "application/gzip",
        )  # fmt: skip
        packed = (await stepflow.http.get(artifact["download_url"])).content
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            assert set(archive.getnames()) == {"d", "d/e", "d/e/f", "d/link"}
            assert archive.getmember("d/link").issym()

    async def test_a_path_out_of_the_working_directory_stays_in_the_container(self, stepflow: StepFlow):
        command = (
            "echo ARTIFACT: ../../etc/passwd; mkdir -p ../other; echo mine > ../other/f; echo ARTIFACT: ../other/f"
        )
        found = await stepflow.run(command)
        passwd, mine = found["artifacts"]
        assert (await stepflow.http.get(mine["download_url"])).content == b"mine\n"
        if passwd["exists"]:  # the container's own: not that of the machine that the tests run on
            assert len((await stepflow.http.get(passwd["download_url"])).content.splitlines()) <= 2
        assert found["execution"]["status"] == "completed"

    async def test_a_special_file_is_recorded_with_a_message(self, stepflow: StepFlow):
        found = await stepflow.run(
            "mkfifo pipe; echo ARTIFACT: pipe; echo ARTIFACT: /dev/zero; ln -s loop loop; echo ARTIFACT: loop"
        )
        assert [(a["exists"], bool(a["metadata"].get("message"))) for a in found["artifacts"]] == [(False, True)] * 3
        assert found["execution"]["status"] == "completed"

    async def test_a_folder_that_is_too_large_is_recorded_with_a_message(self, stepflow: StepFlow):
        command = "mkdir d; truncate -s 3G d/big; echo ARTIFACT: d; echo ARTIFACT: /; echo after"
        found = await stepflow.run(command)
        assert [a["exists"] for a in found["artifacts"]] == [False, False]
        assert "1073741824" in found["artifacts"][0]["metadata"]["message"]
        assert found["artifacts"][1]["metadata"]["message"]
        assert await stepflow.logs(found["execution"]["id"]) == ["after"]

    @pytest.mark.skipif(NODE_MODULES.is_relative_to("/tmp"), reason="a container's /tmp would hold all of node_modules")
    async def test_the_archive_of_a_folder_does_not_contain_itself(self, stepflow: StepFlow):
        found = await stepflow.run('echo x > "$TMPDIR/f"; mkfifo "$TMPDIR/pipe"; echo "ARTIFACT: $TMPDIR"')
        packed = (await stepflow.http.get(found["artifacts"][0]["download_url"])).content
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            names = {Path(name).name for name in archive.getnames()}
        assert "f" in names
        assert "pipe" not in names
        assert not any(name.endswith(".tar.gz") for name in names)

    async def test_a_file_over_the_limit_is_recorded_with_a_message_and_the_execution_continues(
        self, stepflow: StepFlow
    ):
        found = await stepflow.run("truncate -s 200M big.bin; echo ARTIFACT: big.bin; echo after")
        artifact = found["artifacts"][0]
        assert (artifact["file_size"], artifact["exists"]) == (0, False)
        assert "100000000" in artifact["metadata"]["message"]
        assert found["execution"]["status"] == "completed"
        assert await stepflow.logs(found["execution"]["id"]) == ["after"]

    async def test_a_large_file_named_in_the_last_line_is_stored_after_the_command_has_ended(self, stepflow: StepFlow):
        found = await stepflow.run("head -c 50000000 /dev/urandom > big.bin; echo ARTIFACT: big.bin; printf end")
        assert found["artifacts"][0]["file_size"] == 50_000_000
        assert await stepflow.logs(found["execution"]["id"]) == ["end"]

    async def test_artifacts_keep_the_order_of_their_markers(self, stepflow: StepFlow):
        found = await stepflow.run("for i in $(seq 25); do echo $i > $i.txt; echo ARTIFACT: $i.txt; done")
        assert [artifact["name"] for artifact in found["artifacts"]] == [f"{n}.txt" for n in range(1, 26)]


class TestUploadArtifact:
    async def test_an_upload_is_sent_to_the_watchers(self, stepflow: StepFlow, ended: dict[str, Any]):
        async with stepflow.watch() as watcher:
            answer = await upload(stepflow, file=("a", b"x"), execution_id=ended["execution"]["id"], name="told")
            event = await watcher.receives(lambda m: m["type"] == "artifact_created")
        assert event["data"]["artifact"]["id"] == answer.json()["data"]["artifact_id"]

    async def test_an_upload_is_stored_and_downloaded_unchanged(self, stepflow: StepFlow, ended: dict[str, Any]):
        data = bytes(range(256)) * 100
        execution_id, step_id = ended["execution"]["id"], ended["steps"][0]["id"]
        answer = await upload(
            stepflow, file=("größe.csv", data, "text/csv"), execution_id=execution_id, step_id=step_id, name="Report",
            description="by hand", tags=["a", "b"],
        )  # fmt: skip
        assert answer.status_code == 201, answer.text
        body = answer.json()["data"]
        artifact = body["artifact"]
        assert set(artifact) >= ARTIFACT
        assert (body["artifact_id"], artifact["name"], artifact["description"]) == (artifact["id"], "Report", "by hand")
        assert (artifact["file_name"], artifact["file_size"], artifact["mime_type"]) == (
            "größe.csv", len(data), "text/csv",
        )  # fmt: skip
        assert (artifact["artifact_type"], artifact["tags"], artifact["is_public"]) == ("data", ["a", "b"], True)
        assert (artifact["retention_days"], artifact["step_id"]) == (30, step_id)
        assert artifact["file_path"] == f"/storage/artifacts/{execution_id}/{artifact['id']}_größe.csv"
        assert artifact["download_url"] == f"/api/artifacts/{artifact['id']}/download"
        download = await stepflow.http.get(artifact["download_url"])
        assert (download.content, download.headers["content-type"]) == (data, "text/csv; charset=utf-8")
        assert "filename*=utf-8''gr%C3%B6%C3%9Fe.csv" in download.headers["content-disposition"]
        shown = await stepflow.data(f"/api/artifacts/{artifact['id']}")
        assert shown == {"artifact": artifact}

    @pytest.mark.parametrize(
        ("given", "tags"),
        [
            (["a", "b"], ["a", "b"]),
            ('["a", "b,c"]', ["a", "b,c"]),
            ("a, b ,c", ["a", "b", "c"]),
            ("one", ["one"]),
            ("", []),
        ],
    )  # fmt: skip
    async def test_tags_are_accepted_in_three_forms(
        self, stepflow: StepFlow, ended: dict[str, Any], given: Any, tags: list[str]
    ):
        answer = await upload(stepflow, execution_id=ended["execution"]["id"], name="x", tags=given)
        assert answer.json()["data"]["artifact"]["tags"] == tags

    @pytest.mark.parametrize("missing", ["file", "name", "execution_id"])
    async def test_an_upload_without_a_required_part_is_refused(
        self, stepflow: StepFlow, ended: dict[str, Any], missing: str
    ):
        fields: dict[str, Any] = {"execution_id": ended["execution"]["id"], "name": "x", "file": ("a", b"b")}
        assert missing in refused(await upload(stepflow, **{**fields, missing: None}), 400)

    async def test_an_upload_to_an_unknown_execution_or_step_is_404(self, stepflow: StepFlow, ended: dict[str, Any]):
        refused(await upload(stepflow, execution_id=UNKNOWN, name="x"), 404)
        refused(await upload(stepflow, execution_id=ended["execution"]["id"], step_id=UNKNOWN, name="x"), 404)

    @pytest.mark.parametrize("sent", ["text/html\nContent-Disposition: inline", "text", "text/\x7f"])
    async def test_a_content_type_that_is_none_is_replaced_by_that_of_the_extension(
        self, stepflow: StepFlow, ended: dict[str, Any], sent: str
    ):
        name = 'Content-Disposition: form-data; name="{}"'
        fields = {"execution_id": ended["execution"]["id"], "name": "x"}
        parts = [f"{name.format(field)}\r\n\r\n{value}" for field, value in fields.items()]
        parts.append(f'{name.format("file")}; filename="a.csv"\r\nContent-Type: {sent}\r\n\r\n1,2')
        form = "".join(f"--x\r\n{part}\r\n" for part in parts) + "--x--\r\n"
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        answer = await stepflow.http.post("/api/artifacts", content=form, headers=headers)
        assert answer.status_code == 201, answer.text
        artifact = answer.json()["data"]["artifact"]
        assert artifact["mime_type"] == "text/csv"

    @pytest.mark.usefixtures("app")
    async def test_a_content_type_that_a_container_made_up_is_not_sent(self, stepflow: StepFlow, ended: dict[str, Any]):
        answer = await upload(stepflow, execution_id=ended["execution"]["id"], name="x")
        artifact_id = answer.json()["data"]["artifact_id"]

        def spoil(artifact: Artifact) -> None:
            artifact.mime_type = "a/b\nContent-Disposition: inline"

        await artifacts.update(artifact_id, spoil)
        download = await stepflow.http.get(f"/api/artifacts/{artifact_id}/download")
        assert (download.content, download.headers["content-type"]) == (b"hello", "application/octet-stream")

    @pytest.mark.parametrize(
        "fields",
        [
            {"artifact_type": "report"}, {"tags": "[1]"}, {"tags": "[broken"}, {"name": "x" * 1001},
            {"description": "x" * 10_001}, {"tags": ["x" * 201]}, {"tags": ",".join(["x"] * 101)},
        ],
    )  # fmt: skip
    async def test_an_upload_with_an_invalid_field_is_refused(
        self, stepflow: StepFlow, ended: dict[str, Any], fields: Any
    ):
        refused(await upload(stepflow, **{"execution_id": ended["execution"]["id"], "name": "x", **fields}), 400)
        refused(await upload(stepflow, **{"execution_id": UNKNOWN, "name": "x", **fields}), 400)

    @pytest.mark.parametrize(
        ("sent", "stored"), [("..", "__"), (".", "x"), ("a/..", "__"), ("a\\b.txt", "b.txt"), ("../c.txt", "c.txt")]
    )
    async def test_the_name_of_a_file_is_its_last_part(
        self, stepflow: StepFlow, ended: dict[str, Any], sent: str, stored: str
    ):
        answer = await upload(stepflow, execution_id=ended["execution"]["id"], name="x", file=(sent, b"b"))
        assert answer.json()["data"]["artifact"]["file_name"] == stored

    @pytest.mark.parametrize("content", [b"", b"--x\r\nbroken"])
    async def test_an_incomplete_form_is_refused(self, stepflow: StepFlow, content: bytes):
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        refused(await stepflow.http.post("/api/artifacts", content=content, headers=headers), 400)

    async def test_an_upload_over_the_limit_is_413(self, stepflow: StepFlow, ended: dict[str, Any]):
        big = ("big.bin", b"\0" * 100_000_001)
        refused(await upload(stepflow, file=big, execution_id=ended["execution"]["id"], name="x"), 413)


class TestListArtifacts:
    async def test_artifacts_are_filtered_by_execution_step_and_type_and_listed_newest_first(self, stepflow: StepFlow):
        in_step = "echo STEP_START: s; for n in a.csv b.png c.csv; do echo $n > $n; echo ARTIFACT: $n; done"
        command = f"{in_step}; echo STEP_COMPLETE: s; echo d > d.csv; echo ARTIFACT: d.csv"
        found = await stepflow.run(command)
        execution_id, step_id = found["execution"]["id"], found["steps"][0]["id"]

        async def names(**query: Any) -> tuple[list[str], int, bool]:
            page = await stepflow.data("/api/artifacts", **query)
            return [a["name"] for a in page["artifacts"]], page["total_count"], page["has_more"]

        assert await names(execution_id=execution_id) == (["d.csv", "c.csv", "b.png", "a.csv"], 4, False)
        assert await names(step_id=step_id) == (["c.csv", "b.png", "a.csv"], 3, False)
        assert await names(execution_id=execution_id, artifact_type="data") == (["d.csv", "c.csv", "a.csv"], 3, False)
        assert await names(step_id=step_id, artifact_type="data", limit=1) == (["c.csv"], 2, True)
        assert await names(execution_id=execution_id, step_id=step_id, offset=1) == (["b.png", "a.csv"], 3, False)
        assert await names(execution_id=execution_id, offset=9) == ([], 4, False)
        assert await names(execution_id=UNKNOWN) == ([], 0, False)
        everything = await stepflow.data("/api/artifacts", limit=1000)
        assert everything["total_count"] >= 4
        of_execution = await stepflow.data(f"/api/artifacts/execution/{execution_id}")
        assert [a["name"] for a in of_execution["artifacts"]] == ["a.csv", "b.png", "c.csv", "d.csv"]

    @pytest.mark.parametrize("query", ["limit=0", "offset=-1", "artifact_type=report", "artifact_type="])
    async def test_an_invalid_query_is_refused(self, stepflow: StepFlow, query: str):
        refused(await stepflow.http.get(f"/api/artifacts?{query}"), 400)

    async def test_artifacts_of_an_unknown_execution_are_404(self, stepflow: StepFlow):
        refused(await stepflow.http.get(f"/api/artifacts/execution/{UNKNOWN}"), 404)


class TestDeleteArtifact:
    async def test_deleting_an_artifact_deletes_its_file_and_keeps_the_execution(self, stepflow: StepFlow):
        found = await stepflow.run("echo a > a; echo b > b; echo ARTIFACT: a; echo ARTIFACT: b; echo line")
        a, b = found["artifacts"]
        answer = await stepflow.http.delete(f"/api/artifacts/{a['id']}")
        assert (answer.status_code, bool(answer.json()["data"]["message"])) == (200, True)
        refused(await stepflow.http.get(a["download_url"]), 404)
        refused(await stepflow.http.get(f"/api/artifacts/{a['id']}"), 404)
        refused(await stepflow.http.delete(f"/api/artifacts/{a['id']}"), 404)
        again = await stepflow.data(f"/api/executions/{found['execution']['id']}")
        assert [artifact["id"] for artifact in again["artifacts"]] == [b["id"]]
        assert await stepflow.logs(found["execution"]["id"]) == ["line"]

    @pytest.mark.parametrize("artifact_id", [UNKNOWN, "x"])
    async def test_an_unknown_artifact_is_404(self, stepflow: StepFlow, artifact_id: str):
        refused(await stepflow.http.get(f"/api/artifacts/{artifact_id}"), 404)
        refused(await stepflow.http.get(f"/api/artifacts/{artifact_id}/download"), 404)
        refused(await stepflow.http.delete(f"/api/artifacts/{artifact_id}"), 404)


async def test_an_upload_whose_execution_is_deleted_meanwhile_leaves_no_record_and_no_file(
    app: None, stepflow: StepFlow, monkeypatch: pytest.MonkeyPatch
):
    execution_id = (await stepflow.run("true"))["execution"]["id"]
    before = {name async for name, _ in blobs.names(ARTIFACTS)}
    insert = artifacts.insert

    async def deleted_first(artifact: Artifact) -> Artifact:
        """The deletion comes between the look at the execution and the record of the artifact."""
        assert (await stepflow.http.delete(f"/api/executions/{execution_id}")).status_code == 200
        return await insert(artifact)

    monkeypatch.setattr(artifacts, "insert", deleted_first)
    body = form({"execution_id": execution_id, "name": "x"})
    request = Request({"type": "http", "method": "POST", "headers": [(b"content-type", FORM)]}, body)
    with pytest.raises(tables.RecordNotFound):
        await upload_artifact(request)
    assert [artifact async for artifact in artifacts.all({"execution_id": execution_id})] == []
    assert {name async for name, _ in blobs.names(ARTIFACTS)} - before == set()


FORM = b"multipart/form-data; boundary=x"


def form(fields: dict[str, str]) -> Receive:
    """The `receive` of a request with these fields and a file."""
    part = '--x\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n{}\r\n'
    text = part.format("file", '; filename="a"', "abc") + "".join(part.format(n, "", v) for n, v in fields.items())

    async def receive() -> Message:
        return {"type": "http.request", "body": f"{text}--x--".encode(), "more_body": False}

    return receive
