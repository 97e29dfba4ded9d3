"""The page that takes the place of code-server."""

import os
import re
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.infra.workspace.harness import an_address, ended, needs_loopback_addresses, program, text_of
from tests.support.waiting import eventually

pytestmark = needs_loopback_addresses
PASSWORD = 'with "quotes", blanks & größer'


class Page:
    """A running page over the workspace in `root`; `http` has no cookie, `user` that of the password."""

    def __init__(self, address: str, root: Path):
        self.address, self.root = address, root
        self.http = httpx.AsyncClient(base_url=f"http://{address}:8080", trust_env=False, timeout=30)
        self.user = httpx.AsyncClient(base_url=f"http://{address}:8080", trust_env=False, timeout=30)

    async def answers(self) -> bool:
        try:
            return (await self.http.get("/")).status_code == 200
        except httpx.TransportError:
            return False

    async def open(self, path: str) -> httpx.Response:
        return await self.user.get("/", params={"path": path})

    async def save(self, path: str, text: str) -> httpx.Response:
        return await self.user.post("/save", data={"path": path, "text": text})


@pytest.fixture(scope="module")
async def page(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Page]:
    root = tmp_path_factory.mktemp("page") / "workspace"
    root.mkdir()
    address = an_address()
    process = await program("page.py", WORKSPACE_DIR=str(root), PASSWORD=PASSWORD, LOCAL_ADDRESS=address)
    page = Page(address, root)
    try:
        await eventually(page.answers)
        login = await page.http.post("/login", data={"password": PASSWORD})
        page.user.headers["Cookie"] = login.headers["Set-Cookie"].partition(";")[0]
        yield page
    finally:
        await page.http.aclose()
        await page.user.aclose()
        print(await ended(process))


class TestPassword:
    async def test_without_it_there_is_only_the_form(self, page: Page):
        (page.root / "named").write_text("content")
        for path in ("/", "/?path=named", "/?path=missing"):
            answer = await page.http.get(path)
            assert answer.status_code == 200 and 'type="password"' in answer.text and "named" not in answer.text
        for path in ("/save", "/new"):
            assert (await page.http.post(path, data={"path": "named", "name": "x", "text": "y"})).status_code == 401
        assert text_of(page.root / "named") == "content" and not (page.root / "x").exists()

    async def test_a_wrong_one_is_refused_after_a_pause(self, page: Page):
        began = time.monotonic()
        answer = await page.http.post("/login", data={"password": "guess"})
        assert answer.status_code == 401 and "Set-Cookie" not in answer.headers
        assert time.monotonic() - began > 0.9

    async def test_the_cookie_stays_with_this_page_and_tls(self, page: Page):
        answer = await page.http.post("/login", data={"password": PASSWORD})
        assert (answer.status_code, answer.headers["Location"]) == (303, "/")
        assert answer.headers["Set-Cookie"].endswith("; Path=/; HttpOnly; Secure; SameSite=Strict")
        page.http.cookies.clear()

    async def test_another_cookie_is_none(self, page: Page):
        answer = await page.http.get("/", headers={"Cookie": "session=guess; other=1"})
        assert 'type="password"' in answer.text


