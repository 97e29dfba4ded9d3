"""What a supervisor is told: how to run the containers of a group, once."""

from typing import TypedDict


class ContainerPlan(TypedDict):
    """How to run one container."""

    name: str
    argv: list[str]
    environment: dict[str, str]
    sandboxed: bool  # argv starts bubblewrap, which has an init of its own
    root: str  # the folder of its files, made anew at each start
    working_dir: str  # of the machine
    log: str
    directories: list[str]  # of a fresh root
    files: dict[str, str]  # of a fresh root, with their text
    links: dict[str, str]  # of a fresh root, with their target
    cores: int
    memory: int  # bytes
    limits: dict[str, int]  # of the operating system, by their names in `resource` without RLIMIT_


class GroupPlan(TypedDict):
    """One run of a group."""

    policy: str  # Always, OnFailure or Never
    init: list[ContainerPlan]
    containers: list[ContainerPlan]
    grace: float  # seconds between TERM and KILL
    restart_delay: float  # seconds before a first restart, doubled at each
