"""Types of the parameters of tools that work on texts, and the bounds that keep their work and their results small."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated, ParamSpec, TypeVar

from pydantic import Field

from functions.ownpilot.core.tool_context import ToolError

P = ParamSpec("P")
R = TypeVar("R")

MAX_TEXT = 200_000
"""Characters of a text: reading it takes a fraction of a second, and a result would be cut at about as many."""

MAX_RESULT = 2_000_000
"""Characters that a tool makes at most."""

Text = Annotated[str, Field(max_length=MAX_TEXT)]
"""A text of at most 200,000 characters."""

Short = Annotated[str, Field(max_length=1000)]
"""A line, a name, a pattern."""

_threads = ThreadPoolExecutor(8, "tools")  # of its own: in the event loop's names of hosts are looked up

Number = Annotated[float, Field(allow_inf_nan=False)]


def check_size(characters: int) -> None:
    """`ToolError` when a result would have too many characters: to be called before it is made."""
    if characters > MAX_RESULT:
        raise ToolError(f"The result would have more than {MAX_RESULT} characters.")


async def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Return what a function returns that works long on a long text, while other requests go on."""
    return await asyncio.get_running_loop().run_in_executor(_threads, partial(function, *args, **kwargs))
