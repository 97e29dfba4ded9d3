"""Bounds on what parsing a request costs: members of JSON bodies and parameters of queries."""

import re
from json import JSONDecodeError
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request

from shared.http.errors import BadRequest

MAX_MEMBERS = 20_000
"""Members and elements of a JSON body, on all levels together, unless a route's options allow more."""

MAX_PARAMETERS = 1000
"""Parameters of a query."""

# A text without an end is one too; possessive, so that the time is linear.
_TEXTS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


class BoundedRequest(Request):
    """A request whose JSON body has at most `max_members` members and elements; more get 413."""

    max_members: int = MAX_MEMBERS

    async def with_body(self) -> "BoundedRequest":
        """Return this request or, when its body is absent, one with an empty JSON object as its body."""
        if await self.body():
            return self
        headers = [(name, value) for name, value in self.scope["headers"] if name != b"content-type"]
        request = BoundedRequest({**self.scope, "headers": [*headers, (b"content-type", b"application/json")]})
        request._body = b"{}"
        return request

    async def json(self) -> Any:
        """Parse the body."""
        body = await self.body()
        # Before parsing, as to parse and check hundreds of thousands of members takes seconds.
        if body.count(b",") >= self.max_members and has_more_members(body, self.max_members):
            # Not an ApiError: while it reads a body, FastAPI passes on HTTPException only.
            raise HTTPException(413, f"Body must not have more than {self.max_members} members and elements")
        try:
            return await super().json()
        except JSONDecodeError:  # FastAPI says where
            raise
        except UnicodeDecodeError as error:
            raise HTTPException(400, f"The body is not valid JSON: byte {error.start} is not UTF-8") from None
        except RecursionError:
            raise HTTPException(400, "The body is nested too deeply") from None
        except ValueError:
            raise HTTPException(400, "The body holds a number with too many digits") from None


def has_more_members(body: bytes, most: int) -> bool:
    """Whether JSON has more than `most` members: its commas without those in texts, and one."""
    commas = end = 0
    for texts, match in enumerate(_TEXTS.finditer(body)):
        commas += body.count(b",", end, match.start())
        end = match.end()
        if commas >= most or texts > 3 * most:  # each member has two texts at most
            return True
    return commas + body.count(b",", end) >= most


def check_query(query: bytes) -> None:
    """`BadRequest` for a query with more than `MAX_PARAMETERS` parameters."""
    if query.count(b"&") >= MAX_PARAMETERS:
        raise BadRequest(f"The query must not have more than {MAX_PARAMETERS} parameters")
