"""How code is run."""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import Body
from pydantic import Field, ValidationError

from functions.ownpilot.core import settings_store as store
from functions.ownpilot.core.audit_log import record_change
from functions.ownpilot.core.entry import Given, NotBlank, Shown
from functions.ownpilot.core.owner import Owner, routes_for
from shared.health import CONTAINERS, Checks
from shared.http.bodies import example
from shared.http.errors import BadRequest, invalid_request

routes = routes_for("settings")
checks = Checks({"docker": CONTAINERS})

SANDBOX = f"{store.INTERNAL}sandbox"


class SandboxSettings(Given):
    """How code is run."""

    model_config = {**example(defaultMemoryMB=512, defaultNetwork="none"), "strict": True}

    enabled: bool = True
    base_path: NotBlank = "/workspaces"
    default_memory_mb: int = Field(default=512, ge=64, le=16_384, alias="defaultMemoryMB")
    default_cpu_cores: float = Field(default=0.5, gt=0, le=4)
    default_timeout_ms: int = Field(default=30_000, ge=100, le=300_000)
    default_network: Literal["none", "restricted", "egress", "full"] = "none"
    max_workspaces_per_user: int = Field(default=5, ge=1, le=100)
    max_storage_per_user_gb: float = Field(default=2, gt=0, le=100, alias="maxStoragePerUserGB")
    allowed_images: Annotated[list[NotBlank], Field(max_length=100)] = [
        "python:3.11-slim",
        "node:20-slim",
        "alpine:latest",
    ]
    python_image: NotBlank = "python:3.11-slim"
    node_image: NotBlank = "node:20-slim"
    shell_image: NotBlank = "alpine:latest"


class SandboxStatus(Shown):
    """Whether code can be run now, and if not, why."""

    enabled: bool
    ready: bool
    message: str


class SandboxShown(Shown):
    """The settings, and whether containers can be started."""

    settings: SandboxSettings
    docker_available: bool
    status: SandboxStatus


class SandboxChanged(Shown):
    """The names that were given, and all settings after the change."""

    updated: list[str]
    settings: SandboxSettings


@routes.get("/sandbox")
async def get_sandbox_settings(owner: Owner) -> SandboxShown:
    """How code is run, and whether it can be."""
    stored, passed = await asyncio.gather(store.read(owner.id, SANDBOX), checks.results())
    found = SandboxSettings.model_validate(stored or {})
    ready = found.enabled and passed["docker"]
    message = "Ready" if ready else "Containers cannot be started" if found.enabled else "The sandbox is switched off"
    status = SandboxStatus(enabled=found.enabled, ready=ready, message=message)
    return SandboxShown(settings=found, docker_available=passed["docker"], status=status)


@routes.post("/sandbox")
async def set_sandbox_settings(
    body: Annotated[dict[str, Any], Body(examples=[{"defaultMemoryMB": 512}])], owner: Owner
) -> SandboxChanged:
    """Change the given settings of the sandbox."""
    try:
        given = SandboxSettings.model_validate(body)
    except ValidationError as error:
        refusal = invalid_request([{**each, "loc": ("body", *each["loc"])} for each in error.errors()])
        raise BadRequest(refusal.message, code="INVALID_VALUE", details=refusal.details) from error
    changed = given.model_dump(exclude_unset=True, by_alias=True)
    after = SandboxSettings()

    def merge(setting: store.Setting) -> None:
        nonlocal after
        setting.value = {**(setting.value or {}), **changed}
        after = SandboxSettings.model_validate(setting.value)

    await store.change(owner.id, SANDBOX, merge)
    await record_change(owner, "setting", "sandbox", f"set {', '.join(changed)}")
    return SandboxChanged(updated=[*changed], settings=after)
