"""The OData filter of the send operations, which selects the connections that get a message."""

import operator
import re
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol


class InvalidFilter(ValueError):
    """The expression does not follow the grammar; the message says where."""


class Receiver(Protocol):
    """The properties of a connection that a filter can test."""

    id: str
    user_id: str | None
    groups: set[str]


class Expression(NamedTuple):
    """Part of a filter: the type of its value, and a function that gives the value for a connection, maybe None."""

    type: type
    value: Callable[[Receiver], Any]


TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>[+-]?[0-9]{1,18})|(?P<word>[A-Za-z]+)|(?P<mark>[(),])|(?P<end>$))"
)
LONGEST = 1000  # tokens

NULL = type(None)
IDENTIFIERS = {
    "userid": Expression(str, lambda c: c.user_id),
    "connectionid": Expression(str, lambda c: c.id),
    "groups": Expression(set, lambda c: c.groups),
    "true": Expression(bool, lambda _: True),
    "false": Expression(bool, lambda _: False),
    "null": Expression(NULL, lambda _: None),
}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
# Type of the result, function, and types of the arguments; arguments after None are optional.
FUNCTIONS: dict[str, tuple[type, Callable[..., Any], tuple[type | None, ...]]] = {
    "length": (int, len, (str,)),
    "tolower": (str, str.lower, (str,)),
    "toupper": (str, str.upper, (str,)),
    "trim": (str, str.strip, (str,)),
    "contains": (bool, operator.contains, (str, str)),
    "startswith": (bool, str.startswith, (str, str)),
    "endswith": (bool, str.endswith, (str, str)),
    "indexof": (int, str.find, (str, str)),
    "concat": (str, operator.add, (str, str)),
    "substring": (str, lambda text, start, length=None: text[start:][:length], (str, int, None, int)),
}


class Filter:
    """A parsed expression."""

    def __init__(self, expression: Expression):
        self._expression = expression

    @classmethod
    def parse(cls, text: str) -> "Filter":
        """The filter that `text` describes. Raises InvalidFilter."""
        try:
            return cls(_Parser(text).parse())
        except RecursionError:
            raise InvalidFilter("Invalid filter: nested too deeply") from None

    def matches(self, receiver: Receiver) -> bool:
        """Whether the filter selects this connection."""
        return self._expression.value(receiver) is True


class _Parser:
    """A recursive-descent parser. Precedence from low to high: `or`, `and`, comparisons and `in`, `not`."""

    def __init__(self, text: str):
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while not self._tokens or self._tokens[-1][0] != "end":
            match = TOKEN.match(text, at)
            if match is None or match.lastgroup is None:
                raise InvalidFilter(f"Invalid filter at {text[at:]!r}")
            self._tokens.append((match.lastgroup, match[match.lastgroup]))
            at = match.end()
        if len(self._tokens) > LONGEST:
            raise InvalidFilter(f"Invalid filter: more than {LONGEST} words")

    def parse(self) -> Expression:
        expression = _need(self._either(), bool)
        self._expect("end", "")
        return expression

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

    def _either(self) -> Expression:
        left = self._both()
        while self._next_is("or"):
            self._take()
            left = _either(_need(left, bool), _need(self._both(), bool))
        return left

    def _both(self) -> Expression:
        left = self._comparison()
        while self._next_is("and"):
            self._take()
            left = _both(_need(left, bool), _need(self._comparison(), bool))
        return left

    def _comparison(self) -> Expression:
        left = self._unary()
        if self._next_is(*COMPARISONS):
            name = self._take()[1].lower()
            right = self._unary()
            if set in (left.type, right.type) or (left.type is not right.type and NULL not in (left.type, right.type)):
                raise InvalidFilter(f"Invalid filter: {name} cannot compare {_name(left)} with {_name(right)}")
            return Expression(bool, lambda c: _compare(name, left.value(c), right.value(c)))
        if self._next_is("in"):
            self._take()
            return self._membership(left)
        return left

    def _membership(self, left: Expression) -> Expression:
        if not self._next_is("("):
            choices = _need(self._primary(), set)
            return Expression(bool, lambda c: left.value(c) in choices.value(c))
        items = self._arguments()
        if len(items) == 1 and items[0].type is set:
            return Expression(bool, lambda c: left.value(c) in items[0].value(c))
        return Expression(bool, lambda c: any(left.value(c) == item.value(c) for item in items))

    def _unary(self) -> Expression:
        if self._next_is("not"):
            self._take()
            operand = _need(self._unary(), bool)
            return Expression(bool, lambda c: not operand.value(c))
        return self._primary()

    def _primary(self) -> Expression:
        kind, text = self._take()
        name = text.lower()
        if (kind, text) == ("mark", "("):
            expression = self._either()
            self._expect("mark", ")")
            return expression
        if kind == "text":
            literal = text[1:-1].replace("''", "'")
            return Expression(str, lambda _: literal)
        if kind == "number":
            number = int(text)
            return Expression(int, lambda _: number)
        if kind == "word" and name in IDENTIFIERS:
            return IDENTIFIERS[name]
        if kind == "word" and name in FUNCTIONS:
            return self._call(name)
        raise InvalidFilter(f"Invalid filter at {text or 'the end'!r}")

    def _call(self, name: str) -> Expression:
        result, function, types = FUNCTIONS[name]
        given = self._arguments()
        required = types.index(None) if None in types else len(types)
        accepted = [t for t in types if t is not None]
        if name == "length" and given[0].type is set:
            accepted = [set]
        if not required <= len(given) <= len(accepted):
            raise InvalidFilter(f"Invalid filter: {name} does not take {len(given)} arguments")
        arguments = [_need(argument, wanted) for argument, wanted in zip(given, accepted, strict=False)]

        def value(receiver: Receiver) -> Any:
            values = [argument.value(receiver) for argument in arguments]
            return None if None in values else function(*values)

        return Expression(result, value)

    def _arguments(self) -> list[Expression]:
        self._expect("mark", "(")
        values = [self._either()]
        while self._next_is(","):
            self._take()
            values.append(self._either())
        self._expect("mark", ")")
        return values


def _need(expression: Expression, wanted: type) -> Expression:
    if expression.type is not wanted:
        raise InvalidFilter(f"Invalid filter: {wanted.__name__} expected, not {_name(expression)}")
    return expression


def _name(expression: Expression) -> str:
    return "null" if expression.type is NULL else expression.type.__name__


def _either(left: Expression, right: Expression) -> Expression:
    return Expression(bool, lambda c: bool(left.value(c) or right.value(c)))


def _both(left: Expression, right: Expression) -> Expression:
    return Expression(bool, lambda c: bool(left.value(c) and right.value(c)))


def _compare(name: str, left: Any, right: Any) -> bool:
    """As everywhere in OData, null is neither greater nor less than any value."""
    if None in (left, right) and name not in ("eq", "ne"):
        return False
    return COMPARISONS[name](left, right)
