"""The input of a supervisor: how to run the containers of a group, from one start of the group to its end."""

from typing import TypedDict


class ContainerPlan(TypedDict):
    """How to run one container."""

    name: str
    argv: list[str]
    environment: dict[str, str]
    sandboxed: bool  # whether argv starts bubblewrap, which has its own init process
    root: str  # the folder of its files, created anew at each start
    working_dir: str  # a path of the machine
    log: str
    directories: list[str]  # to create in a new root
    files: dict[str, str]  # to create in a new root, with their text
    links: dict[str, str]  # to create in a new root, with their target
    cores: int
    memory: int  # bytes
    limits: dict[str, int]  # of the operating system, by their names in the module `resource` without RLIMIT_


class GroupPlan(TypedDict):
    """One run of a group."""

    policy: str  # Always, OnFailure or Never
    init: list[ContainerPlan]
    containers: list[ContainerPlan]
    grace: float  # seconds between SIGTERM and SIGKILL
    restart_delay: float  # seconds before the first restart, doubled for each further one