class TestFiles:
    async def test_one_is_created_written_and_read_again(self, page: Page):
        created = await page.user.post("/new", data={"path": ".", "name": "deep/er/file.py"})
        assert (created.status_code, created.headers["Location"]) == (303, "/?path=deep%2Fer%2Ffile.py")
        text = "\r\n\tif a < b and 'größer':\r\n</textarea>&amp;\r\n"  # as a browser sends it
        assert (await page.save("deep/er/file.py", text)).status_code == 303
        assert text_of(page.root / "deep/er/file.py") == text.replace("\r\n", "\n")
        shown = await page.open("deep/er/file.py")
        # A browser drops the newline after the tag.
        area = re.search(r"<textarea[^>]*>\n(.*)</textarea>", shown.text, re.DOTALL)
        assert area and area[1] == "\n\tif a &lt; b and &#x27;größer&#x27;:\n&lt;/textarea&gt;&amp;amp;\n"
        assert (await page.save("deep/er/file.py", "")).status_code == 303
        assert text_of(page.root / "deep/er/file.py") == ""

    async def test_folders_are_listed_first_and_names_are_escaped(self, page: Page):
        folder = page.root / "listed"
        (folder / "z").mkdir(parents=True)
        (folder / "<b>.txt").touch()
        shown = (await page.open("listed")).text
        assert re.findall(r"<li><a href=\"([^\"]*)\">([^<]*)</a></li>", shown) == [
            ("/?path=listed%2Fz", "z/"), ("/?path=listed%2F%3Cb%3E.txt", "&lt;b&gt;.txt"),
        ]  # fmt: skip
        assert '<a href="/?path=">Up</a>' in shown

    async def test_names_that_are_not_utf8_are_opened_and_saved_like_others(self, page: Page):
        folder = page.root / os.fsdecode(b"old\xff%41")
        folder.mkdir()
        (folder / os.fsdecode(b"na\xefve")).write_text("before")
        assert "/?path=old%FF%2541" in (await page.user.get("/")).text
        [link] = re.findall(r"<li><a href=\"([^\"]*)\"", (await page.user.get("/?path=old%FF%2541")).text)
        [path] = re.findall(r'name="path" value="([^"]*)"', (await page.user.get(link)).text)
        assert (await page.save(path, "after")).headers["Location"] == link
        assert text_of(folder / os.fsdecode(b"na\xefve")) == "after"

    async def test_the_mode_of_a_file_stays(self, page: Page):
        (page.root / "script").touch()
        (page.root / "script").chmod(0o755)
        await page.save("script", "#!/bin/sh\n")
        assert (page.root / "script").stat().st_mode & 0o777 == 0o755

    @pytest.mark.parametrize("path", ["../outside", "/../outside", "a/../../outside", "link", "linked/outside", "\0"])
    async def test_nothing_outside_of_the_workspace_is_reached(self, page: Page, path: str):
        outside = page.root.parent / "outside"
        outside.write_text("secret")
        for name, target in (("link", outside), ("linked", page.root.parent)):
            (page.root / name).unlink(missing_ok=True)
            (page.root / name).symlink_to(target)
        assert (await page.open(path)).status_code == 404
        assert (await page.save(path, "changed")).status_code == 404
        assert (await page.user.post("/new", data={"path": ".", "name": path})).status_code == 404
        assert outside.read_text() == "secret"

    async def test_an_absolute_path_is_one_of_the_workspace(self, page: Page):
        await page.save("/etc-passwd", "mine")
        assert text_of(page.root / "etc-passwd") == "mine"

    async def test_what_cannot_be_edited_says_why(self, page: Page):
        (page.root / "binary").write_bytes(b"\xff\x00")
        (page.root / "large").write_bytes(b"x" * (2 * 1024 * 1024 + 1))
        (page.root / "folder").mkdir()
        assert "not text" in (await page.open("binary")).text
        assert "too large" in (await page.open("large")).text
        assert (await page.open("missing")).status_code == 404
        assert (await page.open("x" * 5000)).status_code == 409
        assert (await page.save("folder", "x")).status_code == 409
        assert (await page.user.post("/new", data={"path": ".", "name": " "})).status_code == 400
        assert not [one for one in page.root.iterdir() if one.name.startswith(".")]  # no partial file is left


class TestRequests:
    async def test_a_form_of_another_site_is_refused(self, page: Page):
        (page.root / "mine").write_text("before")
        for origin in ("https://evil.example", "null", f"http://{page.address}:9"):
            answer = await page.user.post("/save", data={"path": "mine", "text": "x"}, headers={"Origin": origin})
            assert answer.status_code == 403
        assert text_of(page.root / "mine") == "before"
        own = {"Origin": f"http://{page.address}:8080"}
        assert (await page.user.post("/save", data={"path": "mine", "text": "x"}, headers=own)).status_code == 303

    async def test_a_part_of_a_text_does_not_replace_the_file(self, page: Page):
        (page.root / "whole").write_text("before")
        head = (
            f"POST /save HTTP/1.1\r\nHost: {page.address}:8080\r\nCookie: {page.user.headers['Cookie']}\r\n"
            "Content-Length: 100\r\n\r\npath=whole&text=par"
        )
        with socket.create_connection((page.address, 8080)) as one:
            one.sendall(head.encode())
            one.shutdown(socket.SHUT_WR)
            assert one.makefile("rb").readline().split()[1] == b"400"
        assert text_of(page.root / "whole") == "before"

    @pytest.mark.parametrize("length", ["-1", "x", "7000000"])
    async def test_a_length_that_is_none_or_too_large_is_refused(self, page: Page, length: str):
        with socket.create_connection((page.address, 8080)) as one:
            one.sendall(f"POST /save HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
            assert one.makefile("rb").readline().split()[1] == b"413"

    async def test_other_paths_are_404(self, page: Page):
        assert (await page.user.get("/other")).status_code == 404
        assert (await page.user.post("/other", data={"a": "b"})).status_code == 404
