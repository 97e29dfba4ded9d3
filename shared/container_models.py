"""Converts container groups to and from the SDK's models; the SDK is imported on the first call."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from shared.container_groups import (
    ContainerPhase,
    ContainerSpec,
    ContainerStatus,
    GroupSpec,
    GroupStatus,
    RegistryLogin,
    ShareMount,
)

if TYPE_CHECKING:
    from azure.mgmt.containerinstance import models

PHASES = {"Running": ContainerPhase.RUNNING, "Terminated": ContainerPhase.TERMINATED}
"""The service's states of a container; every other state counts as waiting."""


def group_of(spec: GroupSpec, location: str) -> "models.ContainerGroup":
    """Return the request body that creates this group in a region."""
    from azure.mgmt.containerinstance import models

    volumes = _volume_names(spec)
    return models.ContainerGroup(
        location=location,
        tags=dict(spec.tags),
        os_type="Linux",
        restart_policy=spec.restart_policy,
        identity=_identity_of(spec.registries),
        image_registry_credentials=[
            models.ImageRegistryCredential(
                server=login.server, identity=login.identity, username=login.user, password=login.password
            )
            for login in spec.registries
        ]
        or None,
        containers=[_container_of(container, volumes) for container in spec.containers],
        volumes=[
            models.Volume(
                name=name,
                azure_file=models.AzureFileVolume(
                    share_name=share.share,
                    storage_account_name=share.account,
                    storage_account_key=share.key,
                    read_only=share.read_only,
                ),
            )
            for share, name in volumes.items()
        ]
        + [
            models.Volume(
                name=mount.name,
                secret={name: b64encode(content.encode()).decode() for name, content in mount.files.items()},
            )
            for container in spec.containers
            for mount in container.secret_files
        ]
        or None,
        subnet_ids=[models.ContainerGroupSubnetId(id=spec.subnet)] if spec.subnet else None,
        ip_address=models.IpAddress(
            type="Public",
            ports=[models.Port(port=port, protocol="TCP") for port in spec.public_ports],
            dns_name_label=spec.dns_label,
        )
        if spec.public_ports
        else None,
    )


def _share_of(mount: ShareMount) -> ShareMount:
    """Return the mount without its folder, which makes all mounts of one share equal."""
    return replace(mount, path="")


def _volume_names(spec: GroupSpec) -> dict[ShareMount, str]:
    """Return the name of the volume for each share of a group."""
    shares = dict.fromkeys(_share_of(mount) for container in spec.containers for mount in container.mounts)
    return {share: f"share-{number}" for number, share in enumerate(shares)}


def _identity_of(registries: Sequence[RegistryLogin]) -> "models.ContainerGroupIdentity | None":
    """Return the identities with which the group pulls its images; None when no registry needs one."""
    from azure.mgmt.containerinstance import models

    identities = [login.identity for login in registries if login.identity]
    if not identities:
        return None
    return models.ContainerGroupIdentity(
        type="UserAssigned",
        user_assigned_identities={identity: models.UserAssignedIdentities() for identity in identities},
    )


def _container_of(spec: ContainerSpec, volumes: dict[ShareMount, str]) -> "models.Container":
    from azure.mgmt.containerinstance import models

    return models.Container(
        name=spec.name,
        image=spec.image,
        command=list(spec.command) if spec.command else None,
        environment_variables=[
            *(models.EnvironmentVariable(name=name, value=value) for name, value in spec.environment.items()),
            *(models.EnvironmentVariable(name=name, secure_value=value) for name, value in spec.secrets.items()),
        ],
        resources=models.ResourceRequirements(
            requests=models.ResourceRequests(cpu=spec.cpu, memory_in_gb=spec.memory_gb)
        ),
        ports=[models.ContainerPort(port=port, protocol="TCP") for port in spec.ports] or None,
        volume_mounts=[
            models.VolumeMount(name=volumes[_share_of(mount)], mount_path=mount.path, read_only=mount.read_only)
            for mount in spec.mounts
        ]
        + [models.VolumeMount(name=mount.name, mount_path=mount.path, read_only=True) for mount in spec.secret_files]
        or None,
    )


def status_of(group: "models.ContainerGroup") -> GroupStatus:
    """Return the status of a group."""
    provisioning = str(group.provisioning_state or "")
    view, address = group.instance_view, group.ip_address
    events: list[models.Event] = list(view.events or []) if view else []
    failures = [event.message or "" for event in events if str(event.type) == "Warning"]
    return GroupStatus(
        provisioning=provisioning,
        state=(view.state if view else None) or "",
        containers={container.name: _status_of(container) for container in group.containers},
        ip=address.ip if address else None,
        fqdn=address.fqdn if address else None,
        failure=failures[-1] if failures and provisioning == "Failed" else "",
    )


def _status_of(container: "models.Container") -> ContainerStatus:
    view = container.instance_view
    now, before = (view.current_state, view.previous_state) if view else (None, None)
    ended = now if now and now.exit_code is not None else before
    return ContainerStatus(
        phase=PHASES.get((now.state if now else None) or "", ContainerPhase.WAITING),
        exit_code=ended.exit_code if ended else None,
        restarts=(view.restart_count if view else None) or 0,
        detail=(now.detail_status if now else None) or "",
        memory_gb=container.resources.requests.memory_in_gb,
    )
