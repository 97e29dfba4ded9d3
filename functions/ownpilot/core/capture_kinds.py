"""What kind of thought a captured text is, by simple rules."""

import re
from enum import StrEnum

from functions.ownpilot.core.links import LINK


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


_RULES = (
    (CaptureType.SNIPPET, re.compile(r"```|^\s*(\$ |#!|def |class |import |function |const |select )", re.IGNORECASE)),
    (CaptureType.LINK, LINK),
    (CaptureType.QUOTE, re.compile(r"^\s*([>\"“„«])")),
    (CaptureType.TODO, re.compile(r"^\s*([-*]\s*)?(\[ ?\]|to-?do\b|remember to\b|don't forget\b)", re.IGNORECASE)),
    (CaptureType.QUESTION, re.compile(r"\?\s*\Z")),
    (CaptureType.IDEA, re.compile(r"^\s*(idea\b|what if\b|maybe\b|we could\b|i could\b)", re.IGNORECASE)),
)


def kind_of(text: str) -> CaptureType:
    """Return what a text is by the first rule that fits: code, a link, a quote, a to-do, a question, an idea.

    Any other text is a thought.
    """
    return next((kind for kind, rule in _RULES if rule.search(text)), CaptureType.THOUGHT)
