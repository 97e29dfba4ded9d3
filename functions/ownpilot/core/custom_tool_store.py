"""Custom tools as they are kept: a name, a schema of arguments, the body of a JavaScript function, and its rights."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from functions.ownpilot.core.argument_schema import schema_of_arguments
from functions.ownpilot.core.entry import Entry, Given, Moment, NotBlank
from shared.http.bodies import example
from shared.recent import RecentValues
from shared.tables import Collection

MAX_CODE = 100_000
"""Characters of a tool's code."""

MAX_PERSON = 500
"""Tools that a person may have: the active ones are looked up with every message."""

FORBIDDEN = ("process.exit", "require(", "import(", "__dirname", "__filename", "global.", "globalThis.")
"""What code must not contain, in upper or lower case, with white space wherever JavaScript allows it."""

_FORBIDDEN = {
    each: re.compile(r"(?<![\w$])" + re.sub(r"(\\[.(])", r"\\s*\1\\s*", re.escape(each)), re.IGNORECASE)
    for each in FORBIDDEN
}


class ToolStatus(StrEnum):
    """Whether a tool can be used."""

    ACTIVE = "active"
    DISABLED = "disabled"
    PENDING = "pending_approval"
    REJECTED = "rejected"


class Permission(StrEnum):
    """What a tool asks for."""

    NETWORK = "network"
    FILESYSTEM = "filesystem"
    DATABASE = "database"
    SHELL = "shell"
    EMAIL = "email"
    SCHEDULING = "scheduling"


OUTSIDE = frozenset({Permission.NETWORK, Permission.FILESYSTEM, Permission.SHELL})
"""The permissions of which a tool needs a container."""

DANGEROUS = OUTSIDE | {Permission.EMAIL}
"""The permissions that a person must have approved when a model asks for them."""


def _allowed_code(code: str) -> str:
    for name, pattern in _FORBIDDEN.items():
        if pattern.search(code):
            raise ValueError(f"must not contain {name}")
    return code


class RequiredKey(Given):
    """A config service whose values a tool reads."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=100)]
    display_name: Annotated[str, StringConstraints(max_length=200)] | None = None
    description: Annotated[str, StringConstraints(max_length=2000)] | None = None
    category: Annotated[str, StringConstraints(max_length=200)] | None = None
    docs_url: Annotated[str, StringConstraints(max_length=2000, pattern=r"^https?://")] | None = None


RequiredKeys = Annotated[list[RequiredKey], Field(max_length=20)]
About = Annotated[str, StringConstraints(max_length=5000)]
ToolName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
Code = Annotated[str, StringConstraints(min_length=1, max_length=MAX_CODE), AfterValidator(_allowed_code)]
"""The body of a JavaScript function, which may be asynchronous."""


class CustomTool(Entry, prefix="tool_"):
    """A tool that a person or a model has made. `version` counts changes of code and parameters from 1.

    One of a model waits for approval, unless `requires_approval` is false and it asks for nothing dangerous.
    """

    model_config = example(
        name="format_phone", description="Format a phone number to international format",
        parameters={
            "type": "object", "required": ["phone"],
            "properties": {"phone": {"type": "string"}, "countryCode": {"type": "string", "default": "+1"}},
        },
        code="return `${args.countryCode}${args.phone.replace(/\\D/g, '')}`;", permissions=[],
    )  # fmt: skip

    name: ToolName
    description: About
    parameters: Annotated[dict[str, Any], AfterValidator(schema_of_arguments)]
    code: Code
    category: NotBlank | None = None
    status: ToolStatus = ToolStatus.ACTIVE
    permissions: Annotated[list[Permission], AfterValidator(lambda given: [*dict.fromkeys(given)])] = []
    requires_approval: bool | None = None
    created_by: Literal["user", "llm"] = "user"
    version: int = 1
    usage_count: int = 0
    last_used_at: Moment | None = None
    metadata: dict[str, Any] | None = None
    required_api_keys: RequiredKeys | None = None

    @property
    def must_wait(self) -> bool:
        """Whether a person must approve it as it is now."""
        is_dangerous = not DANGEROUS.isdisjoint(self.permissions)
        return self.created_by == "llm" and (bool(self.requires_approval) or is_dangerous)

    def settle(self) -> None:
        """Set what follows from who has made it."""
        if self.requires_approval is None:
            self.requires_approval = self.created_by == "llm"

    def count_use(self) -> None:
        """Count one run."""
        self.usage_count, self.last_used_at = self.usage_count + 1, datetime.now(UTC)


custom_tools = Collection("OwnpilotCustomTools", CustomTool, plain=True, unique=["name"])

_recent: RecentValues[str, Mapping[str, CustomTool]] = RecentValues(most=200)


async def active_tools(owner: str) -> Mapping[str, CustomTool]:
    """Return the active tools of a person by name, as they were at most 5 seconds ago. At most 1 query."""

    async def load() -> Mapping[str, CustomTool]:
        return {each.name: each async for each in custom_tools.of(owner).scan({"status": ToolStatus.ACTIVE})}

    return await _recent.get(owner, load)


def forget_active(owner: str) -> None:
    """Look the active tools of a person up again: some of them have changed."""
    _recent.forget(owner)
