"""Agents as they are kept: who the assistant is in a conversation, and which tools it has there."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from functions.ownpilot.core.entry import Entry, NotBlank
from shared import tables
from shared.http.bodies import example
from shared.http.errors import NotFound
from shared.tables import Collection

MOST_TURNS = 25
"""Calls of the model for one message."""

MOST_TOOL_CALLS = 200
"""Calls of tools for one message."""

Names = Annotated[list[NotBlank], Field(max_length=200)]
Text = Annotated[str, Field(max_length=100_000)]


class Agent(Entry, prefix="agent_"):
    """Who the assistant is: provider and model may be `default`; `temperature` is from 0 to 2.

    Its tools are those of `tools`, and all of the categories in `tool_groups`. More turns or calls than the assistant
    makes for one message count as the most of them. `template` is the default agent that it was made from.
    """

    model_config = example(
        name="Code Assistant", systemPrompt="You help with code.", tools=["calculate"], toolGroups=["core"]
    )

    name: NotBlank
    system_prompt: Text
    provider: NotBlank = "default"
    model: NotBlank = "default"
    tools: Names = []
    tool_groups: Names = []
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 4096
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] = 0.7
    max_turns: Annotated[int, Field(ge=1), AfterValidator(lambda n: min(n, MOST_TURNS))] = MOST_TURNS
    max_tool_calls: Annotated[int, Field(ge=1), AfterValidator(lambda n: min(n, MOST_TOOL_CALLS))] = MOST_TOOL_CALLS
    template: Annotated[str | None, Field(exclude=True)] = None

    @property
    def has_own_tools(self) -> bool:
        """Whether it is held to tools of its own, also when their groups have no members now; otherwise it has all."""
        return bool(self.tools or self.tool_groups)


stored_agents = Collection("OwnpilotAgents", Agent, plain=True, unique=["template"])


async def agent_of(owner: str, agent_id: str) -> Agent:
    """Return an agent. `NotFound`."""
    try:
        return await stored_agents.of(owner).get(agent_id)
    except tables.RecordNotFound:
        raise NotFound(f"There is no agent {agent_id[:100]}") from None


def tools_of(agent: Agent, members: Sequence[str]) -> list[str]:
    """Return the names of an agent's tools: its own, then the members of its groups, each name once."""
    return [*dict.fromkeys([*agent.tools, *members])]
