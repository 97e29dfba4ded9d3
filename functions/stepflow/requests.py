"""Request bodies of the StepFlow API."""

import shlex
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, StringConstraints

from functions.stepflow.records import MAX_SECONDS, WORKSPACE, Execution

MAX_COMMAND = 1_000_000
MAX_ENVIRONMENT = 64 * 1024
"""Bytes of all variables together."""


def _one_command(given: object) -> object:
    """A list of words becomes one command, quoted where it must be."""
    if isinstance(given, list) and given and all(isinstance(word, str) for word in given):
        return shlex.join(given)
    return given


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    return text


def _environment(variables: dict[str, str]) -> dict[str, str]:
    for name, value in variables.items():
        if not name or "=" in name or "\0" in name + value:
            raise ValueError(f"{name!r} cannot be a variable")
    if sum(len(name.encode()) + len(value.encode()) for name, value in variables.items()) > MAX_ENVIRONMENT:
        raise ValueError(f"must have at most {MAX_ENVIRONMENT} bytes")
    return variables


Text = Annotated[str, StringConstraints(strict=True)]


class NewExecution(BaseModel):
    """A command to run in a shell; null stands for what is left out.

    `command` may be a list of words, `timeout` is in seconds. `environment` is shown as given: it is no place for
    secrets.
    """

    model_config = ConfigDict(extra="ignore", defer_build=True)

    command: Annotated[
        str,
        Field(strict=True, max_length=MAX_COMMAND),
        BeforeValidator(_one_command, json_schema_input_type=str | list[str]),
        AfterValidator(_not_blank),
    ]
    name: Text | None = None
    working_directory: Annotated[Text, Field(max_length=4096), AfterValidator(_no_nul)] | None = None
    environment: Annotated[dict[str, Text], AfterValidator(_environment)] | None = None
    tags: list[Text] | None = None
    metadata: dict[str, JsonValue] | None = None
    user: Annotated[str, StringConstraints(strict=True, max_length=200)] | None = None
    timeout: Annotated[int, Field(strict=True, ge=1, le=MAX_SECONDS)] | None = None

    def record(self, caller: str) -> Execution:
        """The execution that is asked for; `caller` is its user where the body names none."""
        return Execution(
            name=self.name or self.command,
            command=self.command,
            working_directory=self.working_directory or WORKSPACE,
            environment=self.environment or {},
            tags=self.tags or [],
            metadata=self.metadata or {},
            user=self.user or caller,
            timeout=self.timeout or MAX_SECONDS,
        )
