"""The mail servers, judged by the clients of the standard library."""

import asyncio
import imaplib
import smtplib
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

import pytest

from infra.emulator.providers import KEY
from infra.emulator.providers.mail import serving_mail
from infra.emulator.providers.mailbox import REFUSED, USER, MailServers


async def with_smtp(servers: MailServers, work: Callable[[smtplib.SMTP], Any], password: str = KEY) -> Any:
    def run() -> Any:
        with smtplib.SMTP("127.0.0.1", servers.smtp_port, timeout=20) as client:
            client.login(USER, password)
            return work(client)

    return await asyncio.to_thread(run)


async def with_imap(servers: MailServers, work: Callable[[imaplib.IMAP4], Any], password: str = KEY) -> Any:
    def run() -> Any:
        with imaplib.IMAP4("127.0.0.1", servers.imap_port, timeout=20) as client:
            client.login(USER, password)
            client.select("INBOX")
            return work(client)

    return await asyncio.to_thread(run)


def message(to: str, subject: str = "Hello") -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "Ann <ann@stand-in.example>", to, subject
    made.set_content("A text\n.with a dot\n")
    return made


async def test_what_smtp_takes_imap_shows():
    async with serving_mail() as servers:
        given = message(f"{USER}, {REFUSED}@stand-in.example")
        refused = await with_smtp(servers, lambda it: it.send_message(given))
        assert [*refused] == [f"{REFUSED}@stand-in.example"]
        [sent] = servers.sent
        assert (sent.sender, sent.recipients) == ("ann@stand-in.example", [USER])
        assert b"\r\n.with a dot\r\n" in sent.data

        def read(client: imaplib.IMAP4) -> tuple[Any, ...]:
            assert client.uid("SEARCH", "ALL")[1] == [b"1"]
            assert client.uid("SEARCH", "FROM", '"ann"', "TEXT", '"hello"')[1] == [b"1"]
            assert client.uid("SEARCH", "TEXT", '"absent"')[1] == [b""]
            assert client.uid("SEARCH", "SINCE", "01-Jan-2100")[1] == [b""]
            [(about, data), _] = client.uid("FETCH", "1", "(BODY.PEEK[] UID FLAGS RFC822.SIZE)")[1]
            assert b"UID 1 FLAGS ()" in about and data == sent.data
            [(_, headers), _] = client.uid("FETCH", "1", "(BODY[HEADER] FLAGS)")[1]
            assert b"A text" not in headers
            client.uid("STORE", "1", "+FLAGS", r"(\Deleted)")
            assert servers.stored[0].flags == {"\\Seen", "\\Deleted"}
            client.expunge()
            return client.uid("SEARCH", "ALL")

        assert (await with_imap(servers, read))[1] == [b""]


async def test_a_wrong_password_another_folder_and_unknown_commands_are_refused():
    async with serving_mail() as servers:
        with pytest.raises(smtplib.SMTPAuthenticationError):
            await with_smtp(servers, lambda it: it.noop(), "wrong")
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            await with_imap(servers, lambda it: it.noop(), "wrong")
        assert (await with_imap(servers, lambda it: it.select("Nothing")))[0] == "NO"
        assert (await with_smtp(servers, lambda it: it.docmd("VRFY", "x")))[0] == 502
        with pytest.raises(imaplib.IMAP4.error, match="not implemented"):
            await with_imap(servers, lambda it: it.create("x"))
