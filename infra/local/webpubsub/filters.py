"""The OData filter of the send operations: which connections get a message."""

import operator
import re
from collections.abc import Callable
from typing import Any, Protocol


class InvalidFilter(ValueError):
    """The expression does not follow the grammar; the message says where."""


class Receiver(Protocol):
    """What a filter looks at."""

    id: str
    user_id: str | None
    groups: set[str]


Value = Callable[[Receiver], Any]

TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>[+-]?\d+)|(?P<word>[A-Za-z]+)|(?P<mark>[(),])|(?P<end>$))"
)

IDENTIFIERS: dict[str, Value] = {
    "userid": lambda c: c.user_id,
    "connectionid": lambda c: c.id,
    "groups": lambda c: c.groups,
}
CONSTANTS = {"true": True, "false": False, "null": None}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
FUNCTIONS: dict[str, tuple[range, Callable[..., Any]]] = {
    "length": (range(1, 2), len),
    "tolower": (range(1, 2), str.lower),
    "toupper": (range(1, 2), str.upper),
    "trim": (range(1, 2), str.strip),
    "contains": (range(2, 3), operator.contains),
    "startswith": (range(2, 3), str.startswith),
    "endswith": (range(2, 3), str.endswith),
    "indexof": (range(2, 3), str.find),
    "concat": (range(2, 3), operator.add),
    "substring": (range(2, 4), lambda text, start, length=None: text[start:][:length]),
}


class Filter:
    """A parsed expression."""

    def __init__(self, value: Value):
        self._value = value

    @classmethod
    def parse(cls, text: str) -> "Filter":
        """The filter that `text` describes; `InvalidFilter` when it is none."""
        return cls(_Parser(text).parse())

    def matches(self, receiver: Receiver) -> bool:
        """Whether the receiver is wanted; what cannot be compared (null with text) is not."""
        try:
            return self._value(receiver) is True
        except (TypeError, AttributeError):
            return False


class _Parser:
    """Recursive descent: or < and < comparison, in < not < primary."""

    def __init__(self, text: str):
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while not self._tokens or self._tokens[-1][0] != "end":
            match = TOKEN.match(text, at)
            if match is None or match.lastgroup is None:
                raise InvalidFilter(f"Invalid filter at {text[at:]!r}")
            self._tokens.append((match.lastgroup, match[match.lastgroup]))
            at = match.end()

    def parse(self) -> Value:
        value = self._either()
        self._expect("end", "")
        return value

    def _take(self) -> tuple[str, str]:
        return self._tokens.pop(0)

    def _next_is(self, *words: str) -> bool:
        kind, text = self._tokens[0]
        return kind in ("word", "mark") and text.lower() in words

    def _expect(self, kind: str, text: str) -> None:
        found = self._tokens[0]
        if found != (kind, text):
            raise InvalidFilter(f"Invalid filter: expected {text or 'the end'!r}, found {found[1] or 'the end'!r}")
        if kind != "end":
            self._take()

    def _either(self) -> Value:
        value = self._both()
        while self._next_is("or"):
            self._take()
            value = _any(value, self._both())
        return value

    def _both(self) -> Value:
        value = self._comparison()
        while self._next_is("and"):
            self._take()
            value = _all(value, self._comparison())
        return value

    def _comparison(self) -> Value:
        left = self._unary()
        if self._next_is(*COMPARISONS):
            compare, right = COMPARISONS[self._take()[1].lower()], self._unary()
            return lambda c: compare(left(c), right(c))
        if self._next_is("in"):
            self._take()
            choices = self._choices()
            return lambda c: left(c) in choices(c)
        return left

    def _choices(self) -> Value:
        if not self._next_is("("):
            return self._primary()
        items = self._arguments()
        if len(items) == 1:
            # `(groups)` is the collection itself, `('a')` a list of one.
            only = items[0]
            return lambda c: only(c) if isinstance(only(c), set) else [only(c)]
        return lambda c: [item(c) for item in items]

    def _unary(self) -> Value:
        if self._next_is("not"):
            self._take()
            value = self._unary()
            return lambda c: _negated(value(c))
        return self._primary()

    def _primary(self) -> Value:
        kind, text = self._take()
        name = text.lower()
        if kind == "mark" and text == "(":
            value = self._either()
            self._expect("mark", ")")
            return value
        if kind == "text":
            return _constant(text[1:-1].replace("''", "'"))
        if kind == "number":
            return _constant(int(text))
        if kind == "word" and name in CONSTANTS:
            return _constant(CONSTANTS[name])
        if kind == "word" and name in IDENTIFIERS:
            return IDENTIFIERS[name]
        if kind == "word" and name in FUNCTIONS:
            return self._call(name)
        raise InvalidFilter(f"Invalid filter at {text or 'its end'!r}")

    def _call(self, name: str) -> Value:
        counts, function = FUNCTIONS[name]
        arguments = self._arguments()
        if len(arguments) not in counts:
            raise InvalidFilter(f"Invalid filter: {name} does not take {len(arguments)} arguments")
        return lambda c: function(*(argument(c) for argument in arguments))

    def _arguments(self) -> list[Value]:
        self._expect("mark", "(")
        values = [self._either()]
        while self._next_is(","):
            self._take()
            values.append(self._either())
        self._expect("mark", ")")
        return values


def _constant(value: str | int | bool | None) -> Value:
    return lambda _: value


def _any(left: Value, right: Value) -> Value:
    return lambda c: left(c) is True or right(c) is True


def _all(left: Value, right: Value) -> Value:
    return lambda c: left(c) is True and right(c) is True


def _negated(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("not takes a truth value")
    return not value
