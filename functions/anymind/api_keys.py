"""API keys: made, listed and revoked by their user, who shows a token for it."""

from functions.anymind.access import RecordId, TokenUser, forget_key
from functions.anymind.bodies import Moment, Name
from functions.anymind.records import ApiKey
from functions.anymind.store import api_keys
from shared import tables
from shared.api_keys import new_key
from shared.http.bodies import RequestBody, ResponseBody, example
from shared.http.errors import NotFound
from shared.http.routes import options, router

PREFIX = "anymind_"
SHOWN = 12
"""Characters of a key that its list shows."""

routes = router("/api/v1/api-keys", "api-keys")


class NewApiKey(RequestBody):
    """The name of a new key."""

    model_config = example(name="My CLI Key")

    name: Name


class ApiKeyCreated(ResponseBody):
    """A new key; only this response shows it."""

    id: int
    key: str
    key_prefix: str
    name: str
    created_at: Moment


class ApiKeyShown(ResponseBody):
    """A key without its text."""

    id: int
    key_prefix: str
    name: str
    is_active: bool
    last_used_at: Moment | None
    created_at: Moment


# Not idempotent: the response would have to be stored, and keys are never stored.
@routes.post("", status_code=201)
@options(idempotent=False)
async def create_api_key(body: NewApiKey, user: TokenUser) -> ApiKeyCreated:
    """Make an API key; only this response shows it."""
    key, hashed = new_key(PREFIX)
    made = await api_keys.insert(ApiKey(user_id=user.id, name=body.name, key_prefix=key[:SHOWN], key_hash=hashed))
    return ApiKeyCreated(
        id=int(made.id), key=key, key_prefix=made.key_prefix, name=made.name, created_at=made.created_at
    )


@routes.get("", response_model=list[ApiKeyShown])
async def list_api_keys(user: TokenUser) -> list[ApiKey]:
    """All keys of the user, newest first; revoked ones stay in the list."""
    return [key async for key in api_keys.all({"user_id": user.id})]


@routes.delete("/{api_key_id}", status_code=204)
async def revoke_api_key(api_key_id: RecordId, user: TokenUser) -> None:
    """Revoke a key; to revoke it again changes nothing."""

    def revoke(key: ApiKey) -> None:
        if key.user_id != user.id:
            raise NotFound("API key not found")
        key.is_active = False

    try:
        forget_key(await api_keys.update(str(api_key_id), revoke))
    except tables.RecordNotFound:
        raise NotFound("API key not found") from None
