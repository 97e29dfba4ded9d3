"""The servers that send and keep a person's e-mail, as they are configured."""

import socket
import ssl
from typing import NamedTuple

from functions.ownpilot.core.tool_context import ToolError
from functions.ownpilot.tools.outside import configured
from shared import resolver

SECONDS = 25.0
"""For how long one tool may talk with a mail server."""


class MailServer(NamedTuple):
    """A server and a user's account on it. `sender` is the address that its e-mails come from."""

    host: str
    port: int
    user: str
    password: str
    is_secure: bool
    sender: str

    def __str__(self) -> str:
        return f"The mail server {self.host}"


async def mail_server(owner: str, service: str) -> MailServer:
    """Return the server that is configured as `smtp` or `imap`. `ToolError`."""
    _, values = await configured(owner, [service], needs=("host", "user", "password"))
    host, port, user = str(values["host"]).strip(), values.get("port"), str(values["user"])
    texts = (host, user, str(values["password"]))
    if not isinstance(port, int | float) or port != int(port) or not 1 <= port <= 65535:
        raise ToolError(f"The port that is configured for {service} is not one from 1 to 65535.")
    if any(not each.isprintable() for each in texts) or " " in host:
        raise ToolError(f"The host, the user or the password that is configured for {service} is not valid.")
    return MailServer(
        host, int(port), user, texts[2], values.get("secure") is not False, str(values.get("from_address") or user)
    )


async def connected(server: MailServer) -> socket.socket:
    """Return a connection to a mail server. `ToolError` when there is none, or its address is not public."""
    try:
        return await resolver.connect(server.host, server.port)
    except resolver.NotPublic as error:
        raise ToolError(f"{server} may not be used: {error}.") from None
    except (OSError, ValueError):
        raise ToolError(f"{server} does not accept a connection.") from None


def _is_of_tls(error: BaseException | None) -> bool:
    return error is not None and (isinstance(error, ssl.SSLError) or _is_of_tls(error.__cause__ or error.__context__))


def broken(server: MailServer, error: BaseException) -> ToolError:
    """Return the error of a connection that failed."""
    if _is_of_tls(error):
        return ToolError(f"{server} has no TLS certificate that is accepted, or speaks no TLS at this port.")
    if isinstance(error, TimeoutError):
        return ToolError(f"{server} was silent for too long.")
    return ToolError(f"{server} broke off the connection.")
