"""Reading e-mail over IMAP. The library blocks, so it works in a thread, on a connection that is closed in time."""

import asyncio
import imaplib
import logging
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from functions.ownpilot.core.tool_context import ToolError
from functions.ownpilot.tools.charsets import bound_punycode
from functions.ownpilot.tools.mail_server import SECONDS, MailServer, broken, connected

if TYPE_CHECKING:
    from imap_tools import BaseMailBox

log = logging.getLogger(__name__)

R = TypeVar("R")

PLAIN_PORT = 143
"""At this port a secure connection begins with STARTTLS; at any other one TLS comes first."""

MOST_READ = 16_000_000
"""Bytes that are read of a server in one call."""

_SILENCE = 10.0
_threads = ThreadPoolExecutor(8, "imap")  # of its own, so that slow servers keep nothing else waiting


class _Client(imaplib.IMAP4):
    """A client on a connection that is there already, which reads so much and no more."""

    def __init__(self, connection: socket.socket, host: str):
        self._connection, self._left = connection, MOST_READ
        super().__init__(host, 0, _SILENCE)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        return self._connection

    def read(self, size: int) -> bytes:
        """Read so many bytes."""
        self._spend(size)
        return super().read(size)

    def readline(self) -> bytes:
        """Read a line."""
        line = super().readline()
        self._spend(len(line))
        return line

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise self.abort("it sends too much")


async def in_mailbox(server: MailServer, folder: str, work: "Callable[[BaseMailBox], R]") -> R:
    """Return what `work` does in a folder of a mailbox, in a thread. `ToolError`."""
    open_ones: list[socket.socket] = []
    try:
        async with asyncio.timeout(SECONDS):
            open_ones.append(await connected(server))
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(_threads, _work, server, folder, work, open_ones)
    except TimeoutError as error:
        raise broken(server, error) from None
    finally:
        for each in open_ones:  # which ends the thread, too
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def _work(server: MailServer, folder: str, work: "Callable[[BaseMailBox], R]", open_ones: list[socket.socket]) -> R:
    from imap_tools import BaseMailBox  # 32 ms
    from imap_tools.errors import ImapToolsError, MailboxFolderSelectError, MailboxLoginError

    class MailBox(BaseMailBox):
        def _get_mailbox_client(self) -> imaplib.IMAP4:
            made.append(_client(server, open_ones))
            return made[0]

    bound_punycode()
    made: list[imaplib.IMAP4] = []
    try:
        mailbox = MailBox()
        if (server.user + server.password).isascii():
            mailbox.login(server.user, server.password, folder)
        else:
            mailbox.login_utf8(server.user, server.password, folder)
        done = work(mailbox)
        with suppress(ImapToolsError, imaplib.IMAP4.error, OSError):
            mailbox.logout()
        return done
    except ToolError:
        raise
    except MailboxLoginError:
        raise ToolError(f"{server} refuses the user or the password.") from None
    except MailboxFolderSelectError:
        raise ToolError(f"{server} has no folder {folder!r} that can be opened.") from None
    except (imaplib.IMAP4.error, ImapToolsError) as error:
        raise ToolError(f"{server} does not do what was asked: {' '.join(str(error).split())[:200]}") from None
    except OSError as error:
        raise broken(server, error) from None
    except Exception:  # the library trusts what servers answer, and fails in many ways over anything else
        log.warning("a mail server answers in a form that is not known", exc_info=True)
        raise ToolError(f"{server} answers in a form that is not known.") from None
    finally:
        for client in made:
            with suppress(OSError):
                client.shutdown()


def _client(server: MailServer, open_ones: list[socket.socket]) -> _Client:
    connection = open_ones[0]
    connection.settimeout(_SILENCE)
    context = ssl.create_default_context()
    is_upgraded = server.is_secure and server.port == PLAIN_PORT
    if server.is_secure and not is_upgraded:
        connection = context.wrap_socket(connection, server_hostname=server.host, do_handshake_on_connect=False)
        open_ones[0] = connection
        connection.do_handshake()
    client = _Client(connection, server.host)
    if is_upgraded:
        try:
            client.starttls(context)
        except BaseException:
            client.shutdown()
            raise
        sock: Any = client.sock
        open_ones[0] = sock
    return client
