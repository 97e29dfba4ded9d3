"""Searching memories: by words, with room for a second ranking such as one by meaning."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

DAMPING = 60
"""What is added to each place before it is inverted: the usual value for merging rankings by reciprocal ranks."""


class Searched(Protocol):
    """What a search looks at."""

    id: str
    content: str
    tags: list[str]
    importance: float
    accessed_at: datetime | None
    created_at: datetime


S = TypeVar("S", bound=Searched)


def folded(text: str) -> str:
    """Return a text as it is compared: without regard to case and to the amount of white space."""
    return " ".join(text.casefold().split())


def ranked(memories: Iterable[S], query: str, second: Sequence[str] = ()) -> list[S]:
    """Return the memories that match a query, the best first.

    A memory matches when its content or its tags contain every word of the query, also within longer words. Those that
    contain the whole query come first. Then count: how many of the words stand in the order of the query, importance,
    and the last access.

    `second` are ids of memories from another search, the best first: they match as well, and both rankings are merged
    by reciprocal ranks. Those that contain the whole query still come first.
    """
    phrase = folded(query)
    words = [*dict.fromkeys(phrase.split())]
    known = {memory.id: memory for memory in memories}
    whole: set[str] = set()
    scores: dict[str, tuple[bool, int, float, datetime]] = {}
    for memory in known.values():
        text = "\n".join(map(folded, (memory.content, *memory.tags)))
        if all(word in text for word in words):
            if phrase in text:
                whole.add(memory.id)
            last = memory.accessed_at or memory.created_at
            scores[memory.id] = phrase in text, _in_order(text, words), memory.importance, last
    first = sorted(scores, key=scores.__getitem__, reverse=True)
    both = merged(first, [each for each in second if each in known])
    return [known[each] for each in sorted(both, key=lambda each: each not in whole)]


def merged(*rankings: Sequence[str]) -> list[str]:
    """Merge rankings of ids, the best first, by the sum of their reciprocal ranks."""
    scores: defaultdict[str, float] = defaultdict(float)
    for ranking in rankings:
        for place, each in enumerate(ranking, 1):
            scores[each] += 1 / (DAMPING + place)
    return sorted(scores, key=scores.__getitem__, reverse=True)


def _in_order(text: str, words: Sequence[str]) -> int:
    """Return how many of the words are found one behind the other."""
    found = end = 0
    for word in words:
        place = text.find(word, end)
        if place >= 0:
            found, end = found + 1, place + len(word)
    return found
