"""Mail servers: SMTP takes messages, and IMAP shows those that came for the one account there is."""

import asyncio
import base64
import binascii
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes

from infra.emulator.providers import KEY

USER = "me@stand-in.example"
"""The user of the account; `KEY` is the password."""

MAX_LINE = 16 * 1024 * 1024

REFUSED = "nobody"
"""Recipients with this name are refused."""


@dataclass
class StoredMail:
    """A message as IMAP shows it."""

    uid: int
    data: bytes
    folder: str = "INBOX"
    flags: set[str] = field(default_factory=set[str])
    received: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass
class SentMail:
    """A message that SMTP has taken, with its envelope."""

    sender: str
    recipients: list[str]
    data: bytes


@dataclass
class MailServers:
    """Both servers, on free loopback ports, and what they hold.

    `behaviour`: `silent` answers nothing, `garbage` no known protocol, `flood` a message that has no end, and `deaf`
    takes a message and says nothing about it. With `tls`, connections can be upgraded, and with `tls_first` they begin
    with it.
    """

    tls: ssl.SSLContext | None = None
    tls_first: bool = False
    behaviour: str = ""
    smtp_port: int = 0
    imap_port: int = 0
    sent: list[SentMail] = field(default_factory=list[SentMail])
    stored: list[StoredMail] = field(default_factory=list[StoredMail])
    commands: list[str] = field(default_factory=list[str])

    def keep(self, data: bytes, **members: object) -> StoredMail:
        """Put a message into the account."""
        uid = max((each.uid for each in self.stored), default=0) + 1
        self.stored.append(StoredMail(uid, data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")))
        for name, value in members.items():
            setattr(self.stored[-1], name, value)
        return self.stored[-1]


class MailConnection:
    """One connection; the streams change when it is upgraded to TLS."""

    def __init__(self, servers: MailServers, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.servers, self.reader, self.writer = servers, reader, writer

    async def say(self, text: str | bytes) -> None:
        """Send a line."""
        self.writer.write((text if isinstance(text, bytes) else text.encode()) + b"\r\n")
        await self.writer.drain()

    async def hear(self) -> str:
        """Return the next line; EOFError at the end."""
        line = await self.reader.readline()
        if not line:
            raise EOFError
        return line.decode("utf-8", "replace").rstrip("\r\n")

    async def upgrade(self) -> None:
        """Begin TLS."""
        assert self.servers.tls
        await self.writer.start_tls(self.servers.tls)


async def smtp(connection: MailConnection) -> None:
    """Serve SMTP."""
    servers = connection.servers
    await connection.say("220 stand-in ESMTP")
    is_known, sender, recipients = False, "", list[str]()
    while True:
        line = await connection.hear()
        servers.commands.append(line)
        verb, _, rest = line.partition(" ")
        match verb.upper():
            case "EHLO" | "HELO":
                upgrade = "250-STARTTLS\r\n" if servers.tls and not servers.tls_first else ""
                await connection.say(f"250-stand-in\r\n{upgrade}250 AUTH PLAIN LOGIN")
            case "STARTTLS" if servers.tls:
                await connection.say("220 go ahead")
                await connection.upgrade()
            case "AUTH":
                is_known = await _smtp_login(connection, rest)
                await connection.say("235 accepted" if is_known else "535 authentication failed")
            case "MAIL" if not is_known:
                await connection.say("530 authentication required")
            case "MAIL":
                sender, recipients = _address(rest), []
                await connection.say("250 ok")
            case "RCPT" if _address(rest).startswith(REFUSED):
                await connection.say("550 no such user")
            case "RCPT":
                recipients.append(_address(rest))
                await connection.say("250 ok")
            case "DATA" if recipients:
                await connection.say("354 end with .")
                data = await _smtp_data(connection)
                if servers.behaviour == "deaf":
                    await connection.reader.read()
                    return
                servers.sent.append(SentMail(sender, recipients, data))
                if USER in recipients:
                    servers.keep(data)
                await connection.say("250 taken")
            case "RSET" | "NOOP":
                await connection.say("250 ok")
            case "QUIT":
                await connection.say("221 bye")
                return
            case _:
                await connection.say("502 not implemented by the emulator")


async def _smtp_login(connection: MailConnection, rest: str) -> bool:
    method, _, given = rest.partition(" ")
    if method.upper() == "LOGIN":
        answers: list[str] = [given] if given else []
        for question in ("Username:", "Password:")[len(answers) :]:
            await connection.say(f"334 {base64.b64encode(question.encode()).decode()}")
            answers.append(await connection.hear())
        return [_decoded(each) for each in answers] == [USER, KEY]
    if not given:
        await connection.say("334 ")
        given = await connection.hear()
    return _decoded(given).split("\0")[1:] == [USER, KEY]


def _decoded(text: str) -> str:
    with contextlib.suppress(binascii.Error, UnicodeDecodeError):
        return base64.b64decode(text).decode()
    return ""


async def _smtp_data(connection: MailConnection) -> bytes:
    lines: list[bytes] = []
    while (line := await connection.reader.readline()) not in (b".\r\n", b""):
        lines.append(line.removeprefix(b"."))
    return b"".join(lines)


def _address(text: str) -> str:
    found = re.search(r"<([^>]*)>", text)
    return found[1] if found else ""


async def imap(connection: MailConnection) -> None:
    """Serve IMAP4rev1: the commands that read, mark and delete messages."""
    servers, folder, is_known = connection.servers, "INBOX", False
    await connection.say("* OK stand-in IMAP4rev1")
    while True:
        line = await connection.hear()
        servers.commands.append(line)
        tag, _, command = line.partition(" ")
        verb, _, rest = command.partition(" ")
        verb = verb.upper()
        if verb == "UID":
            verb, _, rest = rest.partition(" ")
            verb = f"UID {verb.upper()}"
        here = [each for each in servers.stored if each.folder == folder]
        match verb:
            case "CAPABILITY":
                upgrade = " STARTTLS" if servers.tls and not servers.tls_first else ""
                await connection.say(f"* CAPABILITY IMAP4rev1 UIDPLUS AUTH=PLAIN{upgrade}")
            case "STARTTLS" if servers.tls:
                await connection.say(f"{tag} OK begin")
                await connection.upgrade()
                continue
            case "LOGIN" | "AUTHENTICATE":
                is_known = await _imap_login(connection, verb, rest)
                await connection.say(f"{tag} OK welcome" if is_known else f"{tag} NO [AUTHENTICATIONFAILED] wrong")
                continue
            case "LOGOUT":
                await connection.say(f"* BYE until then\r\n{tag} OK done")
                return
            case "NOOP":
                pass
            case _ if not is_known:
                await connection.say(f"{tag} NO log in first")
                continue
            case "SELECT" | "EXAMINE":
                wanted = _strings(rest)[0]
                if wanted not in ("INBOX", *(each.folder for each in servers.stored)):
                    await connection.say(f"{tag} NO there is no such folder")
                    continue
                folder = wanted
                await connection.say(f"* {sum(each.folder == folder for each in servers.stored)} EXISTS")
                await connection.say("* OK [UIDVALIDITY 1]")
            case "UID SEARCH":
                found = " ".join(str(each.uid) for each in here if _matches(each, rest))
                await connection.say(f"* SEARCH {found}".rstrip())
            case "UID FETCH":
                await _fetch(connection, here, rest)
            case "UID STORE":
                uids, _, flags = rest.partition(" ")
                for each in here:
                    if str(each.uid) in uids.split(","):
                        each.flags |= set(re.findall(r"\\\w+", flags))
            case "EXPUNGE" | "UID EXPUNGE":
                uids = rest.split(",") if verb.startswith("UID") else [str(each.uid) for each in here]
                gone = [each for each in here if r"\Deleted" in each.flags and str(each.uid) in uids]
                servers.stored[:] = [each for each in servers.stored if each not in gone]
            case _:
                await connection.say(f"{tag} BAD {verb} is not implemented by the emulator")
                continue
        await connection.say(f"{tag} OK done")


async def _imap_login(connection: MailConnection, verb: str, rest: str) -> bool:
    if verb == "LOGIN":
        return _strings(rest) == [USER, KEY]
    await connection.say("+ ")
    return _decoded(await connection.hear()).split("\0")[1:] == [USER, KEY]


def _strings(text: str) -> list[str]:
    """Return the words of a command, quoted ones too."""
    found = re.findall(r'"((?:[^"\\]|\\.)*)"|([^\s()]+)', text)
    return [re.sub(r"\\(.)", r"\1", quoted) or plain for quoted, plain in found]


def _matches(stored: StoredMail, criteria: str) -> bool:
    """Whether a message has all that is looked for: `ALL`, `TEXT`, `FROM` and `SINCE`."""
    words = iter(_strings(criteria))
    parsed = message_from_bytes(stored.data)
    text = f"{parsed['Subject']}\n{parsed.as_string()}".lower()
    for word in words:
        match word.upper():
            case "ALL":
                continue
            case "CHARSET":
                next(words)
            case "TEXT" if next(words).lower() not in text:
                return False
            case "FROM" if next(words).lower() not in str(parsed["From"]).lower():
                return False
            case "SINCE" if stored.received.date() < datetime.strptime(next(words), "%d-%b-%Y").date():
                return False
            case _:
                continue
    return True


async def _fetch(connection: MailConnection, here: list[StoredMail], rest: str) -> None:
    uids, _, parts = rest.partition(" ")
    for place, each in enumerate(here, 1):
        if str(each.uid) not in uids.split(","):
            continue
        is_header = "[HEADER]" in parts
        data = each.data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if is_header else each.data
        if ".PEEK" not in parts:
            each.flags.add(r"\Seen")
        name = "BODY[HEADER]" if is_header else "BODY[]"
        size = 10**10 if connection.servers.behaviour == "flood" else len(data)
        about = f"UID {each.uid} FLAGS ({' '.join(sorted(each.flags))}) RFC822.SIZE {len(each.data)}"
        await connection.say(f"* {place} FETCH ({about} {name} {{{size}}}")
        while connection.servers.behaviour == "flood":
            await connection.say(b"x" * 65_536)
        await connection.say(data + b")")


@asynccontextmanager
async def serving_mail(tls: ssl.SSLContext | None = None, *, tls_first: bool = False) -> AsyncIterator[MailServers]:
    """Serve SMTP and IMAP on free loopback ports."""
    servers = MailServers(tls, tls_first)

    def accepting(talk: Callable[[MailConnection], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = MailConnection(servers, reader, writer)
            with contextlib.suppress(EOFError, OSError):
                if servers.behaviour == "silent":
                    await reader.read()
                elif servers.behaviour == "garbage":
                    await connection.say(b"\x00\xff SSH-2.0-what")
                    await reader.read()
                else:
                    await talk(connection)
            writer.close()

        return accept

    first = tls if tls_first else None
    async with contextlib.AsyncExitStack() as stack:
        for name, talk in (("smtp_port", smtp), ("imap_port", imap)):
            server = await asyncio.start_server(accepting(talk), "127.0.0.1", 0, ssl=first, limit=MAX_LINE)
            setattr(servers, name, server.sockets[0].getsockname()[1])
            stack.callback(server.close)
        yield servers
