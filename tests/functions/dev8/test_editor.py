"""From a creation to an open editor over TLS, and what its supervisor reports."""

import asyncio
import ssl
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from functions.dev8.store import environments
from tests.support.dev8 import Dev8
from tests.support.waiting import eventually

pytestmark = pytest.mark.usefixtures("app")

PASSWORD = 'it\'s "mine" alone'


async def logged_in(url: str) -> httpx.AsyncClient:
    """A browser that has given the password, as soon as the editor listens."""
    browser = httpx.AsyncClient(base_url=url, verify=False, trust_env=False, timeout=30)

    async def opened() -> int:
        try:
            return (await browser.post("/login", data={"password": PASSWORD})).status_code
        except httpx.TransportError:
            return 0

    await eventually(opened, until=lambda status: status == 303)
    return browser


async def test_files_are_written_through_the_editor_and_read_again_after_a_stop_and_a_start(dev8: Dev8):
    made = await dev8.running(codeServerPassword=PASSWORD)
    browser = await logged_in(made["vsCodeUrl"])
    await browser.post("/new", data={"path": "", "name": "notes.txt"})
    assert (await browser.post("/save", data={"path": "notes.txt", "text": "still here"})).status_code == 303
    await browser.aclose()

    await dev8.order(made["id"], "stop")
    await dev8.reach(made["id"], "STOPPED")
    await dev8.order(made["id"], "start")
    browser = await logged_in((await dev8.reach(made["id"], "RUNNING"))["vsCodeUrl"])
    assert "still here" in (await browser.get("/", params={"path": "notes.txt"})).text
    wrong = await browser.post("/login", data={"password": "another"})
    assert wrong.status_code == 401
    await browser.aclose()
    await dev8.drop(made["id"])


async def test_a_connection_to_the_editor_is_reported_and_so_is_its_end(dev8: Dev8):
    made = await dev8.running(codeServerPassword=PASSWORD)
    await (await logged_in(made["vsCodeUrl"])).aclose()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    url = urlsplit(made["vsCodeUrl"])
    _, writer = await asyncio.open_connection(url.hostname, url.port, ssl=context)
    writer.write(b"POST /login HTTP/1.1\r\nHost: editor\r\nContent-Length: 100\r\n\r\n")  # and no body yet
    await writer.drain()

    async def stored() -> Any:
        return await environments.get(made["id"])

    used = await eventually(stored, until=lambda found: found.reported_at and not found.idle_since)
    writer.close()
    idle = await eventually(stored, until=lambda found: found.idle_since)
    assert idle.last_accessed_at > used.last_accessed_at > used.created_at
    await dev8.drop(made["id"])
