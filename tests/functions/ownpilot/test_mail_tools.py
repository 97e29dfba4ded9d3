"""The tools that send and read e-mail, against servers that do as they should and against others."""

import ssl
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from functions.ownpilot.core.tool_context import ToolContext
from functions.ownpilot.tools import imap, mail, mail_server, smtp
from functions.ownpilot.tools.use import use_tool
from infra.emulator.providers import KEY
from infra.emulator.providers.mail import serving_mail
from infra.emulator.providers.mailbox import REFUSED, USER, MailServers
from infra.local.environment import Environment
from tests.support.environments import connected
from tests.support.outside import Outside, failed, run
from tests.support.ownpilot import OwnPilot

LETTER = {"to": USER, "subject": "Hello", "body": "A text"}


async def trust(me: OwnPilot) -> None:
    """Let all tools be used: by default each e-mail needs the user's approval."""
    await me.data("PATCH", "/autonomy/config", json={"confirmationRequired": []})
    await me.post("/autonomy/level", level=4)


async def configure(me: OwnPilot, servers: MailServers, **members: Any) -> None:
    """Store both servers and the account."""
    account = {"host": "127.0.0.1", "user": USER, "password": KEY, "secure": False, **members}
    for service, port in (("smtp", servers.smtp_port), ("imap", servers.imap_port)):
        data = {"port": port} | account
        if service == "imap":
            data.pop("from_address", None)
        await me.post(f"/config-services/{service}/entries", data=data)


def letter(subject: str, sender: str = "Ann <ann@stand-in.example>", text: str = "A text") -> EmailMessage:
    made = EmailMessage(policy=policy.SMTP)
    made["From"], made["To"], made["Subject"] = sender, USER, subject
    made["Date"] = "Thu, 15 Jan 2026 10:00:00 +0000"
    made.set_content(text)
    return made


@pytest.fixture
async def reader(me: OwnPilot, world: Outside) -> OwnPilot:
    """A person with an empty account."""
    await trust(me)
    world.mail.stored.clear()
    world.mail.sent.clear()
    await configure(me, world.mail)
    return me


