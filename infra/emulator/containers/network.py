"""The network of a container group: a namespace of its own, with named ways out and in.

The supervisor enters the namespace, and its containers inherit it. What must stay outside was forked before:

- connections to a way out are accepted on sockets of the namespace, and carried to a Unix socket of the machine, where
  the service checks every request;
- connections to a public port of the group are accepted on sockets of the machine, which the supervisor inherits, and
  carried into the namespace.

Outgoing traffic takes a second namespace, the router, between the group and slirp4netns, which carries packets to the
machine's network. The router has no route to private addresses. Such routes in the group's own namespace would not do:
a program may bind its socket to a device, and Linux then takes every address for a neighbour on that device.
"""

# The supervisor imports this module and must start fast, so pathlib and typing are not used.
# ruff: noqa: PTH123

from __future__ import annotations

import fcntl
import itertools
import os
import signal
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from infra.emulator.containers.plans import NetworkPlan, OutgoingPlan

NEWIPC, NEWUSER, NEWNET = 0x08000000, 0x10000000, 0x40000000
CONNECTIONS = 64
"""Connections of one port at a time; more of them wait."""
KEYED_MEMORY = 64 * 1024**2
"""Bytes of memory that the containers of a group can share by a key, which outlives processes."""
NAMESERVER = "10.0.2.3"
"""Where slirp4netns answers DNS requests with the machine's resolver."""
CLOSED = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3",
)  # fmt: skip
"""Networks that are private, of one link, or of no single machine."""
ROUTER = """\
tuntap add dev tap0 mode tap
link add inside type veth peer name eth0 netns {group}
link set tap0 mtu 65520 up
link set inside mtu 65520 up
addr add 10.0.2.102/32 dev tap0
route add 10.0.2.101 dev inside
route add default via 10.0.2.2 dev tap0 onlink
route add {nameserver} dev tap0 table 53
rule add to {nameserver} ipproto udp dport 53 lookup 53
rule add to {nameserver} ipproto tcp dport 53 lookup 53
"""
GROUP = """\
ntable change name arp_cache dev eth0 retrans 20 mcast_probes 1000
link set eth0 mtu 65520 up
addr add 10.0.2.101/32 dev eth0
route add 10.0.2.100 dev eth0
route add default via 10.0.2.100 dev eth0
"""
"""The first packets wait until the router has its address: the group asks for it every 20 ms, for 20 s at most."""
CARRIED = "addr add 10.0.2.100/32 dev tap0\n"


class Network:
    """The network of one group, in which this process is from now on; it ends with this process."""

    def __init__(self, plan: NetworkPlan):
        """Enter a new namespace. Raises OSError where the system refuses it."""
        self.ready: int | None = None
        """A pipe that ends when outgoing traffic is possible, or will not be; None when it is not allowed.

        Before, it holds a byte from the moment on at which packets wait for that instead of being refused.
        """
        self.channel, outside = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        doors = {port: socket.socket(fileno=file) for port, file in plan["doors"]}
        if plan["ways"] or plan["outgoing"]:
            fork(lambda: serve_outside(plan, outside), outside, 2)
        machine = addresses() if plan["outgoing"] else []
        isolate()
        ways = [listening(port) for port in plan["ways"]]
        if ways:
            socket.send_fds(self.channel, [b"ways"], [way.fileno() for way in ways])
        end, self.alive = os.pipe()  # no other process holds the end that is written to
        self.porter = fork(lambda: serve_inside(doors, end), end, 2, *doors.values()) if doors else None
        os.close(end)
        outside.close()
        for one in (*ways, *doors.values()):
            one.close()
        if outgoing := plan["outgoing"]:
            self.ready, done = os.pipe()
            fork(lambda: route(outgoing, machine, self.channel, done), self.channel, done, 2)
            os.close(done)

    def close(self) -> None:
        """Close the public ports at once: else the next start of the group might still find them in use."""
        if self.porter:
            os.kill(self.porter, signal.SIGKILL)
            os.waitpid(self.porter, 0)


def isolate() -> None:
    """Enter new namespaces of users, with this one as its root, of the network, and of memory shared by a key."""
    uid, gid = os.geteuid(), os.getegid()
    unshare(NEWUSER | NEWNET | NEWIPC)
    write("/proc/self/setgroups", "deny")
    write("/proc/self/uid_map", f"0 {uid} 1")
    write("/proc/self/gid_map", f"0 {gid} 1")
    try:
        write("/proc/sys/kernel/shmall", str(KEYED_MEMORY // os.sysconf("SC_PAGE_SIZE")))
    except OSError:
        pass  # older systems let only the machine's root do that
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 1))  # SIOCSIFFLAGS: up


def unshare(flags: int) -> None:
    call("unshare", flags)


