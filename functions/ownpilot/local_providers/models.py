"""The models of a local provider."""

from typing import Annotated

from functions.ownpilot.core import local_store as store
from functions.ownpilot.core.owner import Owner, routes_for
from functions.ownpilot.local_providers.bodies import (
    LocalModelShown,
    LocalSwitch,
    ModelSwitched,
    NewLocalModel,
    model_shown,
)
from shared import tables
from shared.http.errors import Conflict
from shared.http.paging import MAX_LIMIT, Paging, paging
from shared.http.shapes import Deleted

routes = routes_for("local-providers/{local_provider_id}/models")


@routes.get("")
async def list_local_models(
    local_provider_id: str, owner: Owner, paging: Annotated[Paging, paging(MAX_LIMIT)]
) -> list[LocalModelShown]:
    """The models of a local provider, by name."""
    provider = await store.local_providers.of(owner.id).get(local_provider_id)
    page = await store.local_models.of(owner.id).page(
        {"local_provider_id": provider.id}, order=("display_name", "model_id"), limit=paging.limit,
        offset=paging.offset, cursor=paging.cursor,
    )  # fmt: skip
    paging.link(page)
    return [*map(model_shown, page.items)]


@routes.post("", status_code=201)
async def create_local_model(local_provider_id: str, body: NewLocalModel, owner: Owner) -> LocalModelShown:
    """Add a model by hand. A model that the provider has already is a conflict."""
    provider = await store.local_providers.of(owner.id).get(local_provider_id)
    await store.check_room(owner.id)
    try:
        model = await store.add_model(
            provider, **{**body.model_dump(), "display_name": body.display_name or body.model_id}
        )
    except tables.RecordConflict as error:
        raise Conflict(f"{provider.name} has the model {body.model_id} already") from error
    return model_shown(model)


@routes.patch("/{model_id}/toggle")
async def toggle_local_model(local_provider_id: str, model_id: str, body: LocalSwitch, owner: Owner) -> ModelSwitched:
    """Enable or disable a model, which `model_id` names by its id at the provider or by that of its record."""
    model = await store.switch_model(owner.id, local_provider_id, model_id, body.of)
    word = "enabled" if model.is_enabled else "disabled"
    return ModelSwitched(enabled=model.is_enabled, message=f"{model.display_name} is {word}")


@routes.delete("/{model_id}")
async def delete_local_model(local_provider_id: str, model_id: str, owner: Owner) -> Deleted:
    """Delete a model, which `model_id` names by its id at the provider or by that of its record."""
    model = await store.find_model(owner.id, local_provider_id, model_id)
    await store.local_models.of(owner.id).delete(model.id)
    return Deleted()
