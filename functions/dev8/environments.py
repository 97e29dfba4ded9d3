"""Environments: development containers with an editor, whose files outlive a stop."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import Body, Query
from pydantic import AfterValidator, ConfigDict, Field, Strict
from pydantic.alias_generators import to_camel

from functions.dev8 import layout, lifecycle
from functions.dev8.access import MAX_USER, Caller, Identity, existing
from functions.dev8.layout import Secret
from functions.dev8.records import CloudProvider, DevEnvironment, EnvironmentStatus
from functions.dev8.store import environments
from shared.http.bodies import RequestBody, ResponseBody, example
from shared.http.json import Text, not_blank
from shared.http.paging import MAX_OFFSET, Digits
from shared.http.routes import options, router
from shared.settings import settings
from shared.workflows import Workflows

routes = router("/api/v1/environments", "environments")

MAX_BODY = 1024 * 1024
MAX_PAGE_SIZE = 100
MAX_NAME, MAX_TEXT, MAX_SECRET = 50, 128, 16_384
"""Characters of a name, of another text, and of a secret."""


def _between(low: int, high: Callable[[], int]) -> Any:
    """Return the validator of a whole number from `low` to `high`."""

    def check(number: int) -> int:
        if not low <= number <= high():
            raise ValueError(f"must be between {low} and {high()}")
        return number

    return AfterValidator(check)


def _at_most(length: int) -> Any:
    """Return the validator of a text that an environment variable can hold."""

    def check(text: str | None) -> str | None:
        if text and len(text) > length:
            raise ValueError(f"must have at most {length} characters")
        if text and "\0" in text:
            raise ValueError("must not contain a NUL character")
        return text

    return AfterValidator(check)


def _known_region(region: str) -> str:
    regions = [each.strip() for each in settings().dev8_regions.split(",")]
    if region not in regions:
        raise ValueError(f"must be one of {', '.join(regions)}")
    return region


def camel(name: str) -> str:
    """Return the name of a member in JSON: `memory_gb` -> `memoryGB`."""
    return to_camel(name).removesuffix("Gb") + ("GB" if name.endswith("_gb") else "")


ShortText = Annotated[Text, AfterValidator(not_blank), _at_most(MAX_TEXT)]
SecretText = Annotated[str | None, Strict(), _at_most(MAX_SECRET), Field(repr=False)]
"""A text given in confidence; an empty one counts as absent."""


class NewEnvironment(RequestBody):
    """A new environment; what follows `baseImage` is passed to its container in confidence, and kept nowhere else."""

    model_config = ConfigDict(
        alias_generator=camel,
        json_schema_extra=example(
            name="my-dev-environment",
            cloudProvider="AZURE",
            cloudRegion="eastus",
            cpuCores=2,
            memoryGB=4,
            storageGB=20,
            baseImage="node",
            codeServerPassword="secure-password-123",
        )["json_schema_extra"],  # pyright: ignore[reportTypedDictNotRequiredAccess]
    )

    user_id: Annotated[str | None, Strict(), _at_most(MAX_USER)] = None
    name: Annotated[Text, AfterValidator(not_blank), _at_most(MAX_NAME)]
    cloud_provider: CloudProvider
    cloud_region: Annotated[Text, AfterValidator(_known_region)]
    cpu_cores: Annotated[int, Strict(), _between(1, lambda: settings().dev8_max_cores)]
    memory_gb: Annotated[int, Strict(), _between(1, lambda: settings().dev8_max_memory)]
    storage_gb: Annotated[int, Strict(), _between(10, lambda: settings().dev8_max_storage)]
    base_image: ShortText
    github_token: SecretText = None
    git_user_name: SecretText = None
    git_user_email: SecretText = None
    ssh_public_key: SecretText = None
    code_server_password: SecretText = None
    anthropic_api_key: SecretText = None
    openai_api_key: SecretText = None
    gemini_api_key: SecretText = None

    def secrets(self) -> dict[Secret, str]:
        """Return the secrets that were given, by the variable of the container."""
        given: dict[Secret, str | None] = {
            "GITHUB_TOKEN": self.github_token,
            "GIT_USER_NAME": self.git_user_name,
            "GIT_USER_EMAIL": self.git_user_email,
            "SSH_PUBLIC_KEY": self.ssh_public_key,
            "CODE_SERVER_PASSWORD": self.code_server_password,
            "ANTHROPIC_API_KEY": self.anthropic_api_key,
            "OPENAI_API_KEY": self.openai_api_key,
            "GEMINI_API_KEY": self.gemini_api_key,
        }
        return {name: value for name, value in given.items() if value}


class NamedEnvironment(RequestBody):
    """Names an environment by its id, for the routes without an id in the path; other members are ignored."""

    model_config = ConfigDict(alias_generator=camel)

    workspace_id: Text


class EnvironmentView(ResponseBody):
    """An environment; the address and the URL are "" unless it runs. `hourlyCost` is there when prices are set."""

    model_config = ConfigDict(alias_generator=camel, validate_by_name=True)

    id: str
    user_id: str
    name: str
    status: EnvironmentStatus
    cloud_provider: CloudProvider
    cloud_region: str
    aci_container_group_id: str
    aci_public_ip: str
    fqdn: str
    azure_file_share_name: str
    vs_code_url: str
    cpu_cores: int
    memory_gb: int
    storage_gb: int
    base_image: str
    hourly_cost: float | None = Field(None, exclude_if=lambda cost: cost is None)
    created_at: datetime
    updated_at: datetime
    last_accessed_at: datetime

    @classmethod
    def of(cls, environment: DevEnvironment) -> "EnvironmentView":
        """Return what clients see of a record."""
        return cls(
            **environment.model_dump(include=_SHOWN),
            aci_container_group_id=layout.group_id(environment),
            aci_public_ip=environment.ip,
            azure_file_share_name=environment.share,
            vs_code_url=layout.editor_url(environment),
            hourly_cost=_hourly_cost(environment),
        )


_SHOWN = {*EnvironmentView.model_fields} & {*DevEnvironment.model_fields}


def _hourly_cost(environment: DevEnvironment) -> float | None:
    config = settings()
    if not config.dev8_core_price and not config.dev8_memory_price:
        return None
    cost = environment.cpu_cores * config.dev8_core_price + environment.memory_gb * config.dev8_memory_price
    return round(cost, 4)


class Found(ResponseBody):
    """One environment."""

    environment: EnvironmentView


class Created(Found):
    """A new environment, whose container is being created."""

    message: str = "Environment created successfully"


class Listed(ResponseBody):
    """A page of environments, the newest first, and the number of all of them."""

    model_config = ConfigDict(alias_generator=camel, validate_by_name=True)

    environments: list[EnvironmentView]
    total: int
    page: int
    page_size: int


class Ordered(ResponseBody):
    """What was ordered of an environment."""

    message: str
    id: str


PageNumber = Annotated[int, Field(ge=1), Digits]
PageSize = Annotated[
    int,
    Field(ge=1, description=f"At most {MAX_PAGE_SIZE}; a larger number counts as {MAX_PAGE_SIZE}"),
    Digits,
    AfterValidator(lambda size: min(size, MAX_PAGE_SIZE)),
    Query(alias="pageSize"),
]


@routes.post("", status_code=201)
@options(max_body=MAX_BODY)
async def create_environment(body: NewEnvironment, caller: Caller, workflows: Workflows) -> Created:
    """Create an environment and answer at once; its status is CREATING until its editor can be opened."""
    given = body.model_dump(include={*NewEnvironment.model_fields} & _SHOWN - {"user_id"})
    new = DevEnvironment(user_id=caller.owner(body.user_id), **given)
    return Created(environment=EnvironmentView.of(await lifecycle.create(new, body.secrets(), workflows)))


@routes.get("")
async def list_environments(caller: Caller, page: PageNumber = 1, page_size: PageSize = 20) -> Listed:
    """List the caller's environments, the newest first; without a user, those of all users."""
    where = None if caller.user is None else {"user_id": caller.user}
    offset = min((page - 1) * page_size, MAX_OFFSET)
    found = await environments.page(where, limit=page_size, offset=offset)
    return Listed(
        environments=[EnvironmentView.of(each) for each in found.items],
        total=found.total,
        page=page,
        page_size=page_size,
    )


