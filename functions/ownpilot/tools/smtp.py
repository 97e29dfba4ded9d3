"""Sending an e-mail over SMTP."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from email.message import EmailMessage

from functions.ownpilot.core.tool_context import ToolError
from functions.ownpilot.tools.mail_server import SECONDS, MailServer, broken, connected

TLS_PORT = 465
"""At this port TLS comes first; at any other one a secure connection begins with STARTTLS."""

_SILENCE = 10.0


async def send(server: MailServer, message: EmailMessage, recipients: Sequence[str]) -> dict[str, str]:
    """Send an e-mail; return the recipients that the server refuses, and why. `ToolError` when it is not sent.

    Without an answer to the message itself it is not known whether it was sent, and the error says so.
    """
    import aiosmtplib  # 52 ms

    is_under_way = False
    try:
        async with asyncio.timeout(SECONDS):
            client = aiosmtplib.SMTP(
                hostname=server.host,
                use_tls=server.is_secure and server.port == TLS_PORT,
                start_tls=server.is_secure and server.port != TLS_PORT,
                username=server.user,
                password=server.password,
                timeout=_SILENCE,
                local_hostname="localhost",
            )
            try:
                await client.connect(sock=await connected(server))
                is_under_way = True
                refused, _ = await client.send_message(message, sender=server.sender, recipients=[*recipients])
                is_under_way = False
                with suppress(aiosmtplib.SMTPException, OSError):
                    await client.quit(timeout=1)
            finally:
                client.close()
            return {address: _told(*answer) for address, answer in refused.items()}
    except aiosmtplib.SMTPAuthenticationError:
        raise ToolError(f"{server} refuses the user or the password.") from None
    except aiosmtplib.SMTPRecipientsRefused as error:
        why = "; ".join(f"{each.recipient}: {_told(each.code, each.message)}" for each in error.recipients[:10])
        raise ToolError(f"{server} refuses all recipients: {why}") from None
    except aiosmtplib.SMTPResponseException as error:
        raise ToolError(f"{server} refuses the e-mail: {_told(error.code, error.message)}") from None
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        if is_under_way and isinstance(error, OSError):
            raise ToolError(
                f"{server} did not answer to the end: it is not known whether the e-mail was sent."
            ) from None
        if isinstance(error, aiosmtplib.SMTPException) and not isinstance(error, OSError):
            raise ToolError(f"{server} cannot be used: {error.message[:200]}") from None
        raise broken(server, error) from None


def _told(code: int, text: str) -> str:
    return f"{code} {' '.join(text.split())[:200]}"
