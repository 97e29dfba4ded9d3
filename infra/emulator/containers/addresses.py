"""Public addresses: each container group has one of its own, so that many can have the same port.

On Linux every address of 127.0.0.0/8 is the machine's own, and groups get theirs out of 127.8.0.0/16. On other systems
only 127.0.0.1 is, which all groups share: of two with the same port, one cannot be reached.
"""

import errno
import itertools
import socket
import sys
from collections.abc import Collection, Iterable, Iterator

from infra.emulator.containers import sandbox
from infra.emulator.containers.network import listening
from infra.emulator.containers.state import ContainerGroup

SHARED = "127.0.0.1"
ATTEMPTS = 256
"""Addresses to try; a program that listens on all addresses of the machine has the port on each of them."""


class PublicPorts:
    """Sockets that listen on the public ports of a group at its address."""

    def __init__(self, address: str, ports: Collection[int]):
        self.address = address
        self.sockets: dict[int, socket.socket] = {}
        self.problems: list[str] = []
        """Why ports cannot be reached."""
        self.in_use = False
        for port in ports:
            try:
                self.sockets[port] = listening(port, address)
            except OSError as error:  # another program has it, or this user may not have it
                self.in_use |= error.errno == errno.EADDRINUSE
                self.problems.append(f"Port {port} cannot be reached at {address}: {error.strerror}")

    def close(self) -> None:
        for one in self.sockets.values():
            one.close()
        self.sockets = {}


def open_ports(group: ContainerGroup, groups: Iterable[ContainerGroup]) -> PublicPorts:
    """Listen on the public ports of a group that starts; gives it an address that no other one of `groups` has.

    It keeps the address of its last start while that has its ports free. Without any such address, the problems of the
    result say why.
    """
    if not group.body["properties"].get("ipAddress"):
        return PublicPorts("", ())
    taken = {one.address for one in groups if one is not group} - {SHARED}
    free = [address for address in _candidates(group) if address not in taken]
    for address in free:
        public = PublicPorts(address, group.public_ports)
        if not public.in_use:
            break
        public.close()
    else:
        public = PublicPorts(free[0], group.public_ports)
    if group.address != public.address:
        group.address = public.address
        group.save()
    if not sandbox.bubblewrap():
        public.close()  # its containers listen there themselves
    return public


def _candidates(group: ContainerGroup) -> Iterator[str]:
    if sys.platform != "linux":
        yield SHARED
        return
    if group.address:
        yield group.address
    # Not the lowest free one: a browser would send the cookies of a removed group to the next one there.
    first = int(group.folder.name[:4], 16)
    for number in itertools.islice(itertools.count(first), ATTEMPTS):
        yield f"127.8.{number >> 8 & 255}.{number & 255}"
