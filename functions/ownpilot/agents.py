"""Agents: who the assistant can be, each with a prompt, a model and tools."""

from typing import Annotated, Any

from fastapi import Response

from functions.ownpilot.chat.conversations import Conversation, Partner, restart
from functions.ownpilot.core.agent_store import Agent, stored_agents
from functions.ownpilot.core.agent_templates import TEMPLATES
from functions.ownpilot.core.audit_log import record_change
from functions.ownpilot.core.catalogue.resolve import ANY, provider_of, resolve
from functions.ownpilot.core.entry import Moment, Shown
from functions.ownpilot.core.owner import Owner, routes_for
from functions.ownpilot.tools.registry import names_for
from shared.http.conditions import IfMatch, show_version
from shared.http.errors import ApiError, BadRequest
from shared.http.paging import MAX_LIMIT, Paging, paging
from shared.http.resource import resource
from shared.http.shapes import Deleted

agents = resource(
    routes_for("agents"), stored_agents, Owner, required=("name", "system_prompt"), order=("created_at",), only=()
)
routes = agents.routes
NewAgent = agents.shapes.new
AgentPatch = agents.shapes.patch


class AgentSummary(Shown):
    """An agent in a list; `tools` are all of its tools, with those of its groups."""

    id: str
    name: str
    provider: str
    model: str
    tools: list[str]
    created_at: Moment
    updated_at: Moment


class AgentConfig(Shown):
    """How an agent answers, and which tools and groups of tools it was given."""

    max_tokens: int
    temperature: float
    max_turns: int
    max_tool_calls: int
    tools: list[str]
    tool_groups: list[str]


class AgentShown(AgentSummary):
    """An agent with all that it is."""

    system_prompt: str
    config: AgentConfig


class AgentReset(Shown):
    """The conversation that an agent has from now on."""

    conversation_id: str


class Resynced(Shown):
    """How many default agents were changed and made; `total` is the number of all that there are."""

    updated: int
    created: int
    total: int
    errors: list[str]


async def _members(owner: str, agent: Agent) -> dict[str, Any]:
    return {**dict(agent), "tools": await names_for(owner, agent)}


async def _shown(owner: str, agent: Agent) -> AgentShown:
    return AgentShown.model_validate({**await _members(owner, agent), "config": AgentConfig.model_validate(agent)})


@routes.get("")
async def list_agents(owner: Owner, paging: Annotated[Paging, paging(MAX_LIMIT)]) -> list[AgentSummary]:
    """The agents, the oldest first."""
    page = await agents.list(owner.id, limit=paging.limit, offset=paging.offset, cursor=paging.cursor)
    paging.link(page)
    return [AgentSummary.model_validate(await _members(owner.id, agent)) for agent in page.items]


@routes.post("", status_code=201)
async def create_agent(body: NewAgent, owner: Owner, response: Response) -> AgentShown:
    """Make an agent."""
    agent = await agents.create(owner.id, body)
    await record_change(owner, "agent", agent.id, "create")
    show_version(response, agent)
    return await _shown(owner.id, agent)


@routes.post("/resync")
async def resync_agents(owner: Owner) -> Resynced:
    """Make the default agents that are missing, and give the others the members of their templates again."""
    created = 0
    own = stored_agents.of(owner.id)
    for template, members in TEMPLATES.items():
        made = Agent(user_id=owner.id, template=template, **members)

        def follow(stored: Agent, members: dict[str, Any] = members) -> None:
            for name, value in members.items():
                setattr(stored, name, value)

        stored = await own.put("template", template, follow, lambda made=made: made)
        created += stored.id == made.id
    await record_change(owner, "agent", "templates", "resync")
    return Resynced(updated=len(TEMPLATES) - created, created=created, total=len(TEMPLATES), errors=[])


@routes.get("/{agent_id}")
async def get_agent(agent_id: str, owner: Owner, response: Response) -> AgentShown:
    """One agent."""
    agent = await agents.get(owner.id, agent_id)
    show_version(response, agent)
    return await _shown(owner.id, agent)


@routes.patch("/{agent_id}")
async def update_agent(
    agent_id: str, body: AgentPatch, owner: Owner, if_match: IfMatch, response: Response
) -> AgentShown:
    """Change the given members of an agent. Its provider must have a key, unless it is `default`."""
    provider: str | None = body.provider if "provider" in body.model_fields_set else None
    if provider is not None and provider not in ANY:
        await _check_provider(owner.id, provider)
    agent = await agents.change(owner.id, agent_id, body, if_match=if_match)
    await record_change(owner, "agent", agent.id, "update")
    show_version(response, agent)
    return await _shown(owner.id, agent)


async def _check_provider(owner: str, provider_id: str) -> None:
    """`BadRequest` for a provider that cannot be called."""
    provider = await provider_of(owner, provider_id)
    if not provider.is_configured:
        raise BadRequest(f"The provider {provider.name} has no API key: set it first", code="NO_API_KEY")


@routes.delete("/{agent_id}")
async def delete_agent(agent_id: str, owner: Owner) -> Deleted:
    """Delete an agent. Conversations with it stay, and go on without tools."""
    await agents.delete(owner.id, agent_id)
    await record_change(owner, "agent", agent_id, "delete")
    return Deleted()


@routes.post("/{agent_id}/reset")
async def reset_agent(agent_id: str, owner: Owner) -> AgentReset:
    """Begin a new conversation with an agent. It needs no provider."""
    agent = await agents.get(owner.id, agent_id)
    try:
        target = await resolve(owner.id, agent.provider, agent.model)
        partner = Partner(target.provider, target.model["modelId"], agent.id)
    except ApiError:  # nothing can be asked at present
        partner = None
    new = Conversation(
        user_id=owner.id, agent_id=agent.id, agent_name=agent.name, system_prompt=agent.system_prompt,
        provider=partner.provider if partner else agent.provider, model=partner.model if partner else agent.model,
    )  # fmt: skip
    await restart(owner.id, partner, new)
    return AgentReset(conversation_id=new.id)
