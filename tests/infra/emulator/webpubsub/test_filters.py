"""OData filters: the documented grammar, evaluated for connections."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.emulator.webpubsub.filters import Filter, InvalidFilter


@dataclass
class ExampleReceiver:
    id: str = "c-1"
    user_id: str | None = "user-ab-de"
    groups: set[str] = field(default_factory=lambda: {"g1", "g2"})


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("true", True),
        ("false", False),
        ("userId eq 'user-ab-de'", True),
        ("USERID EQ 'user-ab-de'", True),
        ("'user-ab-de' eq userId", True),
        ("userId eq 'User-ab-de'", False),
        ("userId ne null", True),
        ("connectionId ne 'c-1'", False),
        ("userId in ('x', 'user-ab-de')", True),
        ("userId in ('x')", False),
        ("'g1' in groups", True),
        ("'g1' in (groups)", True),
        ("'g3' in groups", False),
        ("not ('g3' in groups)", True),
        ("not startswith(userId, 'user')", False),
        ("not not true", True),
        ("endswith(userId,'de')", True),
        ("contains(userId,'-ab-')", True),
        ("indexof(userId,'-ab-') ge 0", True),
        ("indexof(userId,'x') eq -1", True),
        ("length(userId) gt 3 and length(userId) le 10", True),
        ("length(groups) eq +2", True),
        ("substring(userId,5,2) eq 'ab'", True),
        ("substring(userId,5) eq 'ab-de'", True),
        ("tolower(toupper(userId)) eq userId", True),
        ("trim(' a ') eq 'a'", True),
        ("concat(userId, connectionId) eq 'user-ab-dec-1'", True),
        ("userId eq 'it''s'", False),
        ("length('it''s') eq 4", True),
        ("false and false or true", True),
        ("true or false and false", True),
        ("false and (false or true)", False),
        ("length(userId) lt 3 or length(userId) gt 7 and length(userId) lt 11", True),
    ],
)
def test_it_selects(text: str, wanted: bool):
    assert Filter.parse(text).matches(ExampleReceiver()) is wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("userId eq null", True),
        ("userId ne 'a'", True),
        ("startswith(userId,'a')", False),
        ("not startswith(userId,'a')", True),
        ("tolower(userId) eq null", True),
        ("length(userId) gt 0 or true", True),
        ("length(userId) le 0", False),
        ("userId in ('a', null)", True),
        ("length(groups) eq 0", True),
    ],
)
def test_receivers_without_a_user_are_compared_as_null(text: str, wanted: bool):
    assert Filter.parse(text).matches(ExampleReceiver(user_id=None, groups=set())) is wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "userId",
        "userId eq",
        "userId eq 'a",
        "userId eq 'a' and",
        "userId eq 'a' userId",
        "(true",
        "true)",
        "name eq 'a'",
        "length() gt 1",
        "length(userId, 1) gt 1",
        "dance(userId)",
        "userId == 'a'",
        "userId in ()",
        "'a' in ('b',)",
        "'a' in 'abc'",
        "'a' in userId",
        "not",
        "1.5 gt 1",
        "1" * 5000 + " gt 1",
        "length(userId)",
        "not length(userId)",
        "length(userId) gt 'a'",
        "groups eq 'a'",
        "length(5) eq 1",
        "userId eq true",
        "userId and true",
        "(" * 500,
        "true or " * 2000 + "true",
    ],
)
def test_text_that_does_not_follow_the_grammar_is_refused(text: str):
    with pytest.raises(InvalidFilter):
        Filter.parse(text)


WORDS = [
    *("userId", "connectionId", "groups", "true", "false", "null", "'a'", "'g1'", "''", "0", "-1", "7"),
    *("eq", "ne", "gt", "le", "in", "and", "or", "not", "(", ")", ",", "("),
    *("length", "tolower", "substring", "concat", "indexof", "startswith", "contains", "trim"),
]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join) | st.text(max_size=20))
def test_any_text_is_a_filter_or_is_refused(text: str):
    try:
        parsed = Filter.parse(text)
    except InvalidFilter:
        return
    for receiver in (ExampleReceiver(), ExampleReceiver(user_id=None, groups=set())):
        assert parsed.matches(receiver) in (True, False)
