"""The input of a supervisor: how to run the containers of a group, from one start of the group to its end."""

from typing import TypedDict


class ContainerPlan(TypedDict):
    """How to run one container."""

    name: str
    argv: list[str]
    environment: dict[str, str]  # of the command; bubblewrap itself gets none of it
    sandboxed: bool  # whether argv starts bubblewrap, which has its own init process
    root: str  # the folder of its files, created anew at each start
    working_dir: str  # a path of the machine
    log: str
    directories: list[str]  # to create in a new root
    files: dict[str, str]  # to create in a new root, with their text
    links: dict[str, str]  # to create in a new root, with their target
    cores: int
    memory: int  # bytes
    disk: int  # bytes of its root and its volumes
    volumes: list[str]  # the folders of the volumes that count
    processes: int
    cgroup: str  # the cgroup that limits its processes, created at each start; "" where the system allows none
    limits: dict[str, int]  # of the operating system, by their names in the module `resource` without RLIMIT_


class OutgoingPlan(TypedDict):
    """How a group reaches other machines."""

    slirp4netns: str  # paths of programs
    ip: str
    reachable: list[str]  # IPv4 networks that are reachable although they are private


class NetworkPlan(TypedDict):
    """The network namespace of a group."""

    service: str  # the Unix socket of the ways out, relative to the group's folder
    group: str  # names the group there
    ways: list[int]  # ports of the group's loopback interface whose connections go to that socket
    doors: list[tuple[int, int]]  # ports of the group, and the inherited files of the sockets that listen for them
    outgoing: OutgoingPlan | None


class GroupPlan(TypedDict):
    """One run of a group."""

    policy: str  # Always, OnFailure or Never
    init: list[ContainerPlan]
    containers: list[ContainerPlan]
    network: NetworkPlan | None  # None without a sandbox: the network is the machine's
    problems: list[str]  # why ports of the group cannot be reached
    grace: float  # seconds between SIGTERM and SIGKILL
    restart_delay: float  # seconds before the first restart, doubled for each further one
