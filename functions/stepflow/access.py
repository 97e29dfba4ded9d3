"""Who calls: everybody, as `anonymous`."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request


@dataclass(frozen=True)
class Anybody:
    """A caller without a key."""

    id: str = ""
    name: str = "anonymous"


async def current_caller(request: Request) -> Anybody:
    """The caller."""
    return Anybody()


Caller = Annotated[Anybody, Depends(current_caller)]
"""Parameter type of a route that wants to know who calls."""


def routes_for(prefix: str, tag: str) -> APIRouter:
    """The routes of one resource, none of them open to who may not call."""
    return APIRouter(prefix=prefix, tags=[tag], dependencies=[Depends(current_caller)])
