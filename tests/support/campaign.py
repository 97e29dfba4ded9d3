"""How much of a campaign is run, and where its choices come from."""

import os
import random
from dataclasses import dataclass

FULL = os.environ.get("FULL", "") not in ("", "0")
SEED = int(os.environ.get("SEED") or random.randrange(10**6))
os.environ["SEED"] = str(SEED)  # the workers inherit it


@dataclass(frozen=True)
class Campaign:
    """One campaign: a sample of it or, with `full`, the whole; all its choices come from `chance`."""

    seed: int
    chance: random.Random
    full: bool

    @classmethod
    def named(cls, name: str) -> "Campaign":
        """The campaign of a test, whose choices do not depend on the tests before it."""
        return cls(SEED, random.Random(f"{SEED} {name}"), FULL)

    @property
    def settings(self) -> str:
        """The environment variables with which it makes the same choices again."""
        return f"SEED={self.seed}{' FULL=1' if self.full else ''}"

    def rounds(self, sample: int, full: int) -> int:
        """The number of repetitions: `sample` or, when campaigns are run whole, `full`."""
        return full if self.full else sample