@routes.get("/{environment_id}")
async def get_environment(environment_id: str, caller: Caller) -> Found:
    """Get an environment."""
    with existing(environment_id):
        environment = await environments.get(environment_id)
    caller.check(environment)
    return Found(environment=EnvironmentView.of(environment))


@routes.post("/{environment_id}/start")
async def start_environment(environment_id: str, caller: Caller, workflows: Workflows) -> Ordered:
    """Start a stopped environment; its status is STARTING until its editor can be opened."""
    return await _start(environment_id, caller, workflows)


@routes.post("/{environment_id}/stop")
async def stop_environment(environment_id: str, caller: Caller, workflows: Workflows) -> Ordered:
    """Stop a running environment; its files stay."""
    return await _stop(environment_id, caller, workflows)


@routes.delete("/{environment_id}")
async def delete_environment(environment_id: str, caller: Caller, workflows: Workflows) -> Ordered:
    """Delete an environment in any status, with its container and all its files."""
    return await _delete(environment_id, caller, workflows)


NamedBody = Annotated[NamedEnvironment, Body()]


@routes.post("/start")
@options(max_body=MAX_BODY)
async def start_named_environment(body: NamedBody, caller: Caller, workflows: Workflows) -> Ordered:
    """Start a stopped environment that the body names."""
    return await _start(body.workspace_id, caller, workflows)


@routes.post("/stop")
@options(max_body=MAX_BODY)
async def stop_named_environment(body: NamedBody, caller: Caller, workflows: Workflows) -> Ordered:
    """Stop a running environment that the body names."""
    return await _stop(body.workspace_id, caller, workflows)


@routes.delete("")
@options(max_body=MAX_BODY)
async def delete_named_environment(body: NamedBody, caller: Caller, workflows: Workflows) -> Ordered:
    """Delete an environment that the body names, with its container and all its files."""
    return await _delete(body.workspace_id, caller, workflows)


async def _start(environment_id: str, caller: Identity, workflows: Workflows) -> Ordered:
    with existing(environment_id):
        await lifecycle.start(environment_id, workflows, caller.check)
    return Ordered(message="Environment started successfully", id=environment_id)


async def _stop(environment_id: str, caller: Identity, workflows: Workflows) -> Ordered:
    with existing(environment_id):
        await lifecycle.stop(environment_id, workflows, caller.check)
    return Ordered(message="Environment stopped successfully", id=environment_id)


async def _delete(environment_id: str, caller: Identity, workflows: Workflows) -> Ordered:
    with existing(environment_id):
        await lifecycle.delete(environment_id, workflows, caller.check)
    return Ordered(message="Environment deleted successfully", id=environment_id)
