"""The specification and the status of container groups: plain data, without the service's SDK."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

RestartPolicy = Literal["Never", "OnFailure", "Always"]
"""When the service restarts a container that has ended; `OnFailure` is after an exit code other than 0."""


@dataclass(frozen=True)
class ShareMount:
    """An Azure file share that a container sees as the folder `path`.

    `share` is the share's name, `account` its storage account and `key` the account's key.
    """

    share: str
    account: str
    key: str = field(repr=False)
    path: str
    read_only: bool = False


@dataclass(frozen=True)
class SecretMount:
    """Small files, by name, that a container sees in the folder `path`; the service keeps them in memory only."""

    name: str
    path: str
    files: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class ContainerSpec:
    """One container of a group.

    `name` has lower-case letters, digits and hyphens, at most 63. `command` replaces the image's entry point. `secrets`
    are environment variables whose values the service never shows. `cpu` is in cores, `memory_gb` in GB. `ports` are
    the TCP ports on which it listens. `mounts` are file shares, `secret_files` folders with files of its own.
    """

    name: str
    image: str
    command: Sequence[str] | None = None
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    secrets: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    cpu: float = 1.0
    memory_gb: float = 1.5
    ports: Sequence[int] = ()
    mounts: Sequence[ShareMount] = ()
    secret_files: Sequence[SecretMount] = ()


@dataclass(frozen=True)
class RegistryLogin:
    """How images are pulled from the private registry `server` (`name.azurecr.io`).

    Either `identity`, the resource id of a managed identity, or `user` and `password`.
    """

    server: str
    identity: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.identity is None) == (self.user is None or self.password is None):
            raise ValueError("a registry login needs either an identity or a user and a password")


@dataclass(frozen=True)
class GroupSpec:
    """A container group: containers that run on one machine and share its network.

    `name` has lower-case letters, digits and hyphens, at most 63. `public_ports` are the TCP ports of its containers
    that are open at its public address; without any it has no address. `dns_label` makes that address
    `<label>.<region>.azurecontainer.io` and needs a public port. `tags` are part of every listing. `location` is its
    region, None for that of the settings. `subnet` is the resource id of a subnet in which its containers are.
    """

    name: str
    containers: Sequence[ContainerSpec]
    restart_policy: RestartPolicy = "Never"
    public_ports: Sequence[int] = ()
    dns_label: str | None = None
    registries: Sequence[RegistryLogin] = ()
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    location: str | None = None
    subnet: str | None = None

    def __post_init__(self) -> None:
        if self.dns_label and not self.public_ports:
            raise ValueError("a DNS label needs a public port")


class ContainerPhase(StrEnum):
    """The phase of a container's life cycle."""

    WAITING = "waiting"
    RUNNING = "running"
    TERMINATED = "terminated"


@dataclass(frozen=True)
class ContainerStatus:
    """One container of a group: `exit_code` is that of its last run, `detail` the service's detail of its state.

    `memory_gb` is the memory that it may use, in GB.
    """

    phase: ContainerPhase
    exit_code: int | None = None
    restarts: int = 0
    detail: str = ""
    memory_gb: float = 0.0

    @property
    def out_of_memory(self) -> bool:
        """Whether the service killed it because it used more memory than it may."""
        return self.exit_code == 137 and self.detail == "OOMKilled"


@dataclass(frozen=True)
class GroupStatus:
    """A container group as the service shows it.

    `provisioning` is the state of the last request (`Pending`, `Creating`, `Succeeded`, `Failed`, ...), `state` that of
    the group as a whole (`Pending`, `Running`, `Stopped`, `Succeeded`, `Failed`). `ip` and `fqdn` are its public
    address, None without one. `failure` is the service's message when it could not provision the group.
    """

    provisioning: str
    state: str
    containers: Mapping[str, ContainerStatus]
    ip: str | None = None
    fqdn: str | None = None
    failure: str = ""

    @property
    def running(self) -> bool:
        """Whether all of its containers run."""
        return self.state == "Running" and all(
            each.phase is ContainerPhase.RUNNING for each in self.containers.values()
        )

    @property
    def ended(self) -> bool:
        """Whether a group with the restart policy `Never` will do no more work."""
        return self.provisioning == "Failed" or (
            bool(self.containers) and all(each.phase is ContainerPhase.TERMINATED for each in self.containers.values())
        )
