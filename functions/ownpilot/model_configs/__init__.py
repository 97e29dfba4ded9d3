"""The merged view of all models, and what a person changes of them."""

from typing import Annotated

import orjson
from fastapi import Query, Request, Response
from pydantic import BeforeValidator

from functions.ownpilot.core.catalogue import rows
from functions.ownpilot.core.catalogue.facts import CAPABILITIES, Capability
from functions.ownpilot.core.catalogue.resolve import model_of, provider_of, view_of
from functions.ownpilot.core.catalogue.rows import ModelRow
from functions.ownpilot.core.catalogue.shapes import ALL, Switch
from functions.ownpilot.core.catalogue.view import MergedModel, MergedProvider
from functions.ownpilot.core.envelope import beside_data, encoded
from functions.ownpilot.core.local_store import switch_model
from functions.ownpilot.core.owner import Owner, routes_for
from functions.ownpilot.model_configs.bodies import (
    CapabilityShown,
    DeletedConfig,
    ModelChange,
    ModelRowShown,
    NewModel,
    SwitchedConfig,
    model_row,
    switched,
)
from shared.http.errors import BadRequest, NotFound
from shared.http.paging import Limit, Offset
from shared.http.shapes import EMPTY_IS_ABSENT

routes = routes_for("model-configs")


@routes.get("", response_model=list[MergedModel])
async def list_model_configs(
    request: Request,
    owner: Owner,
    provider: str | None = None,
    capability: Annotated[Capability | None, EMPTY_IS_ABSENT, Query()] = None,
    enabled: Annotated[bool, BeforeValidator(lambda given: given or False), Query()] = False,
    limit: Limit = ALL,
    offset: Offset = 0,
) -> Response:
    """All models, those of providers with a key first; all of them unless `limit` is given."""
    found = [each for each in (await view_of(owner.id)).listed() if not provider or each.id == provider]
    if capability is None and not enabled and limit == ALL and not offset:
        beside_data(request, count=sum(len(each.models) for each in found))
        return encoded(b"[" + b",".join(each.encoded for each in found if each.models) + b"]")
    models = [
        model
        for each in found
        for model in each.models.values()
        if (capability is None or capability in model["capabilities"]) and (model["isEnabled"] or not enabled)
    ]
    beside_data(request, count=len(models))
    return encoded(orjson.dumps(models[offset : offset + limit]))


@routes.post("", status_code=201, response_model_exclude_none=True)
async def create_model_config(body: NewModel, owner: Owner) -> ModelRowShown:
    """Add a model of your own, or change one that exists."""
    provider = await provider_of(owner.id, body.provider_id)
    return await _change(owner.id, provider, body.model_id, body, is_custom=True)


@routes.get("/capabilities/list")
async def list_capabilities(owner: Owner) -> list[CapabilityShown]:
    """What models can do."""
    return [CapabilityShown(id=id_, name=name, description=about) for id_, (name, about) in CAPABILITIES.items()]


@routes.get("/{provider}", response_model=list[MergedModel])
async def list_model_configs_of_provider(
    request: Request, provider: str, owner: Owner, limit: Limit = ALL, offset: Offset = 0
) -> Response:
    """The models of one provider; all of them unless `limit` is given."""
    models = [*(await provider_of(owner.id, provider)).models.values()]
    beside_data(request, count=len(models))
    return encoded(orjson.dumps(models[offset : offset + limit]))


@routes.get("/{provider}/{model}", response_model=MergedModel)
async def get_model_config(provider: str, model: str, owner: Owner) -> MergedModel:
    """One model."""
    return (await model_of(owner.id, provider, model))[1]


@routes.put("/{provider}/{model}", response_model_exclude_none=True)
async def update_model_config(provider: str, model: str, body: ModelChange, owner: Owner) -> ModelRowShown:
    """Change the given members of a model."""
    return await _change(owner.id, (await model_of(owner.id, provider, model))[0], model, body)


@routes.delete("/{provider}/{model}")
async def delete_model_config(request: Request, provider: str, model: str, owner: Owner) -> DeletedConfig:
    """Delete a model of your own, or what you have changed of another one."""
    found = (await model_of(owner.id, provider, model))[1]
    if not await rows.delete_model(owner.id, provider, model):
        if found["source"] == "custom":  # another request has just deleted it
            raise NotFound(f"There is no model {model[:100]}", code="MODEL_NOT_FOUND")
        raise BadRequest(f"{found['displayName']} is not yours, and you have changed nothing of it", code="NO_OVERRIDE")
    what = "The model" if found["source"] == "custom" else "What was changed of the model"
    shown = DeletedConfig(message=f"{what} was deleted")
    beside_data(request, message=shown.message)
    return shown


@routes.patch("/{provider}/{model}/toggle")
async def toggle_model_config(
    request: Request, provider: str, model: str, body: Switch, owner: Owner
) -> SwitchedConfig:
    """Use a model, or do not."""
    if (await model_of(owner.id, provider, model))[1]["source"] == "local":
        await switch_model(owner.id, provider, model, lambda _: body.enabled)
    else:
        await rows.change_model(owner.id, provider, model, lambda row: setattr(row, "is_enabled", body.enabled))
    shown = switched("model", body.enabled)
    beside_data(request, enabled=shown.enabled, message=shown.message)
    return shown


async def _change(
    owner: str, provider: MergedProvider, model: str, body: ModelChange, *, is_custom: bool = False
) -> ModelRowShown:
    members = {name: getattr(body, name) for name in body.model_fields_set & ModelChange.model_fields.keys()}

    def change(row: ModelRow) -> None:
        for name, value in members.items():
            setattr(row, name, value)
        row.is_custom = row.is_custom or is_custom

    row = await rows.change_model(owner, provider.id, model, change)
    known = provider.models.get(model)
    if known and known["source"] == "local" and "is_enabled" in members:
        await switch_model(owner, provider.id, model, lambda _: body.is_enabled)
    return model_row(row, (await model_of(owner, provider.id, model))[1])
