"""Files of workspaces: hostile paths, a quota under many writers, many workspaces side by side, and large archives."""

import asyncio
import io
import os
import sys
import uuid
import zipfile
from pathlib import Path
from typing import Any

import httpx

from functions.ownpilot.core.file_paths import normalised
from functions.ownpilot.core.files import FileStore
from infra.emulator.processes import ROOT
from infra.local.environment import Environment
from shared.http.errors import ApiError
from tests.support.campaign import Campaign
from tests.support.environments import connected
from tests.support.ownpilot import OwnPilot

AT = "/file-workspaces"
PIECES = ["..", ".", "...", "%2e%2e", "%2f", "%5c", "\\", "/", "a", "b.txt", "é", "e\u0301", "．．", "\u202e", " ", "~",
          "C:", "con", "$(x)", "\u2028", "😀", "%00", "\0", "\x01", "-rf", "*", "x" * 100]  # fmt: skip

_WRITERS = """
import asyncio, random, sys
from functions.ownpilot.core.files import FileRow, FileStore, QuotaExceeded
from shared.storage import connect
from shared.tables import StorageUnavailable

async def main(owner, place, quota, seed):
    connect()
    store, chance = FileStore(owner, place, int(quota)), random.Random(seed)
    async def write(number):
        for _ in range(4):
            data = bytes(chance.randrange(1, 200))
            try:
                await store.write(f"f{chance.randrange(12)}", data)
            except QuotaExceeded:
                print("full")
            except StorageUnavailable:
                pass  # the file may be stored
    await asyncio.gather(*map(write, range(8)))

asyncio.run(main(*sys.argv[1:]))
"""
"""Eight of the writers, in a process of their own."""


async def test_no_path_leads_out_of_a_workspace_or_of_its_zip(stack: Environment, campaign: Campaign, tmp_path: Path):
    async with httpx.AsyncClient(base_url=stack.url, timeout=60, trust_env=False) as http:
        me, chance = OwnPilot(http), campaign.chance
        id_, kept = (await me.post(AT))["id"], dict[str, str]()
        for number in range(campaign.rounds(60, 2000)):
            path = chance.choice(["", "/", "../"]) + "/".join(chance.choices(PIECES, k=chance.randint(1, 5)))
            quoted = "".join(f"%{byte:02X}" for byte in path.encode())
            answer = await me.send("PUT", f"{AT}/{id_}/files/{quoted}", json={"content": str(number)})
            assert answer.status_code in (200, 400, 403, 404, 409), (path, answer.text)
            if answer.status_code == 200:
                found = answer.json()["data"]["path"]
                assert found == normalised(found)
                kept[found] = str(number)
            else:
                assert answer.status_code == 409 or _is_refused(path), (path, answer.text)
        archive = zipfile.ZipFile(io.BytesIO((await me.send("GET", f"{AT}/{id_}/download")).content))
        assert {name: archive.read(name).decode() for name in archive.namelist()} == kept
        archive.extractall(tmp_path / "inside")  # that this is safe is what is tested
        out = {
            str(each.relative_to(tmp_path / "inside")) for each in (tmp_path / "inside").rglob("*") if each.is_file()
        }
        assert out == {*kept} and [each.name for each in tmp_path.iterdir()] == ["inside"]


def _is_refused(path: str) -> bool:
    try:
        return not normalised(path)
    except ApiError:
        return True


async def test_sixteen_writers_in_two_processes_do_not_pass_the_quota(stack: Environment, campaign: Campaign):
    quota = 1000
    async with connected(**stack.app_settings):
        for _ in range(campaign.rounds(1, 10)):
            store, full = FileStore("campaign", str(uuid.uuid4()), quota), 0
            given = [store.owner, store.place, str(quota)]
            writers = [
                await asyncio.create_subprocess_exec(
                    sys.executable, "-c", _WRITERS, *given, str(campaign.chance.random()), cwd=ROOT,
                    env={**os.environ, **stack.app_settings}, stdout=asyncio.subprocess.PIPE,
                )
                for _ in range(2)
            ]  # fmt: skip
            for writer in writers:
                out, _ = await writer.communicate()
                assert writer.returncode == 0
                full += out.count(b"full")
            usage, rows = await store.usage(), await store.list()
            assert (usage.bytes, usage.count) == (sum(row.size for row in rows), len(rows))
            assert usage.bytes <= quota and full > 0
            for row in rows:
                assert len(await store.content(row)) == row.size


async def test_twenty_workspaces_at_once_see_their_own_files_only(stack: Environment, campaign: Campaign):
    async with httpx.AsyncClient(base_url=stack.url, timeout=60, trust_env=False) as http:
        users = [OwnPilot(http) for _ in range(4)]
        names = [(users[number % 4], f"s{number // 4}") for number in range(20)]
        paths = [f"a/{number}.txt" for number in range(campaign.rounds(4, 40))]

        async def work(me: OwnPilot, name: str) -> None:
            await me.post(AT, sessionId=name)
            for path in paths:
                await me.data("PUT", f"{AT}/{name}/files/{path}", json={"content": f"{me.user} {name} {path}"})
            await me.data("DELETE", f"{AT}/{name}/files/{paths[0]}")

        await asyncio.gather(*(work(*each) for each in names))

        async def look(me: OwnPilot, name: str) -> None:
            content = (await me.send("GET", f"{AT}/{name}/download")).content
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                found = {each: archive.read(each).decode() for each in archive.namelist()}
            assert found == {path: f"{me.user} {name} {path}" for path in paths[1:]}

        await asyncio.gather(*(look(*each) for each in names))


async def test_a_zip_of_a_hundred_megabytes_is_not_held_in_memory(stack: Environment, campaign: Campaign):
    count = campaign.rounds(3, 20)
    async with (
        connected(**stack.app_settings),
        httpx.AsyncClient(base_url=stack.url, timeout=300, trust_env=False) as http,
    ):
        me = OwnPilot(http)
        workspace = (await me.post(AT))["id"]
        place = (await _record(me, workspace)).files
        for number in range(count):
            await place.write(f"{number}", os.urandom(5 * 1024 * 1024))
        assert stack.host and stack.host.process
        pid, size = stack.host.process.pid, 0
        before, most = _resident(pid), 0
        async with http.stream("GET", f"/ownpilot/api/v1{AT}/{workspace}/download?userId={me.user}") as answer:
            async for part in answer.aiter_bytes():
                size += len(part)
                most = max(most, _resident(pid))
        assert size > count * 5 * 1024 * 1024
        assert most - before < 64 * 1024 * 1024, (most - before) / 2**20


async def _record(me: OwnPilot, workspace: str) -> Any:
    from functions.ownpilot.core.file_workspace_store import workspace_of

    return await workspace_of(me.user, workspace)


def _resident(pid: int) -> int:
    """Bytes that a process holds in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
