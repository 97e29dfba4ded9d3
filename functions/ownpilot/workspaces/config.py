"""How the containers of a workspace are configured, in both spellings that clients use."""

import re
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from functions.ownpilot.core.entry import Given
from functions.ownpilot.settings.sandbox import SandboxSettings
from functions.ownpilot.workspaces.records import NetworkPolicy

_MEMORY = re.compile(r"(\d{1,12})\s*(b|k|m|g)?b?", re.IGNORECASE)
_UNITS = {"b": 1 / 1024**2, "k": 1 / 1024, "m": 1, "g": 1024, "": 1 / 1024**2}

Limit = Annotated[str, Field(max_length=20)]


class ContainerConfig(Given):
    """The members to set; `memoryLimit` ("256m") says the same as `memoryMB`, `cpuLimit` ("1") as `cpuCores`.

    Code gets the memory that it may use, at most that of its container. Processors are those of the container.
    """

    cpu_cores: Annotated[float | None, Field(gt=0, le=4)] = None
    memory_mb: Annotated[int | None, Field(ge=64, le=16_384, alias="memoryMB")] = None
    storage_gb: Annotated[float | None, Field(gt=0, le=100, alias="storageGB")] = None
    timeout_ms: Annotated[int | None, Field(ge=100, le=300_000)] = None
    network_policy: NetworkPolicy | None = None
    memory_limit: Annotated[Limit | None, Field(exclude=True)] = None
    cpu_limit: Annotated[Limit | None, Field(exclude=True)] = None

    @model_validator(mode="after")
    def _read_other_spelling(self) -> Self:
        """Set what the other spelling says. ValueError."""
        if self.memory_limit is not None:
            if not (match := _MEMORY.fullmatch(self.memory_limit.strip())):
                raise ValueError("memoryLimit: must be a size such as 256m")
            megabytes = int(match[1]) * _UNITS[(match[2] or "").lower()]
            if not 64 <= megabytes <= 16_384:
                raise ValueError("memoryLimit: must be from 64m to 16g")
            self.memory_mb = round(megabytes)
        if self.cpu_limit is not None:
            if not re.fullmatch(r"\d(\.\d{1,3})?", self.cpu_limit.strip()) or not 0 < float(self.cpu_limit) <= 4:
                raise ValueError("cpuLimit: must be a number of processors up to 4, such as 0.5")
            self.cpu_cores = float(self.cpu_limit)
        return self

    def over(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return a whole configuration with the members that are given here."""
        return {**config, **self.model_dump(by_alias=True, exclude_none=True)}


def config_of(sandbox: SandboxSettings) -> dict[str, Any]:
    """Return the configuration of a new workspace, as the settings have it."""
    return {
        "cpuCores": sandbox.default_cpu_cores, "memoryMB": sandbox.default_memory_mb,
        "storageGB": sandbox.max_storage_per_user_gb, "timeoutMs": sandbox.default_timeout_ms,
        "networkPolicy": sandbox.default_network,
    }  # fmt: skip
