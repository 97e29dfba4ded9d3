"""Which hosts users may send this app to: those with a public address, and those that a setting names."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from aiohttp.abc import AbstractResolver, ResolveResult

from shared.settings import settings

_UNICAST = ip_network("2000::/3")
_SPECIAL = (
    ip_network("168.63.129.16/32"),  # Azure's own services, which every machine in Azure reaches
    ip_network("192.0.0.0/24"),
    ip_network("192.88.99.0/24"),  # relays of 6to4
    ip_network("2001::/23"),  # Teredo and others that lead to IPv4
    ip_network("2001:db8::/32"),
    ip_network("2002::/16"),  # 6to4
    ip_network("3fff::/20"),
)
"""Networks that no server of the internet is in, besides those that `ipaddress` knows in every version of Python."""

_threads = ThreadPoolExecutor(32, "dns")  # of its own: a name service of a user may be slow, and keep threads for long


class NotPublic(Exception):
    """A host that users may not send this app to; the message says why."""


class PublicResolver(AbstractResolver):
    """Resolves names to public addresses only, so that a connection goes to an address that was checked."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a host. `NotPublic` when one of them is not public; OSError when there are none."""
        found = await look_up(host, port, family)
        if not found:
            raise OSError("the host has no address")
        if not is_named(host, port):
            for each in found:
                _check(ip_address(each["host"]))
        return found

    async def close(self) -> None:
        """Nothing is kept open."""


async def look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    """What the system's name service says about a host. Slow ones keep nothing waiting but other look-ups of users."""
    ask = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    found = await asyncio.get_running_loop().run_in_executor(_threads, ask)
    return [
        ResolveResult(hostname=host, host=str(to[0]), port=port, family=kind, proto=proto, flags=socket.AI_NUMERICHOST)
        for kind, _, proto, _, to in found
    ]


async def connect(host: str, port: int) -> socket.socket:
    """Connect to a host that a user names, for a protocol other than HTTP; the socket does not block.

    `NotPublic`; OSError when the host has no address, or accepts no connection. The caller bounds the time.
    """
    check_literal(host, port)
    problem = OSError("the host has no address")
    for each in await PublicResolver().resolve(host, port):
        connection = socket.socket(each["family"], socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            await asyncio.get_running_loop().sock_connect(connection, (each["host"], port))
        except OSError as error:
            connection.close()
            problem = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise problem


def check_literal(host: str, port: int) -> None:
    """`NotPublic` when a host is an address that is not public; names pass, since the resolver checks them.

    aiohttp connects to an address without asking the resolver. Decimal, octal, hexadecimal and short forms of IPv4
    addresses are refused whatever they mean: no honest address of a server is written like that.
    """
    if is_named(host, port):
        return
    try:
        address = ip_address(host)
    except ValueError:
        try:
            socket.inet_aton(host)
        except (OSError, ValueError):
            return
        raise NotPublic("its host is an IPv4 address in an unusual form") from None
    _check(address)


def is_named(host: str, port: int) -> bool:
    """Whether RUNYARD_PRIVATE_HOSTS names a host, or this port of it."""
    listed = {each.strip().lower() for each in settings().private_hosts.split(",")}
    name = f"[{host}]" if ":" in host else host.lower()
    return name in listed or f"{name}:{port}" in listed


def _check(address: IPv4Address | IPv6Address) -> None:
    if isinstance(address, IPv4Address):
        public = address.is_global and not address.is_multicast and not address.is_reserved
    else:
        # Mapped, compatible and translated (NAT64) forms of IPv4 addresses are outside of this network.
        public = address in _UNICAST
    if not public or any(address in network for network in _SPECIAL):
        raise NotPublic("its host has an address that is not public, and RUNYARD_PRIVATE_HOSTS does not name it")
