"""Members of a request that some servers refuse: asked again without them, and not sent to that model any more."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

_MOST = 1000


class _Refusable(NamedTuple):
    """A member that may be refused, the words by which a refusal is known, and the member to send instead."""

    name: str
    words: re.Pattern[bytes]
    instead: str | None = None


_TEMPERATURE = re.compile(
    rb"temperature[^.]{0,60}(?:not support|unsupported|deprecated)|unsupported[^.]{0,40}temperature", re.IGNORECASE
)
"""Not the refusal of a value out of range: that one is the caller's to know."""

_REFUSABLE = (
    _Refusable("stream_options", re.compile(rb"stream_options|include_usage")),
    _Refusable("max_tokens", re.compile(rb"max_completion_tokens"), "max_completion_tokens"),
    _Refusable("temperature", _TEMPERATURE),
    _Refusable("dimensions", re.compile(rb"dimensions|matryoshka", re.IGNORECASE)),
)

_known: dict[tuple[str, str], frozenset[str]] = {}
"""What is not sent, by address and model, as this instance has learnt."""


class Adapted:
    """The request to one model, without what its server is known to refuse."""

    def __init__(self, url: str, body: Mapping[str, Any]):
        self._key = url, str(body.get("model"))
        self._asked = body
        self._without = _known.get(self._key, frozenset())

    @property
    def body(self) -> dict[str, Any]:
        """The request to send."""
        made = dict(self._asked)
        for each in _REFUSABLE:
            if each.name in self._without and each.name in made:
                value = made.pop(each.name)
                if each.instead:
                    made[each.instead] = value
        return made

    def learn(self, status: int, refusal: bytes) -> bool:
        """Whether a refusal names something that can be left out, so that asking again may help."""
        if status not in (400, 422):
            return False
        for each in _REFUSABLE:
            if each.name in self.body and each.words.search(refusal):
                self._without |= {each.name}
                return True
        return False

    def worked(self) -> None:
        """Remember what was left out, after an answer."""
        if self._without and _known.get(self._key) != self._without:
            if len(_known) >= _MOST:
                _known.clear()
            _known[self._key] = self._without
