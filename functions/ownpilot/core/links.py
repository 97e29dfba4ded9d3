"""Web addresses in texts."""

import re
from collections import Counter
from collections.abc import Iterator

LINK = re.compile(r"https?://[^\s<>\"'`]+", re.IGNORECASE)
"""An address with what stands behind it."""

_BEHIND = ".,;:!?"
_OPENING = {")": "(", "]": "[", "}": "{"}
"""The bracket that opens what another one closes."""


def links_in(text: str) -> Iterator[str]:
    """Yield the web addresses in a text, without the punctuation behind each.

    One ends before a bracket that closes one before it: `(https://a.b/c_(d))` has `https://a.b/c_(d)`.
    """
    for found in LINK.finditer(text):
        link, opened = found[0], Counter[str]()
        for place, letter in enumerate(link):
            if opening := _OPENING.get(letter):
                if not opened[opening]:
                    link = link[:place]
                    break
                opened[opening] -= 1
            else:
                opened[letter] += 1
        link = link.rstrip(_BEHIND)
        if not link.endswith("://"):
            yield link
