"""What requests about tools send and receive."""

from typing import Annotated, Any

from pydantic import Field

from functions.ownpilot.core.entry import Given, Shown
from shared.http.bodies import example

MAX_BATCH = 50
"""Calls of one batch."""


class ToolShown(Shown):
    """A tool; `parameters` is the JSON schema of its arguments."""

    name: str
    description: str
    parameters: dict[str, Any]
    category: str
    source: str


class CategoryInfo(Shown):
    """What a page shows of a category."""

    icon: str
    description: str


class CategoryCount(CategoryInfo):
    """A category and the number of its tools."""

    count: int


class CategoryTools(Shown):
    """A category and its tools."""

    info: CategoryInfo
    tools: list[ToolShown]


class Grouped(Shown):
    """All tools by category."""

    categories: dict[str, CategoryTools]
    total_tools: int
    total_categories: int


class ToolSource(Shown):
    """A tool as its program text."""

    name: str
    source: str


class ToolArguments(Given):
    """The arguments of a call, by name."""

    model_config = example(arguments={})

    arguments: dict[str, Any] = {}


class ToolAnswer(Shown):
    """What a tool answered; `is_error` when it could not do what it was asked for. `duration` is in milliseconds."""

    tool: str
    result: str
    is_error: bool
    duration: float


class BatchItem(ToolArguments):
    """One call."""

    tool: str


class Batch(Given):
    """Calls, all at once or one after the other."""

    model_config = example(executions=[{"tool": "list_tasks", "arguments": {}}], parallel=True)

    executions: Annotated[list[BatchItem], Field(min_length=1, max_length=MAX_BATCH)]
    parallel: bool = True


class BatchRow(Shown):
    """What one call answered: `result`, or `error` when it failed."""

    tool: str
    success: bool
    result: str | None = None
    error: str | None = None
    is_error: bool
    duration: float


class BatchAnswer(Shown):
    """The answers in the order of the calls; `total_duration` is in milliseconds."""

    results: list[BatchRow]
    total_duration: float
    success_count: int
    failure_count: int