class TestSending:
    async def test_a_letter_is_sent_and_comes(self, reader: OwnPilot, world: Outside):
        done = await run(
            reader, "email_send", to=f"Änn <{USER}>; bob@stand-in.example", subject="Grüße", body="Zeile\n.Punkt",
            cc="carl@stand-in.example", bcc=f"dora@stand-in.example, {USER}",
        )  # fmt: skip
        recipients = [USER, *(f"{name}@stand-in.example" for name in ("bob", "carl", "dora"))]
        assert done["sent"] == recipients and "refused" not in done
        [sent] = world.mail.sent
        assert (sent.sender, sent.recipients) == (USER, recipients) and b"dora" not in sent.data
        message = message_from_bytes(sent.data, policy=policy.default)
        assert (message["Subject"], message["From"], message["Message-ID"]) == ("Grüße", USER, done["messageId"])
        assert "Änn" in message["To"] and message["Cc"] == "carl@stand-in.example" and message["Date"]
        assert message.get_content().replace("\r\n", "\n") == "Zeile\n.Punkt\n"
        listed = await run(reader, "email_read")
        assert [each["subject"] for each in listed["emails"]] == ["Grüße"]

    async def test_html_has_its_text_beside_it_and_texts_get_the_signature(self, me: OwnPilot, world: Outside):
        world.mail.sent.clear()
        await trust(me)
        await configure(me, world.mail, from_address="office@stand-in.example")
        await me.data("PUT", "/plugins/email-assistant/settings", json={"settings": {"signature": "Yours"}})
        await run(me, "email_send", **LETTER | {"body": "<p>One <b>two</b></p>", "html": True})
        await run(me, "email_send", **LETTER)
        html, text = (message_from_bytes(each.data, policy=policy.default) for each in world.mail.sent)
        assert [part.get_content_type() for part in html.walk()] == [
            "multipart/alternative", "text/plain", "text/html",
        ]  # fmt: skip
        plain = html.get_body(("plain",))
        assert plain and plain.get_content().strip() == "One two"
        assert text.get_content().replace("\r\n", "\n") == "A text\n\n-- \nYours\n"
        assert {each.sender for each in world.mail.sent} == {"office@stand-in.example"}

    async def test_refused_recipients_are_told(self, reader: OwnPilot, world: Outside):
        nobody = f"{REFUSED}@stand-in.example"
        done = await run(reader, "email_send", **LETTER | {"to": f"{USER}, {nobody}"})
        assert done["sent"] == [USER] and done["refused"] == {nobody: "550 no such user"}
        told = await failed(reader, "email_send", **LETTER | {"to": nobody})
        assert "refuses all recipients" in told and "550 no such user" in told
        assert len(world.mail.sent) == 1

    @pytest.mark.parametrize(
        ("members", "told"),
        [({"to": "nobody"}, "to:"), ({"to": ""}, "must be a recipient"),
         ({"to": "a@b.example\nBcc: c@d.example"}, "to:"),
         ({"cc": "x"}, "cc:"), ({"subject": "a\r\nBcc: x@y.example"}, "subject"), ({"subject": "x" * 501}, "subject"),
         *(({"subject": f"a{end}b"}, "subject") for end in "\x85\u2028\u2029"),
         ({"to": ",".join(f"a{n}@b.example" for n in range(51))}, "50 at most"), ({"bcc": "<>"}, "bcc:"),
         ({"to": "a@b.example, <script>@c.example"}, "to:")],
    )  # fmt: skip
    async def test_nothing_is_sent_that_is_not_a_letter(
        self, reader: OwnPilot, world: Outside, members: dict[str, Any], told: str
    ):
        assert told in await failed(reader, "email_send", **LETTER | members)
        assert world.mail.sent == []

    async def test_a_lost_answer_is_not_taken_for_a_failure(
        self, reader: OwnPilot, world: Outside, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(smtp, "_SILENCE", 0.5)
        world.mail.behaviour = "deaf"
        assert "not known whether the e-mail was sent" in await failed(reader, "email_send", **LETTER)


class TestReading:
    async def test_lists_are_the_newest_first_and_leave_letters_unread(self, reader: OwnPilot, world: Outside):
        for number in range(4):
            world.mail.keep(bytes(letter(f"Letter {number}")), flags={"\\Seen"} if number == 3 else set())
        world.mail.keep(bytes(letter("Elsewhere")), folder="Sent mail")
        listed = await run(reader, "email_read", limit=3)
        assert listed["total"] == 4
        assert [(each["uid"], each["subject"], each["read"]) for each in listed["emails"]] == [
            (4, "Letter 3", True), (3, "Letter 2", False), (2, "Letter 1", False),
        ]  # fmt: skip
        first = listed["emails"][0]
        assert (first["from"], first["to"], first["date"]) == (
            "ann@stand-in.example", [USER], "2026-01-15T10:00:00.000Z",
        )  # fmt: skip
        assert first["bytes"] > 100 and "\\Seen" not in world.mail.stored[2].flags
        elsewhere = await run(reader, "email_read", folder="Sent mail")
        assert [each["subject"] for each in elsewhere["emails"]] == ["Elsewhere"]
        assert "no folder 'Nothing'" in await failed(reader, "email_read", folder="Nothing")

    async def test_letters_are_found_by_text_sender_and_date(self, reader: OwnPilot, world: Outside):
        old = datetime.now(UTC) - timedelta(days=30)
        world.mail.keep(bytes(letter("Frogs", text="About “green” frogs")))
        world.mail.keep(bytes(letter("Toads", "Bob <bob@stand-in.example>")), received=old)

        async def found(**arguments: Any) -> list[str]:
            return [each["subject"] for each in (await run(reader, "email_search", **arguments))["emails"]]

        assert await found(query="") == ["Toads", "Frogs"]
        assert await found(query="frogs") == ["Frogs"]
        assert await found(query="", **{"from": "bob"}) == ["Toads"]
        assert await found(query="", since=(old + timedelta(days=5)).isoformat()) == ["Frogs"]
        assert await found(query="Kröten") == []
        assert await found(query='"quoted" \\') == []
        for wrong in ({"query": "a\r\nA1 DELETE INBOX"}, {"folder": "x\r\n"}, {"from": "\n"}):
            await failed(reader, "email_search", **{"query": "a", **wrong})
        assert not any("DELETE" in each for each in world.mail.commands)

    async def test_a_letter_is_read_with_the_names_of_what_is_attached(self, reader: OwnPilot, world: Outside):
        made = letter("With a picture", text="Look “here”")
        made.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="Bild für Ann.png")
        world.mail.keep(bytes(made))
        shown = await run(reader, "email_get_content", uid=1)
        assert shown["text"] == "Look “here”" and shown["subject"] == "With a picture"
        assert shown["attachments"] == [{"name": "Bild für Ann.png", "type": "image/png", "bytes": 4}]
        assert world.mail.stored[0].flags == set()
        html = EmailMessage(policy=policy.SMTP)
        html.set_content("<p>One &amp; two</p><script>x</script>", subtype="html")
        world.mail.keep(bytes(html))
        shown = await run(reader, "email_get_content", uid=2)
        assert (shown["text"], shown["date"], shown["from"]) == ("One & two", None, "")
        assert "no e-mail with the number 3" in await failed(reader, "email_get_content", uid=3)

    async def test_a_large_letter_is_not_read_and_a_long_one_is_cut(
        self, reader: OwnPilot, world: Outside, monkeypatch: pytest.MonkeyPatch
    ):
        world.mail.keep(bytes(letter("Long", text="word " * 20_000)))
        shown = await run(reader, "email_get_content", uid=1)
        assert len(shown["text"]) == 50_000 and shown["charactersLeftOut"] > 49_000
        monkeypatch.setattr(mail, "MAX_MESSAGE", 1000)
        assert "at most 1000 are read" in await failed(reader, "email_get_content", uid=1)

    @pytest.mark.parametrize(
        "data",
        [b"", b"\r\n\r\n", b"Subject: =?utf-9?q?=ff?=\r\n\r\n\xff\xfe", b"Date: never\r\nFrom: <<>>\r\n\r\nx",
         b"Content-Type: multipart/mixed; boundary=\"x\"\r\n\r\n--x\r\n--x",
         b"Content-Transfer-Encoding: base64\r\n\r\n!!!"],
    )  # fmt: skip
    async def test_a_malformed_letter_is_shown_as_far_as_it_goes(self, reader: OwnPilot, world: Outside, data: bytes):
        world.mail.keep(data)
        world.mail.keep(bytes(letter("Good")))
        assert "Good" in [each["subject"] for each in (await run(reader, "email_read"))["emails"]]
        await use_tool(ToolContext(reader.user), "email_get_content", {"uid": 1})

    @pytest.mark.parametrize(
        ("header", "shown"),
        [("Subject: =?utf-8?B?a?=", {"subject": "=?utf-8?B?a?="}), ("Date: 31 Dec 9999 23:00:00 -1200", {"date": None}),
         ("From: " + "(" * 3000, {"from": ""}), ("Subject: =?undefined?Q?abc?=", {"subject": "=?undefined?Q?abc?="}),
         ("To: =?utf-8?B?a?= <a@b.example>", {"to": []}), ("Cc: =?utf-8?B?a?= <a@b.example>", {}),
         (f"Subject: =?punycode?Q?{'a' * 300}?=", {"subject": "a" * 300}),
         (f"Content-Type: text/plain; charset=punycode; x={'a' * 300}", {}),
         ("Content-Type: text/plain; charset=undefined", {}),
         ("Content-Disposition: attachment; filename=\"=?utf-8?B?a?=\"", {})],
        ids=range(10),
    )  # fmt: skip
    async def test_a_member_that_cannot_be_read_hides_nothing_else(
        self, reader: OwnPilot, world: Outside, header: str, shown: dict[str, Any]
    ):
        name = header.partition(":")[0]
        others = "".join(f"{each}: {each}@b.example\r\n" for each in ("Subject", "From") if each != name)
        world.mail.keep(f"{others}{header}\r\n\r\n-{'a' * 300}".encode())
        expected = {"subject": "Subject@b.example", "from": "From@b.example", "uid": 1} | shown
        [listed] = (await run(reader, "email_read"))["emails"]
        assert listed.items() >= expected.items()
        opened = await run(reader, "email_get_content", uid=1)
        assert opened.items() >= expected.items()
        if "undefined" not in header and "Disposition" not in header:
            assert opened["text"] == "-" + "a" * 300
        assert "was deleted" in await run(reader, "email_delete", uid=1)

    async def test_one_letter_is_deleted_and_no_other(self, reader: OwnPilot, world: Outside):
        for number in range(3):
            world.mail.keep(bytes(letter(f"Letter {number}")))
        world.mail.stored[0].flags.add("\\Deleted")  # by another program, which has not removed it yet
        assert "Letter 1" in await run(reader, "email_delete", uid=2)
        assert [each.uid for each in world.mail.stored] == [1, 3]
        assert "no e-mail with the number 2" in await failed(reader, "email_delete", uid=2)


