"""Memories by meaning: their vectors, how these are brought up to date, and which of them are near to a query."""

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from heapq import nlargest
from typing import Protocol

from functions.ownpilot.core import settings_store, vector_store
from functions.ownpilot.core.budget import check_budget
from functions.ownpilot.core.catalogue.resolve import Target, resolve
from functions.ownpilot.core.llm.embedding import AT_ONCE as BATCH
from functions.ownpilot.core.llm.embedding import embedded
from functions.ownpilot.core.llm.vocabulary import ModelError, ModelRefused
from functions.ownpilot.core.prices import price_in
from functions.ownpilot.core.usage import record_usage
from functions.ownpilot.core.vector_store import KnownVector, MemoryVector
from functions.ownpilot.core.vectors import Vector, nearest, packed, vector_of
from shared.deferred import defer
from shared.http.errors import ApiError, BadRequest, TooManyRequests
from shared.recent import RecentValues

log = logging.getLogger(__name__)

SETTING = "embedding_model"
"""The setting of a person that names the model, such as `openai/text-embedding-3-small`. Without it there is none."""

MOST_COMPARED = 20_000
"""Memories whose vectors are compared with a query; of more than that, the most important ones."""

NEAREST = 20
"""Memories that a search by meaning finds at most."""

LEAST = 0.3
"""The cosine from which on a memory counts as one that a query means."""

QUERY_SECONDS = 5
"""How long a search waits for the vector of its query."""

AT_ONCE = 500
"""Memories that one run of the workflow brings up to date."""

GATHER = 2
"""Seconds in which writes lead to one run of the workflow."""

PROBE = "memory"
"""A text that every model takes: one that refuses it refuses all texts."""

_OF_TEXTS = {400, 413, 422}
_FINAL = {401, 402, 403, 404, *_OF_TEXTS}


class Meant(Protocol):
    """What has a meaning: its fingerprint is another one when its content is."""

    id: str
    content: str
    fingerprint: str
    importance: float
    created_at: datetime


_queries: RecentValues[tuple[str, str, str], Vector] = RecentValues(seconds=300, most=500)


async def model_name(owner: str) -> str | None:
    """Return the name of the model of a person, None without one; may be 5 s old. 1 query, or none."""
    name = settings_store.text(await settings_store.recent(owner), SETTING)
    return name.strip() if name and name.strip() else None


async def are_written(owner: str) -> None:
    """Have the vectors brought up to date, soon after a memory was written. Its failure is made good by a search."""
    try:
        if await model_name(owner) is not None:
            item = f"{owner} {int(time.time() / GATHER)}"
            await defer("ownpilot.embed_memories", {"user": owner}, item_id=item, delay=GATHER + 1)
    except Exception:  # the memory is stored, so the caller must not be told that it is not
        log.exception("the vectors of a memory are made later")


async def nearest_memories(owner: str, query: str, memories: Sequence[Meant]) -> list[str]:
    """Return the ids of the memories that are nearest in meaning to a query, the nearest first; none without a model.

    When the model cannot be asked, none either. Memories whose vectors are missing or old are left out, and brought up
    to date soon. 1 query for the settings, or none; with a model 1 point read, and 1 query for each 1,000 vectors when
    one was written since this instance read them.
    """
    name = await model_name(owner)
    if name is None or not memories or not query.strip():
        return []
    own, wanted = await asyncio.gather(vector_store.current(owner), _query_vector(owner, name, query))
    chosen = memories
    if len(memories) > MOST_COMPARED:
        chosen = nlargest(MOST_COMPARED, memories, key=lambda each: each.importance)
    known = {each.id: own[each.id].vector for each in chosen if _is_current(own.get(each.id), each, name)}
    if len(known) < len(chosen):
        await are_written(owner)
    if wanted is None:
        return []
    return await asyncio.to_thread(nearest, wanted, known, most=NEAREST, least=LEAST)


def notice(owner: str) -> str | None:
    """Return what is to be said of a search just made, if it did not compare the vectors of all memories."""
    if vector_store.count(owner) <= MOST_COMPARED:
        return None
    return f"By meaning, only the {MOST_COMPARED:,} most important memories were compared"


