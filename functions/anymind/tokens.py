"""Access tokens: JSON Web Tokens that name a user for half an hour."""

from datetime import UTC, datetime, timedelta

from shared.settings import LOCAL_SECRET_KEYS, settings

LIFETIME = timedelta(minutes=30)
ALGORITHM = "HS256"
MIN_KEY = 32
"""Characters that a signing key has at least."""


class SigningNotConfigured(RuntimeError):
    """`ANYMIND_SECRET_KEYS` does not hold keys that protect anything."""


def issue(user_id: str) -> str:
    """Return a token of this user, signed with the first key. `SigningNotConfigured`."""
    import jwt

    return jwt.encode({"sub": user_id, "exp": datetime.now(UTC) + LIFETIME}, _keys()[0], ALGORITHM)


def user_of(token: str) -> str | None:
    """Return the id of the user whom a token names, None for a token that is not valid. `SigningNotConfigured`."""
    import jwt

    for key in _keys():
        try:
            claims = jwt.decode(token, key, [ALGORITHM], options={"require": ["sub", "exp"]})
        except (jwt.InvalidTokenError, ValueError):
            continue
        return claims["sub"]
    return None


def _keys() -> list[str]:
    """The keys, the one that signs first. No error shows a part of one."""
    config = settings()
    keys = [key.strip() for key in config.anymind_secret_keys.split(",")]
    if min(map(len, keys)) < MIN_KEY:
        raise SigningNotConfigured(f"each key of ANYMIND_SECRET_KEYS needs {MIN_KEY} characters")
    if config.is_deployed and LOCAL_SECRET_KEYS in keys:
        raise SigningNotConfigured("ANYMIND_SECRET_KEYS holds the published key, which is good for laptops only")
    return keys
