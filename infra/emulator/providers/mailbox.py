"""What the mail servers hold, and one connection with one of them."""

import asyncio
import base64
import binascii
import contextlib
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime

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


def decoded(text: str) -> str:
    """Return the text that is in Base64, an empty one when there is none."""
    with contextlib.suppress(binascii.Error, UnicodeDecodeError):
        return base64.b64decode(text).decode()
    return ""
