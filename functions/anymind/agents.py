"""Agents: made, listed, changed and deleted by their user."""

from typing import Annotated

from fastapi import Body, Response

from functions.anymind.access import CurrentUser, RecordId, owned_agent
from functions.anymind.bodies import ListPart, Moment, Name
from functions.anymind.deletion import WORKFLOW, workflow_id
from functions.anymind.records import Agent, AgentStatus
from functions.anymind.store import agents
from shared.http.bodies import RequestBody, ResponseBody, example
from shared.http.conditions import IfMatch, show_version
from shared.http.errors import NotFound
from shared.http.json import Text
from shared.http.routes import router
from shared.workflows import Workflows

routes = router("/api/v1/agents", "agents")


class NewAgent(RequestBody):
    """A new agent; a user may have several of one name."""

    model_config = example(name="my-agent", description="My AI agent")

    name: Name
    description: Text | None = None


class AgentChange(RequestBody):
    """The members to change; a description of null removes it."""

    model_config = example(description="Updated description")

    name: Name = ""
    description: Text | None = None
    status: AgentStatus = AgentStatus.DRAFT


class AgentShown(ResponseBody):
    """An agent; `current_version_id` is the newest version whose build succeeded."""

    id: int
    name: str
    description: str | None
    user_id: int
    status: AgentStatus
    current_version_id: int | None
    created_at: Moment
    updated_at: Moment


@routes.post("", status_code=201, response_model=AgentShown)
async def create_agent(body: NewAgent, user: CurrentUser) -> Agent:
    """Make an agent, a draft until an archive is uploaded."""
    return await agents.insert(Agent(user_id=user.id, name=body.name, description=body.description))


@routes.get("", response_model=list[AgentShown])
async def list_agents(user: CurrentUser, part: ListPart) -> list[Agent]:
    """The user's agents, oldest first."""
    return await part.of(agents, {"user_id": user.id, "deleted": False})


@routes.get("/{agent_id}", response_model=AgentShown)
async def get_agent(agent_id: RecordId, user: CurrentUser, response: Response) -> Agent:
    """One agent; while its archive is built, its status is `building`."""
    agent = await owned_agent(user, agent_id)
    show_version(response, agent)
    return agent


@routes.patch("/{agent_id}", response_model=AgentShown)
async def update_agent(
    agent_id: RecordId,
    user: CurrentUser,
    response: Response,
    if_match: IfMatch,
    body: Annotated[AgentChange, Body(default_factory=AgentChange)],
) -> Agent:
    """Change the members of an agent that the body has."""

    def change(agent: Agent) -> None:
        if agent.deleted:  # since it was read
            raise NotFound("Agent not found")
        for name in body.model_fields_set:
            setattr(agent, name, getattr(body, name))

    agent = await agents.update(await owned_agent(user, agent_id), change, if_match=if_match)
    show_version(response, agent)
    return agent


@routes.delete("/{agent_id}", status_code=204)
async def delete_agent(agent_id: RecordId, user: CurrentUser, workflows: Workflows) -> None:
    """Delete an agent; its versions, files, executions and logs follow, and what runs is stopped."""

    def delete(agent: Agent) -> None:
        agent.deleted = True

    agent = await agents.update(await owned_agent(user, agent_id), delete)
    await workflows.start_now_or_later(WORKFLOW, workflow_id(agent.id), agent.id)
