"""SMTP: takes messages of the one account."""

import base64
import re

from infra.emulator.providers import KEY
from infra.emulator.providers.mailbox import REFUSED, USER, MailConnection, SentMail, decoded


async def serve_smtp(connection: MailConnection) -> None:
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
        return [decoded(each) for each in answers] == [USER, KEY]
    if not given:
        await connection.say("334 ")
        given = await connection.hear()
    return decoded(given).split("\0")[1:] == [USER, KEY]


async def _smtp_data(connection: MailConnection) -> bytes:
    lines: list[bytes] = []
    while (line := await connection.reader.readline()) not in (b".\r\n", b""):
        lines.append(line.removeprefix(b"."))
    return b"".join(lines)


def _address(text: str) -> str:
    found = re.search(r"<([^>]*)>", text)
    return found[1] if found else ""
