"""Vectors of texts as whole numbers from -127 to 127, and which of them are near to each other. Pure Python."""

import base64
import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest
from operator import mul


@dataclass(frozen=True)
class Vector:
    """A direction: its numbers, and how long they make it."""

    numbers: "array[int]"
    length: float

    def cosine(self, other: "Vector") -> float:
        """Return 1 for the same direction, 0 for one that has nothing in common, and for vectors of another kind."""
        if len(self.numbers) != len(other.numbers) or not self.length or not other.length:
            return 0.0
        return sum(map(mul, self.numbers, other.numbers)) / (self.length * other.length)


def vector_of(values: Sequence[float]) -> Vector:
    """Return a vector of the same direction, its largest number being 127 or -127."""
    most = max(map(abs, values), default=0.0) if all(map(math.isfinite, values)) else 0.0
    return _vector(array("b", (round(value / most * 127) if most else 0 for value in values)))


def packed(vector: Vector) -> str:
    """Return a vector as a text: 4 characters for 3 numbers."""
    return base64.b64encode(vector.numbers.tobytes()).decode()


def unpacked(text: str) -> Vector:
    """Return the vector of such a text."""
    return _vector(array("b", base64.b64decode(text)))


def nearest(query: Vector, vectors: Mapping[str, Vector], *, most: int, least: float) -> list[str]:
    """Return the keys of the vectors that are nearest to a query, the nearest first: those with a cosine of `least`."""
    near = ((query.cosine(vector), key) for key, vector in vectors.items())
    return [key for _, key in nlargest(most, (each for each in near if each[0] >= least))]


def _vector(numbers: "array[int]") -> Vector:
    return Vector(numbers, math.sqrt(sum(map(mul, numbers, numbers))))