CALLS: list[tuple[str, dict[str, Any]]] = [("email_send", LETTER), ("email_get_content", {"uid": 1})]
"""One tool of each protocol."""


@pytest.mark.parametrize(("tool", "arguments"), CALLS, ids=[name for name, _ in CALLS])
class TestTrouble:
    """What all tools of a protocol have in common."""

    async def test_it_says_what_is_not_configured_or_refused(
        self, me: OwnPilot, world: Outside, tool: str, arguments: dict[str, Any]
    ):
        await trust(me)
        service = "smtp" if tool == "email_send" else "imap"
        assert f"config service {service}" in await failed(me, tool, **arguments)
        await configure(me, world.mail, password="wrong-password")
        told = await failed(me, tool, **arguments)
        assert "refuses the user or the password" in told and "wrong-password" not in told

    @pytest.mark.parametrize(
        ("members", "told"),
        [({"host": "127.0.0.1", "port": 9}, "not public"), ({"host": "localhost", "port": 9}, "not public"),
         ({"host": "169.254.169.254"}, "not public"), ({"host": "0x7f000001"}, "unusual form"),
         ({"host": "no-such-host.invalid"}, "does not accept"), ({"port": 0}, "from 1 to 65535"),
         ({"port": 1.5}, "from 1 to 65535"), ({"user": "a\nb@c.example"}, "not valid"), ({"host": "a b"}, "not valid")],
    )  # fmt: skip
    async def test_it_goes_to_public_servers_only(
        self, me: OwnPilot, world: Outside, tool: str, arguments: dict[str, Any], members: dict[str, Any], told: str
    ):
        await trust(me)
        await configure(me, world.mail, **members)
        assert told in await failed(me, tool, **arguments)

    async def test_silence_garbage_and_floods_end(
        self, reader: OwnPilot, world: Outside, monkeypatch: pytest.MonkeyPatch, tool: str, arguments: dict[str, Any]
    ):
        world.mail.keep(bytes(letter("Letter")))
        for behaviour in ("garbage", "silent", *(["flood"] if tool != "email_send" else [])):
            world.mail.behaviour = behaviour
            if behaviour == "silent":
                monkeypatch.setattr(mail_server, "SECONDS", 0.5)
                monkeypatch.setattr(smtp, "SECONDS", 0.5)
                monkeypatch.setattr(imap, "SECONDS", 0.5)
            elif behaviour == "flood":
                monkeypatch.setattr(imap, "SECONDS", 20)
            told = await failed(reader, tool, **arguments)
            assert told.startswith("The mail server 127.0.0.1 "), told

    async def test_a_secure_connection_is_never_replaced_by_a_plain_one(
        self, me: OwnPilot, world: Outside, monkeypatch: pytest.MonkeyPatch, tool: str, arguments: dict[str, Any]
    ):
        world.mail.commands.clear()
        await trust(me)
        await configure(me, world.mail, secure=True)
        await failed(me, tool, **arguments)
        monkeypatch.setattr(smtp, "TLS_PORT", world.mail.smtp_port)
        monkeypatch.setattr(imap, "PLAIN_PORT", world.mail.imap_port)
        await failed(me, tool, **arguments)
        assert not any(each.split()[-1:] == ["LOGIN"] or "AUTH" in each for each in world.mail.commands)


def certificate(folder: Path) -> Path:
    """A certificate for `localhost` with its key, which nobody has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = folder / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize("tls_first", [True, False])
async def test_letters_go_over_tls_to_servers_whose_certificate_is_accepted(
    me: OwnPilot, stack: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tls_first: bool
):
    path = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    async with serving_mail(context, tls_first=tls_first) as servers:
        hosts = f"localhost:{servers.smtp_port},localhost:{servers.imap_port}"
        async with connected(**stack.app_settings | {"RUNYARD_PRIVATE_HOSTS": hosts}):
            monkeypatch.setattr(smtp, "TLS_PORT", servers.smtp_port if tls_first else 0)
            monkeypatch.setattr(imap, "PLAIN_PORT", 0 if tls_first else servers.imap_port)
            await trust(me)
            await configure(me, servers, secure=True, host="localhost")
            for tool, arguments in (("email_send", LETTER), ("email_read", {})):
                assert "certificate" in await failed(me, tool, **arguments)
            monkeypatch.setenv("SSL_CERT_FILE", str(path))
            assert (await run(me, "email_send", **LETTER))["sent"] == [USER]
            assert (await run(me, "email_read"))["total"] == 1