async def refresh(owner: str, memories: Iterable[Meant]) -> bool:
    """Make the vectors that are missing or old, delete those without a memory; return whether more are to be made.

    `ModelError` when the model cannot be asked now; what it refuses for good is logged.
    """
    name = await model_name(owner)
    way = await _way(owner, name) if name else None
    if name is None or way is None:
        return False
    own, all_memories = await vector_store.read(owner), {each.id: each for each in memories}
    old = [each for each in all_memories.values() if not _is_current(own.get(each.id), each, name)]
    gone = [each for each in own if each not in all_memories]
    if gone:
        await vector_store.write(owner, [], gone)
    part = old[:AT_ONCE]
    try:
        for first in range(0, len(part), BATCH):
            await vector_store.write(owner, await _made(owner, way, name, part[first : first + BATCH]), [])
    except (ModelRefused, TooManyRequests) as error:
        if isinstance(error, ModelRefused) and error.status not in _FINAL:
            raise
        log.warning("no vectors are made now: %s", error)
        return False
    return len(old) > len(part)


async def _made(
    owner: str, way: Target, name: str, part: Sequence[Meant], *, is_probed: bool = False
) -> list[MemoryVector]:
    """Return the vectors of memories; one whose text the model refuses gets one that is near to nothing.

    Such a text is found by halving, once the model has taken another text. `ModelError`, `TooManyRequests`.
    """
    try:
        found = await _embed(owner, way, [each.content for each in part])
    except ModelRefused as error:
        if error.status not in _OF_TEXTS:
            raise
        if not is_probed:
            await _embed(owner, way, [PROBE])
        if len(part) > 1:
            middle = len(part) // 2
            halves = part[:middle], part[middle:]
            return [each for half in halves for each in await _made(owner, way, name, half, is_probed=True)]
        log.warning("the memory %s is not found by meaning: %s", part[0].id, error)
        found = [[0.0]]
    return [
        MemoryVector(
            id=each.id, created_at=each.created_at, user_id=owner, model=name, fingerprint=each.fingerprint,
            vector=packed(vector_of(values)),
        )
        for each, values in zip(part, found, strict=True)
    ]  # fmt: skip


def _is_current(known: KnownVector | None, memory: Meant, model: str) -> bool:
    return known is not None and known.model == model and known.fingerprint == memory.fingerprint


async def _query_vector(owner: str, name: str, query: str) -> Vector | None:
    """Return the vector of a query; None when the model cannot be asked, or the budget is spent."""

    async def ask() -> Vector:
        way = await _way(owner, name)
        if way is None:
            raise ModelError("the model of vectors cannot be called")
        async with asyncio.timeout(QUERY_SECONDS):
            [values] = await _embed(owner, way, [query])
        return vector_of(values)

    try:
        return await _queries.get((owner, name, query), ask)
    except (ModelError, ApiError, TimeoutError) as error:
        log.warning("a search goes by words only: %s", error)
        return None


async def _way(owner: str, name: str) -> Target | None:
    provider, _, model = name.partition("/")
    try:
        if not provider or not model:
            raise BadRequest(f"{SETTING} is the id of a provider, a slash, and the id of a model")
        return await resolve(owner, provider, model)
    except ApiError as error:
        log.warning("the model of vectors cannot be called: %s", error)
        return None


async def _embed(owner: str, way: Target, texts: Sequence[str]) -> list[list[float]]:
    """Ask for vectors, and write down what was used. `TooManyRequests` when the budget is spent."""
    await check_budget(owner)
    start, tokens, problem = time.monotonic(), 0, "it took too long"
    try:
        found = await embedded(way, texts)
        tokens, problem = found.tokens, None
        return found.vectors
    except ModelError as error:
        problem = error.message
        raise
    finally:
        await record_usage(
            owner, way.provider, way.model["modelId"], price=price_in(way.model), input_tokens=tokens,
            latency_ms=(time.monotonic() - start) * 1000, request_type="embedding", error=problem,
        )  # fmt: skip
