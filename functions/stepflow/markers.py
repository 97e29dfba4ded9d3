"""The grammar of markers: lines of output that name a step, an artifact or metadata."""

import math
import re
from dataclasses import dataclass
from enum import StrEnum

Parameter = str | int | float | bool


class Word(StrEnum):
    """The marker words, in the order in which a line is searched for them."""

    STEP_START = "STEP_START"
    STEP_COMPLETE = "STEP_COMPLETE"
    STEP_ERROR = "STEP_ERROR"
    ARTIFACT = "ARTIFACT"
    META = "META"


@dataclass(frozen=True)
class Marker:
    """A marker word and the text after its colon, which is stripped and never empty."""

    word: Word
    content: str

    @property
    def step_name(self) -> str:
        """The content without its parameters."""
        return _PARAMETERS_BEGIN.split(self.content, maxsplit=1)[0].strip()

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The values of all `[key=value]`, `{key:value}` and `--key=value` in the content."""
        found: dict[str, Parameter] = {}
        for form, closer in _PARAMETERS:
            # Nothing behind the last bracket can match; to look for it there takes time that is quadratic.
            text = self.content[: self.content.rfind(closer) + 1] if closer else self.content
            found |= {key: typed(value) for key, value in form.findall(text)}
        return found

    @property
    def pair(self) -> tuple[str, str | None]:
        """The content before and after its first colon; None for the second when there is no colon."""
        first, colon, second = self.content.partition(":")
        return first.strip(), second.strip() if colon else None


_WORDS = {word: re.compile(f"{word}:", re.IGNORECASE | re.ASCII) for word in Word}
_PARAMETERS_BEGIN = re.compile(r"[\[{]|\s--")
_PARAMETERS = (  # each form with its closing bracket
    (re.compile(r"\[(\w+)=([^\]]*)\]"), "]"),
    (re.compile(r"\{(\w+):([^}]*)\}"), "}"),
    (re.compile(r"--(\w+)=(\S+)"), ""),
)
_INTEGER = re.compile(r"[0-9]{1,4000}")  # Python refuses to convert texts of more than 4,300 digits
_DECIMAL = re.compile(r"[0-9]+\.[0-9]*|\.[0-9]+")

ARTIFACT_PATH = (
    rf"(?im)^(?!.*(?:{Word.STEP_START}|{Word.STEP_COMPLETE}|{Word.STEP_ERROR}):)"
    rf"(?>.*?{Word.ARTIFACT}:)[^\S\n]*(?P<path>[^:\s](?:[^:\n]*[^:\s])?)"
)
"""Regular expression for a line that is an artifact marker; its group `path` is the path that the marker names."""


def parse(line: str) -> Marker | None:
    """Return the marker that a line contains, at any position; None when it contains none."""
    for word, pattern in _WORDS.items():
        if found := pattern.search(line):
            content = line[found.end() :].strip()
            return Marker(word, content) if content else None
    return None


def typed(text: str) -> Parameter:
    """Convert `true` and `false` to bool, digits to int, digits with one dot to float; any other value stays text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text
