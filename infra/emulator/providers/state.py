"""The models that the emulator offers, and the answers that a test has set in place of its own."""

from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from typing import Any

from aiohttp import web

from infra.emulator.providers.scripts import ScriptedFailure


@dataclass(frozen=True)
class OfferedModel:
    """One model: tokens of its context and of its longest answer, USD for a million tokens in and out."""

    id: str
    name: str
    context: int
    output: int
    prices: tuple[float, float]
    inputs: tuple[str, ...] = ("text",)
    reasoning: bool = False
    created: str = "2026-01-15"


MODELS = (
    OfferedModel("stand-in-small", "Stand-in Small", 16_000, 4_000, (0.1, 0.4)),
    OfferedModel("stand-in-large", "Stand-in Large", 200_000, 32_000, (2.5, 10), ("text", "image"), reasoning=True),
    OfferedModel("org/stand-in:7b", "Stand-in 7B", 32_000, 8_000, (0, 0)),
)

RATES = {"USD": "1.2", "GBP": "0.8", "JPY": "160", "CHF": "0.95"}
"""How much of each currency a euro is."""


@dataclass(frozen=True)
class SetAnswer:
    """What a path answers instead of what it would.

    `size` makes the body so many spaces longer; `pause` is how many seconds pass before the answer.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    text: str = ""
    size: int = 0
    pause: float = 0


@dataclass
class ModelRequest:
    """A request for an answer of a model; `end`: whole, refused, broken by the script, or left by the client."""

    path: str
    body: dict[str, Any]
    end: str | None = None

    def shown(self) -> dict[str, Any]:
        """Its members."""
        return asdict(self)


class ProvidersState:
    """What the emulator remembers until it ends: the `answers` by path, and the last requests."""

    def __init__(self) -> None:
        self.answers: dict[str, SetAnswer] = {}
        self.requests: deque[ModelRequest] = deque(maxlen=500)
        self._failed: Counter[str] = Counter()

    def fails(self, key: str, failure: ScriptedFailure) -> bool:
        """Whether a request fails, as the script of the turn with this key says; counts it."""
        key = f"{key} {failure}"
        self._failed[key] += 1
        return not failure.times or self._failed[key] <= failure.times


STATE = web.AppKey("state", ProvidersState)
