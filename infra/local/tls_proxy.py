"""`python3 tls_proxy.py CERTIFICATE`: ends TLS on port 8443 in front of 127.0.0.1:8080.

It takes the place of the image with Caddy in local containers, with the configuration that the app gives to that:
requests and WebSockets pass, and no connection to the server behind is kept after its request, since idle ones would
count as somebody's. Each connection of a client carries one request.

It listens on all addresses of its network. On a machine that shares its network, the variable LOCAL_ADDRESS names the
address of both ports. The certificate `etc/caddy/tls.pem` below the working directory is used in place of its own.
"""

import asyncio
import contextlib
import os
import ssl
import sys
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

LISTENING, BEHIND = 8443, 8080
ADDRESS = os.environ.get("LOCAL_ADDRESS", "")
GIVEN = Path("etc/caddy/tls.pem")
LONGEST_HEAD = 64 * 1024
PATIENCE = 60
"""Seconds for a client to send the head of its request."""
HOP = {"connection", "keep-alive", "proxy-connection"}
"""Headers of one connection that a proxy replaces."""
FORWARDED = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"}

Headers = list[tuple[str, str]]


class HttpHead:
    """The first line and the headers of a request or an answer."""

    def __init__(self, received: bytes):
        """Raises ValueError for what is not HTTP."""
        self.line, *lines = received.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        if "HTTP/1." not in self.line or any(":" not in line for line in lines):
            raise ValueError(self.line)
        self.headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]

    def value(self, name: str) -> str:
        return ", ".join(value for each, value in self.headers if each.lower() == name)

    def bytes_with(self, without: set[str], added: Headers) -> bytes:
        kept = [(name, value) for name, value in self.headers if name.lower() not in without]
        lines = [self.line, *(f"{name}: {value}" for name, value in [*kept, *added])]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def serve(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
    """Answer the request of a connection."""
    try:
        await forward(client, to_client)
    except (OSError, EOFError, asyncio.LimitOverrunError, TimeoutError):
        pass  # one of the two has closed the connection
    except ValueError:
        to_client.write(refusal(HTTPStatus.BAD_REQUEST))
    finally:
        to_client.close()


async def forward(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
    request = HttpHead(await asyncio.wait_for(client.readuntil(b"\r\n\r\n"), PATIENCE))
    try:
        server, to_server = await asyncio.open_connection(ADDRESS or "127.0.0.1", BEHIND, limit=LONGEST_HEAD)
    except OSError:
        to_client.write(refusal(HTTPStatus.BAD_GATEWAY))
        await to_client.drain()
        return
    added = [
        ("X-Forwarded-For", to_client.get_extra_info("peername")[0]),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", request.value("host")),
        ("Connection", "Upgrade" if request.value("upgrade") else "close"),
    ]
    to_server.write(request.bytes_with(HOP | FORWARDED, added))
    # When the client goes, the server learns it from the end of its connection.
    sending = asyncio.create_task(copied(client, to_server, to_server.close))
    try:
        await answered(server, to_client)
    finally:
        sending.cancel()
        to_server.close()


async def answered(server: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
    """Pass the answer on, until the server closes its connection."""
    while True:
        answer = HttpHead(await server.readuntil(b"\r\n\r\n"))
        status = answer.line.split()[1]
        if status == "101" or not status.startswith("1"):
            break
        to_client.write(answer.bytes_with(set(), []))  # such as 100 Continue: the answer itself follows
    added = [] if status == "101" else [("Connection", "close")]
    to_client.write(answer.bytes_with(HOP if added else set(), added))
    await copied(server, to_client, lambda: None)


async def copied(source: asyncio.StreamReader, target: asyncio.StreamWriter, end: Callable[[], None]) -> None:
    """Copy bytes until the source ends; then call `end`."""
    with contextlib.suppress(OSError):
        while data := await source.read(1 << 16):
            target.write(data)
            await target.drain()
    end()


def refusal(status: HTTPStatus) -> bytes:
    return f"HTTP/1.1 {status} {status.phrase}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()


async def main(certificate: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(GIVEN if GIVEN.exists() else certificate)
    context.set_alpn_protocols(["http/1.1"])
    server = await asyncio.start_server(serve, ADDRESS or None, LISTENING, ssl=context, limit=LONGEST_HEAD, backlog=256)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
