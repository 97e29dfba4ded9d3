"""Mail servers: SMTP takes messages, and IMAP shows those that came for the one account there is."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from infra.emulator.providers.imap import serve_imap
from infra.emulator.providers.mailbox import MAX_LINE, MailConnection, MailServers
from infra.emulator.providers.smtp import serve_smtp


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
        for name, talk in (("smtp_port", serve_smtp), ("imap_port", serve_imap)):
            server = await asyncio.start_server(accepting(talk), "127.0.0.1", 0, ssl=first, limit=MAX_LINE)
            setattr(servers, name, server.sockets[0].getsockname()[1])
            stack.callback(server.close)
        yield servers