def call(name: str, *arguments: int) -> None:
    """Call a function of the C library that Python has from 3.12 on. Raises OSError."""
    import ctypes

    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def listening(port: int, address: str = "127.0.0.1") -> socket.socket:
    """A socket that listens on this port of an address of the present namespace's loopback interface."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        one.bind((address, port))
        one.listen(128)
    except OSError:
        one.close()
        raise
    return one


def fork(work: Callable[[], object], *kept: socket.socket | int) -> int:
    """Do the work in a forked process, which keeps these files only, and so does not hold the lock of the group."""
    if child := os.fork():
        return child
    code = 1
    try:
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        first = 3
        for number in sorted(one if isinstance(one, int) else one.fileno() for one in kept):
            os.closerange(first, number)
            first = max(first, number + 1)
        os.closerange(first, 1024)
        work()
        code = 0
    except OSError as error:
        os.write(2, f"network: {error}\n".encode())
    finally:
        os._exit(code)


def serve_outside(plan: NetworkPlan, channel: socket.socket) -> None:
    """Carry the group's connections to the service, and start slirp4netns when the router asks; ends with the group."""
    while True:
        message, files, *_ = socket.recv_fds(channel, 64, 64)
        if not message:
            return
        if message == b"ways":
            for port, file in zip(plan["ways"], files, strict=True):
                os.set_inheritable(file, False)
                preface = f"{plan['group']} {port}\n".encode()
                accept(socket.socket(fileno=file), lambda preface=preface: way_out(plan["service"], preface))
        elif plan["outgoing"]:
            attach(plan["outgoing"]["slirp4netns"], message.decode(), files[0])


def way_out(path: str, preface: bytes) -> socket.socket:
    """A connection to the service, which learns from the first line whose it is."""
    one = socket.socket(socket.AF_UNIX)
    one.connect(path)
    one.sendall(preface)
    return one


def serve_inside(doors: dict[int, socket.socket], end: int) -> None:
    """Carry connections from the machine to the group until this pipe ends, with the group.

    A pipe of its own: whoever reads from the channel takes messages that are for `serve_outside`.
    """
    for port, door in doors.items():
        accept(door, lambda port=port: socket.create_connection(("127.0.0.1", port)))
    os.read(end, 1)


def accept(listener: socket.socket, connect: Callable[[], socket.socket]) -> None:
    """In a thread, carry the bytes of every connection in both directions, to a connection that `connect` makes."""
    import threading

    slots = threading.Semaphore(CONNECTIONS)

    def serve() -> NoReturn:
        while True:
            slots.acquire()
            source = listener.accept()[0]
            threading.Thread(target=carry, args=(source,), daemon=True).start()

    def carry(source: socket.socket) -> None:
        try:
            with source, connect() as target:
                back = threading.Thread(target=copy, args=(target, source), daemon=True)
                back.start()
                copy(source, target)
                back.join()
        except OSError:
            pass  # the service is being started again; the client sees a closed connection, and comes again
        finally:
            slots.release()

    threading.Thread(target=serve, daemon=True).start()


def copy(source: socket.socket, target: socket.socket) -> None:
    """Copy bytes until the end; when the target takes no more, both connections are closed."""
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for one in (source, target):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def attach(program: str, router: str, ready: int) -> None:
    """Start slirp4netns for the router with this process id; it ends with this process."""
    end = os.pipe()[0]  # the other end is never closed, but by the end of this process
    for file in (end, ready):
        os.set_inheritable(file, True)
    options = ("--mtu=65520", "--disable-host-loopback", "--enable-sandbox", "--enable-seccomp")
    command = [program, *options, f"--ready-fd={ready}", f"--exit-fd={end}", router, "tap0"]
    os.posix_spawn(program, command, {})
    os.close(ready)


def route(plan: OutgoingPlan, machine: list[str], channel: socket.socket, done: int) -> None:
    """Be the router until slirp4netns holds its namespace; write to `done` as `Network.ready` says."""
    group, supervisor = os.open("/proc/self/ns/net", os.O_RDONLY), os.getppid()
    unshare(NEWNET)
    write("/proc/sys/net/ipv4/ip_forward", "1")
    if os.path.exists("/proc/sys/net/ipv6"):  # noqa: PTH110
        write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1")
    closed = [f"route add unreachable {one}\n" for one in (*CLOSED, *machine) if one not in plan["reachable"]]
    opened = [f"route add {one} via 10.0.2.2 dev tap0 onlink\n" for one in plan["reachable"]]
    ip(plan["ip"], ROUTER.format(group=supervisor, nameserver=NAMESERVER) + "".join(closed + opened))
    write("/proc/sys/net/ipv4/conf/tap0/proxy_arp", "1")
    ready, started = os.pipe()
    socket.send_fds(channel, [str(os.getpid()).encode()], [started])
    os.close(started)
    child = fork(lambda: enter(group, plan["ip"]), group, 2)
    if os.waitpid(child, 0)[1] == 0:
        os.write(done, b"1")
    if os.read(ready, 1) == b"1":
        ip(plan["ip"], CARRIED)
        os.write(done, b"1")


def enter(group: int, program: str) -> None:
    """Set the routes of the group, from the router."""
    call("setns", group, NEWNET)
    ip(program, GROUP)


def ip(program: str, commands: str) -> None:
    """Run commands of iproute2. Raises OSError when one fails."""
    read, write = os.pipe()
    os.write(write, commands.encode())
    os.close(write)
    actions = [(os.POSIX_SPAWN_DUP2, read, 0)]
    status = os.waitpid(os.posix_spawn(program, [program, "-batch", "-"], {}, file_actions=actions), 0)[1]
    os.close(read)
    if status:
        raise OSError("ip: the routes of the network could not be set")


def addresses() -> list[str]:
    """The IPv4 addresses of this machine but for its loopback interface."""
    with open("/proc/net/fib_trie") as file:
        lines = [line.split() for line in file]
    found = {last[1] for last, line in itertools.pairwise(lines) if line[:3] == ["/32", "host", "LOCAL"]}
    return sorted(one for one in found if not one.startswith("127."))
