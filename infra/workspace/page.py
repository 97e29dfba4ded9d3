"""A small editor in the browser, where code-server is not installed: `python3 page.py`, until it is ended.

A form asks for the password (the variable PASSWORD). Then it lists the folders of WORKSPACE_DIR, and opens and saves
text files there, and nowhere else. It listens on port 8080, of LOCAL_ADDRESS if that is set.
"""

import hmac
import html
import os
import secrets
import threading
import time
import urllib.parse
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT = 8080
ROOT = Path(os.environ.get("WORKSPACE_DIR", "/workspace")).resolve()
PASSWORD = os.environ.get("PASSWORD", "")
SESSION = secrets.token_urlsafe(32)
"""The value of the cookie of everyone who has given the password since the start."""
LARGEST = 2 * 1024 * 1024  # bytes of a file that can be opened or saved
PAUSE, GUARD = 1.0, threading.Lock()  # seconds until the answer to a wrong password; one is answered at a time
ANY = "surrogateescape"  # how texts keep the bytes of a name that is not UTF-8
PASSWORD_FIELD = '<input type="password" name="password" autofocus required>'
POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width">
<style>body{{font:16px system-ui;margin:2rem auto;max-width:60rem;padding:0 1rem;color-scheme:light dark}}
textarea{{width:100%;height:70vh;font:14px monospace;tab-size:4}}li{{margin:.2rem 0}}</style>
<h1>{title}</h1>{body}</html>"""


class NotPossible(Exception):
    """A request that cannot be fulfilled: HTTP status, and the reason for the reader."""

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status, self.reason = status, reason


def inside(name: str) -> Path:
    """The path of a file or folder of the workspace, after all links. Raises NotPossible for one outside of it."""
    try:
        path = (ROOT / name.lstrip("/")).resolve()
    except (RuntimeError, ValueError):  # a loop of links, a null
        raise NotPossible(404, "There is no such file.") from None
    if path != ROOT and ROOT not in path.parents:
        raise NotPossible(404, "There is no such file.")
    return path


def address(path: Path) -> str:
    return "/?" + urllib.parse.urlencode({"path": "" if path == ROOT else str(path.relative_to(ROOT))}, errors=ANY)


def link(path: Path, text: str) -> str:
    return f'<a href="{html.escape(address(path))}">{html.escape(text)}</a>'


def form(action: str, path: Path, field: str, button: str) -> str:
    name = urllib.parse.quote(str(path.relative_to(ROOT)), errors=ANY)  # a page can hold only text that is UTF-8
    hidden = f'<input type="hidden" name="path" value="{name}">'
    return f'<form method="post" action="{action}">{hidden}{field} <button>{button}</button></form>'


def folder_page(folder: Path) -> str:
    entries = sorted(folder.iterdir(), key=lambda one: (not one.is_dir(), one.name))
    shown = [f"<li>{link(one, one.name + '/' * one.is_dir())}</li>" for one in entries]
    return f"<ul>{''.join(shown)}</ul>" + form("/new", folder, '<input name="name" required>', "New file")


def file_page(file: Path) -> str:
    if not file.is_file():
        raise NotPossible(404, "There is no such file.")
    if file.stat().st_size > LARGEST:
        raise NotPossible(413, "The file is too large for this page.")
    try:
        text = file.read_bytes().decode()
    except UnicodeDecodeError:
        raise NotPossible(415, "The file is not text.") from None
    # A browser drops a newline that follows the tag.
    area = f'<textarea name="text" spellcheck="false">\n{html.escape(text)}</textarea>'
    return form("/save", file, area, "Save")


def save(file: Path, text: str) -> None:
    """Write a file as a whole; browsers send the ends of its lines as CR LF."""
    partial = file.with_name(f".{secrets.token_hex(8)}")
    try:
        partial.write_bytes(text.replace("\r\n", "\n").encode())
        if file.exists():
            partial.chmod(file.stat().st_mode & 0o7777)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def create(folder: Path, name: str) -> Path:
    """Create an empty file, with the folders that its name has; returns its path. Raises NotPossible."""
    file = inside(f"{folder.relative_to(ROOT)}/{name}")
    if not name.strip() or file == ROOT:
        raise NotPossible(400, "This is no name of a file.")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return file


class PageRequest(BaseHTTPRequestHandler):
    """Answers the requests of browsers."""

    timeout = 60  # seconds without a byte

    def do_GET(self) -> None:
        self.answer(self.show)

    def do_POST(self) -> None:
        self.answer(self.change)

    def answer(self, work: Callable[[], None]) -> None:
        try:
            work()
        except NotPossible as refused:
            self.page(refused.status, "Not possible", f"<p>{html.escape(refused.reason)}</p>{link(ROOT, 'Back')}")
        except OSError as error:  # such as a folder where a file is meant, or a full disk
            self.page(409, "Not possible", f"<p>{html.escape(error.strerror or 'It failed.')}</p>{link(ROOT, 'Back')}")

    def show(self) -> None:
        where, _, query = self.path.partition("?")
        if where != "/":
            raise NotPossible(404, "There is no such page.")
        if not self.known():
            self.page(200, "Workspace", form("/login", ROOT, PASSWORD_FIELD, "Open"))
            return
        path = inside(urllib.parse.parse_qs(query, errors=ANY).get("path", [""])[0])
        body = folder_page(path) if path.is_dir() else file_page(path)
        up = "" if path == ROOT else f"<p>{link(path.parent, 'Up')}</p>"
        self.page(200, path.name, up + body)

    def change(self) -> None:
        fields, origin = self.fields(), self.headers.get("Origin")
        path = urllib.parse.unquote(fields.get("path", ""), errors=ANY)
        if origin is not None and origin.partition("://")[2] != self.headers.get("Host"):
            raise NotPossible(403, "Another site has sent this.")
        if self.path == "/login":
            if not PASSWORD or not hmac.compare_digest(fields.get("password", "").encode(), PASSWORD.encode()):
                with GUARD:
                    time.sleep(PAUSE)
                raise NotPossible(401, "The password is wrong.")
            self.redirect("/", f"session={SESSION}; Path=/; HttpOnly; Secure; SameSite=Strict")
        elif not self.known():
            raise NotPossible(401, "Log in first.")
        elif self.path == "/save":
            save(file := inside(path), fields.get("text", ""))
            self.redirect(address(file))
        elif self.path == "/new":
            self.redirect(address(create(inside(path), fields.get("name", ""))))
        else:
            raise NotPossible(404, "There is no such page.")

    def fields(self) -> dict[str, str]:
        """The fields of the form that was sent. Raises NotPossible."""
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > 3 * LARGEST:  # a form spells many characters as three
            raise NotPossible(413, "The text is too large for this page.")
        sent = self.rfile.read(int(length))
        try:
            if len(sent) == int(length):  # else the connection broke off: a part of a text must not replace the file
                return dict(urllib.parse.parse_qsl(sent.decode(), True, errors="strict", max_num_fields=9))
        except ValueError:
            pass
        raise NotPossible(400, "This is no form.")

    def known(self) -> bool:
        """Whether the request has the cookie of someone who has given the password."""
        cookies = [one.strip().encode() for one in self.headers.get("Cookie", "").split(";")]
        return any(hmac.compare_digest(cookie, f"session={SESSION}".encode()) for cookie in cookies)

    def redirect(self, where: str, cookie: str = "") -> None:
        self.send_response(303)
        self.send_header("Location", where)
        if cookie:
            self.send_header("Set-Cookie", cookie)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def page(self, status: int, title: str, body: str) -> None:
        content = PAGE.format(title=html.escape(title), body=body).encode(errors="replace")
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged: the address of a page names files."""


if __name__ == "__main__":
    ThreadingHTTPServer((os.environ.get("LOCAL_ADDRESS", ""), PORT), PageRequest).serve_forever()
