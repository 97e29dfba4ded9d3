"""Users: register, log in, and see who one is."""

import re
from typing import Annotated

from fastapi import Depends, Request
from pydantic import AfterValidator, Field, StringConstraints

from functions.anymind import lockout, tokens
from functions.anymind.access import TokenUser
from functions.anymind.bodies import Name
from functions.anymind.passwords import NOBODYS_HASH, hash_password, is_password, turn
from functions.anymind.records import User, folded
from functions.anymind.store import users
from shared import tables
from shared.api_keys import registrar
from shared.http.bodies import RequestBody, ResponseBody, example
from shared.http.errors import BadRequest, Forbidden, Unauthorized
from shared.http.json import Text
from shared.http.ratelimit import address_of
from shared.http.routes import options, router

routes = router("/api/v1/auth", "auth")

_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
TAKEN = {"email_key": "Email already registered", "username_key": "Username already taken"}


def _is_email(text: str) -> str:
    if not _EMAIL.fullmatch(text):
        raise ValueError("must be an e-mail address")
    return text


Email = Annotated[
    str,
    StringConstraints(strict=True, max_length=254),
    AfterValidator(_is_email),
    Field(json_schema_extra={"format": "email"}),
]
Password = Annotated[Text, Field(min_length=1)]


class Registration(RequestBody):
    """A new user. E-mail address and user name must be those of no other user, without regard to case."""

    model_config = example(email="ada@example.com", username="ada", password="a long text", full_name="Ada")  # noqa: S106

    email: Email
    username: Name
    password: Password
    full_name: Text | None = None


class Login(RequestBody):
    """A user's name and password."""

    model_config = example(username="ada", password="a long text")  # noqa: S106

    username: Name
    password: Text


class UserShown(ResponseBody):
    """A user."""

    id: int
    email: str
    username: str
    full_name: str | None
    is_active: bool


class Token(ResponseBody):
    """A token for the header `Authorization: Bearer <token>`, valid for 30 minutes."""

    access_token: str
    token_type: str = "bearer"  # noqa: S105


# Not idempotent: an Idempotency-Key would store a plain hash of the body, which holds the password. A repeat gets 400.
@routes.post("/register", status_code=201, response_model=UserShown, dependencies=[Depends(registrar)])
@options(idempotent=False)
async def register(body: Registration, request: Request) -> User:
    """Register a user; while registration is closed, an administrator of this app does, by its own key."""
    async with turn(address_of(request)):
        password_hash = await hash_password(body.password)
    user = User(
        email=body.email,
        username=body.username,
        full_name=body.full_name,
        password_hash=password_hash,
        email_key=folded(body.email),
        username_key=folded(body.username),
    )
    try:
        return await users.insert(user)
    except tables.RecordConflict as error:
        raise BadRequest(TAKEN[error.field or ""]) from error


@routes.post("/login")
async def login(body: Login, request: Request) -> Token:
    """Log in by name and password; too many failures are followed by a pause."""
    name, address = folded(body.username), address_of(request)
    async with turn(address):  # also over the check: otherwise many attempts at once would all pass it
        await lockout.check(name, address)
        try:
            user = await users.find("username_key", name)
        except tables.RecordNotFound:
            user = None
        fits = await is_password(body.password, user.password_hash if user else NOBODYS_HASH)
        if user is None or not fits:
            await lockout.count_failure(name, address)
            raise Unauthorized("Incorrect username or password", headers={"WWW-Authenticate": "Bearer"})
    if not user.is_active:
        raise Forbidden("Inactive user")
    return Token(access_token=tokens.issue(user.id))


@routes.get("/me", response_model=UserShown)
async def get_me(user: TokenUser) -> User:
    """The user whom the token names."""
    return user
