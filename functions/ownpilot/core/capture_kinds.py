"""What kind of thought a captured text is, by simple rules."""

import re
from collections import Counter
from enum import StrEnum


class CaptureType(StrEnum):
    """What a captured text is."""

    IDEA = "idea"
    THOUGHT = "thought"
    TODO = "todo"
    LINK = "link"
    QUOTE = "quote"
    SNIPPET = "snippet"
    QUESTION = "question"
    OTHER = "other"


_LINK = re.compile(r"https?://[^\s<>\"'`]+", re.IGNORECASE)
_BEHIND_LINK = ".,;:!?"
_OPENING = {")": "(", "]": "[", "}": "{"}
"""The bracket that opens what another one closes."""

_RULES = (
    (CaptureType.SNIPPET, re.compile(r"```|^\s*(\$ |#!|def |class |import |function |const |select )", re.IGNORECASE)),
    (CaptureType.LINK, _LINK),
    (CaptureType.QUOTE, re.compile(r"^\s*([>\"“„«])")),
    (CaptureType.TODO, re.compile(r"^\s*([-*]\s*)?(\[ ?\]|to-?do\b|remember to\b|don't forget\b)", re.IGNORECASE)),
    (CaptureType.QUESTION, re.compile(r"\?\s*\Z")),
    (CaptureType.IDEA, re.compile(r"^\s*(idea\b|what if\b|maybe\b|we could\b|i could\b)", re.IGNORECASE)),
)


def link_in(text: str) -> str | None:
    """Return the first web address in a text, without the punctuation behind it.

    It ends before a bracket that closes one before it: `(https://a.b/c_(d))` has `https://a.b/c_(d)`.
    """
    if not (found := _LINK.search(text)):
        return None
    link, opened = found[0], Counter[str]()
    for place, letter in enumerate(link):
        if opening := _OPENING.get(letter):
            if not opened[opening]:
                link = link[:place]
                break
            opened[opening] -= 1
        else:
            opened[letter] += 1
    return link.rstrip(_BEHIND_LINK)


def kind_of(text: str) -> CaptureType:
    """Return what a text is by the first rule that fits: code, a link, a quote, a to-do, a question, an idea.

    Any other text is a thought.
    """
    return next((kind for kind, rule in _RULES if rule.search(text)), CaptureType.THOUGHT)
