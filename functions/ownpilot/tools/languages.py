"""In which language a text is written: by its script, and by how often sequences of three letters occur in it.

The counts are made from a text in each language, of about a thousand letters, in `languages.json`.
"""

import json
import math
import re
import unicodedata
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple

_LONGEST = 5000
"""Characters of a text that are looked at."""

_LEAST = 12
"""Letters below which a guess is not sure."""

_MARGIN = 0.22
"""By how much, for each sequence, the best language must be better than the second best one to be sure."""

_FIT = 8.25
"""The surprise of a sequence, on average, above which a text is in no language that is known here."""

_RARE = 0.1  # of an occurrence: how often a sequence is taken to occur that does not occur in the text of a language

_SCRIPTS = {
    "HANGUL": ("ko", "Korean"), "HIRAGANA": ("ja", "Japanese"), "KATAKANA": ("ja", "Japanese"),
    "CJK": ("zh", "Chinese"), "GREEK": ("el", "Greek"), "HEBREW": ("he", "Hebrew"), "ARABIC": ("ar", "Arabic"),
    "DEVANAGARI": ("hi", "Hindi"), "THAI": ("th", "Thai"),
}  # fmt: skip
"""The language of a script that stands for one language here; others that use it are taken for that one."""

_SHARED = ("ARABIC", "DEVANAGARI", "HEBREW")
"""Scripts in which several languages are written that are not told apart, so a guess is not sure."""


class Guess(NamedTuple):
    """A language by its code and its name; `second` is the code of the second best guess."""

    code: str
    name: str
    is_sure: bool
    second: str | None = None


def guess(text: str) -> Guess | None:
    """Return the language of a text, None when it has no letters of a known script."""
    words = _words(text[:_LONGEST])
    letters = "".join(words)
    scripts = Counter(unicodedata.name(each, "").partition(" ")[0] for each in letters)
    if scripts["HIRAGANA"] + scripts["KATAKANA"]:
        scripts["HIRAGANA"] += scripts.pop("CJK", 0)  # Japanese is written with Chinese characters, too
    script = scripts.most_common(1)[0][0] if scripts else ""
    if script in _SCRIPTS:
        code, name = _SCRIPTS[script]
        return Guess(code, name, script not in _SHARED and scripts[script] >= 0.6 * len(letters))
    if script not in ("LATIN", "CYRILLIC"):
        return None
    counts = _trigrams(words)
    total = counts.total()
    scores = sorted(
        (sum(times * known.surprise(each) for each, times in counts.items()) / total, code)
        for code, known in _languages().items()
        if known.script == script
    )
    (best, code), (other, second) = scores[0], scores[1]
    is_sure = len(letters) >= _LEAST and best <= _FIT and other - best >= _MARGIN * min(1, 60 / total) ** 0.5
    return Guess(code, _languages()[code].name, is_sure, second)


class _Language(NamedTuple):
    name: str
    script: str
    counts: Counter[str]
    total: int

    def surprise(self, trigram: str) -> float:
        """Return how unusual a sequence is in this language, in nats."""
        return -math.log((self.counts[trigram] + _RARE) / (self.total * (1 + _RARE)))


@cache
def _languages() -> dict[str, _Language]:
    given = json.loads(Path(__file__).with_name("languages.json").read_text(encoding="utf-8"))
    found: dict[str, _Language] = {}
    for code, each in given.items():
        words = _words(each["text"])
        counts = _trigrams(words)
        script = unicodedata.name(words[0][0]).partition(" ")[0]
        found[code] = _Language(each["name"], script, counts, counts.total())
    return found


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", unicodedata.normalize("NFC", text).lower())


def _trigrams(words: list[str]) -> Counter[str]:
    """Count the sequences of three letters; the ends of a word count as letters."""
    return Counter(f" {word} "[place : place + 3] for word in words for place in range(len(word)))
