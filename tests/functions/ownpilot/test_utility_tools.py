"""The tools that touch no records: what each answers, and how it bears hostile input."""

import asyncio
import base64
import json
import re
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from functions.ownpilot.core.tool_context import ToolContext, ToolError
from functions.ownpilot.tools import currency
from functions.ownpilot.tools.registry import built_in
from functions.ownpilot.tools.texts import without_accents
from functions.ownpilot.tools.units import UNITS
from infra.local.environment import Environment
from shared.recent import RecentValues
from tests.support.environments import connected
from tests.support.ownpilot import OwnPilot

RATES = "/stats/eurofxref/eurofxref-daily.xml"
MEGABYTES = "a" * 10_000_000


async def run(name: str, /, **arguments: Any) -> Any:
    """What a tool answers to these arguments, once they are checked."""
    found = built_in()[name]
    return await found.run(ToolContext("nobody"), found.arguments.model_validate(arguments))


async def refused(name: str, /, **arguments: Any) -> str:
    """Why a tool refuses these arguments."""
    with pytest.raises((ToolError, ValidationError)) as caught:
        await run(name, **arguments)
    return str(caught.value)


GOOD: list[tuple[str, dict[str, Any], Any]] = [
    ("calculate", {"expression": "2 + 2"}, "4"),
    ("calculate", {"expression": "2 * (3 + 4)^2"}, "98"),
    ("calculate", {"expression": "15% of 80"}, "12"),
    ("calculate", {"expression": "10 % 4"}, "2"),
    ("calculate", {"expression": "50%"}, "0.5"),
    ("calculate", {"expression": "0.1 + 0.2"}, "0.3"),
    ("calculate", {"expression": "sqrt(16) + max(1, 2) - abs(-3)"}, "3"),
    ("calculate", {"expression": "6 × 7 ÷ 2"}, "21"),
    ("calculate", {"expression": "2^-20000"}, "0"),
    ("calculate", {"expression": "round(pi, 4)"}, "3.1416"),
    ("calculate", {"expression": "round(2.5) + 10 * round(-2.5)"}, "-27"),
    ("calculate", {"expression": "round(2.675, 2)"}, "2.68"),
    ("calculate", {"expression": "round(1250, -2) + round(1e300, 400) / 1e300"}, "1301"),
    ("calculate", {"expression": "factorial(20)"}, "2432902008176640000"),
    ("parse_json", {"json": '{"a": [{"b": "x"}]}', "path": "a[0].b"}, "x"),
    ("parse_json", {"json": '[1, {"ü": null}]'}, '[1, {"ü": null}]'),
    ("format_json", {"json": '{"a":[1,2]}'}, '{\n  "a": [\n    1,\n    2\n  ]\n}'),
    ("format_json", {"json": '{"a":  123456789012345678901234567890}', "indent": 0},
     '{"a": 123456789012345678901234567890}'),
    ("text_transform", {"text": "ab c", "operation": "uppercase"}, "AB C"),
    ("text_transform", {"text": "it's one", "operation": "titlecase"}, "It's One"),
    ("text_transform", {"text": "abc", "operation": "reverse"}, "cba"),
    ("text_transform", {"text": " a  b ", "operation": "remove_extra_spaces"}, "a b"),
    ("text_transform", {"text": "é, à!", "operation": "remove_accents"}, "e, a!"),
    ("text_transform", {"text": "a, b!", "operation": "remove_punctuation"}, "a b"),
    ("text_transform", {"text": "b\na\nb", "operation": "unique_lines"}, "b\na"),
    ("text_transform", {"text": "b\na", "operation": "sort_lines"}, "a\nb"),
    ("text_transform", {"text": "b\na", "operation": "number_lines"}, "1. b\n2. a"),
    ("text_transform", {"text": " a ", "operation": "trim"}, "a"),
    ("search_replace", {"text": "aXbX", "search": "X", "replace": "-"}, {"text": "a-b-", "replacements": 2}),
    ("search_replace", {"text": "aXbX", "search": "X", "replace": "-", "global": False},
     {"text": "a-bX", "replacements": 1}),
    ("search_replace", {"text": "John Doe", "search": r"(\w+) (?<last>\w+)", "replace": "$<last>, $1", "regex": True},
     {"text": "Doe, John", "replacements": 1}),
    ("truncate_text", {"text": "one two three", "length": 9}, "one..."),
    ("truncate_text", {"text": "one two three", "length": 9, "word_boundary": False}, "one tw..."),
    ("truncate_text", {"text": "short"}, "short"),
    ("wrap_text", {"text": "one two three\nfour", "width": 8}, "one two\nthree\nfour"),
    ("to_slug", {"text": "Grüße, Welt!"}, "grusse-welt"),
    ("to_slug", {"text": "A B", "separator": "_"}, "a_b"),
    ("change_case", {"text": "my variable name", "case_type": "camel"}, "myVariableName"),
    ("change_case", {"text": "myVariableName2", "case_type": "snake_case"}, "my_variable_name_2"),
    ("change_case", {"text": "HTTPServer", "case_type": "kebab"}, "http-server"),
    ("change_case", {"text": "a b", "case_type": "constant"}, "A_B"),
    ("change_case", {"text": "über GrößeÄndern", "case_type": "snake"}, "über_größe_ändern"),
    ("change_case", {"text": "HTTPServer2Go мойТекст", "case_type": "kebab"}, "http-server-2-go-мой-текст"),
    ("change_case", {"text": "a b", "case_type": "pascal"}, "AB"),
    ("change_case", {"text": "HI. YOU", "case_type": "sentence"}, "Hi. You"),
    ("format_date", {"date": "2026-01-31T09:05:00Z", "format": "D MMM YYYY [at] HH:mm Z", "timezone": "Europe/Berlin"},
     "31 Jan 2026 at 10:05 +01:00"),
    ("format_date", {"date": "2026-01-31"}, "2026-01-31T00:00:00.000Z"),
    ("format_date", {"date": "2026-07-01T00:00:00Z", "format": "full", "timezone": "America/New_York"},
     "Tuesday, 30 June 2026, 20:00"),
    ("add_to_date", {"date": "2026-01-31", "amount": 1, "unit": "months"}, "2026-02-28T00:00:00.000Z"),
    ("add_to_date", {"date": "2024-02-29", "amount": -1, "unit": "years"}, "2023-02-28T00:00:00.000Z"),
    ("add_to_date", {"date": "2026-01-31", "amount": 1.5, "unit": "days"}, "2026-02-01T12:00:00.000Z"),
    ("base64_encode", {"text": "Grüße"}, "R3LDvMOfZQ=="),
    ("base64_decode", {"encoded": "R3LDvMOfZQ"}, "Grüße"),
    ("base64_decode", {"encoded": "Pz8_"}, "???"),
    ("url_encode", {"text": "a b/ü"}, "a%20b%2F%C3%BC"),
    ("url_encode", {"text": "a%20b%2F%C3%BC", "decode": True}, "a b/ü"),
    ("hash_text", {"text": "abc"}, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ("hash_text", {"text": "abc", "algorithm": "md5"}, "900150983cd24fb0d6963f7d28e17f72"),
    ("markdown_to_html", {"markdown": "# A\n\n*b* ~~c~~"}, "<h1>A</h1>\n<p><em>b</em> <s>c</s></p>"),
    ("strip_markdown", {"markdown": "# A\n\n- **b** [c](https://d.example)\n\n`e`"}, "A\nb c\ne"),
    ("json_to_csv", {"json": '[{"a": 1, "b": "x,y"}, {"a": null, "c": [1]}]'}, 'a,b,c\n1,"x,y",\n,,[1]'),
    ("csv_to_json", {"csv": 'a;b\n1;"x;y"', "delimiter": ";"}, '[{"a": "1", "b": "x;y"}]'),
    ("csv_to_json", {"csv": "a,b", "headers": False}, '[["a", "b"]]'),
    ("random_number", {"min": 5, "max": 5}, 5),
    ("random_choice", {"options": ["only"]}, "only"),
    ("convert_color", {"color": "orange", "to": "hex"}, "#ffa500"),
    ("convert_color", {"color": "#f80", "to": "rgb"}, "rgb(255, 136, 0)"),
    ("convert_color", {"color": "hsl(120, 100%, 50%)", "to": "hex"}, "#00ff00"),
    ("convert_color", {"color": "rgb(0, 0, 0)"}, {"hex": "#000000", "rgb": "rgb(0, 0, 0)", "hsl": "hsl(0, 0%, 0%)",
                                                   "hsv": "hsv(0, 0%, 0%)", "cmyk": "cmyk(0%, 0%, 0%, 100%)"}),
    ("compare_texts", {"text1": "a b", "text2": "a c", "mode": "words"},
     {"equal": False, "similarityPercent": 50.0, "removed": 1, "added": 1,
      "changes": [{"at": 2, "removed": ["b"], "added": ["c"]}]}),
    ("find_and_replace_bulk", {"text": "a b", "replacements": [{"find": "a", "replace": "b"},
                                                               {"find": "b", "replace": "c"}]},
     {"text": "c c", "replacements": 3}),
    ("extract_urls", {"text": "See https://a.example/x?y=1, (http://b.example) and https://a.example/x?y=1."},
     {"urls": ["https://a.example/x?y=1", "http://b.example"], "count": 2}),
    ("extract_urls", {"text": "(see https://a.example/wiki/Mercury_(planet)), http://b.example/[1], {http://c.example/x}!"},
     {"urls": ["https://a.example/wiki/Mercury_(planet)", "http://b.example/[1]", "http://c.example/x"], "count": 3}),
    ("extract_emails", {"text": "Ann <ann@a.example>, bob.b+c@sub.b.example; ANN@a.example, x@y"},
     {"emails": ["ann@a.example", "bob.b+c@sub.b.example"], "count": 2}),
    ("extract_numbers", {"text": "1 apple, -2.5 pears, 1,234.5 nuts, v2"},
     {"numbers": [1, -2.5, 1234.5], "count": 3}),
    ("extract_numbers", {"text": "1,2, 5-3, 1.2.3, 12,345,678."},
     {"numbers": [1, 2, 5, 3, 12345678], "count": 5}),
    ("extract_numbers", {"text": "1 and 2.5", "include_decimals": False}, {"numbers": [1], "count": 1}),
    ("sort_list", {"items": ["b", "A", "c"], "order": "desc"}, ["c", "b", "A"]),
    ("sort_list", {"items": ["x10", "none", "x9"], "numeric": True}, ["x9", "x10", "none"]),
    ("deduplicate", {"items": ["a", "A", "a"]}, {"items": ["a", "A"], "removed": 1}),
    ("deduplicate", {"items": ["a", "A"], "case_sensitive": False}, {"items": ["a"], "removed": 1}),
    ("create_table", {"headers": ["a", "b"], "rows": [[1, "x|y"], ["z"]]},
     "| a | b |\n| --- | --- |\n| 1 | x\\|y |\n| z |  |"),
    ("create_table", {"headers": ["a"], "rows": [["<b>"]], "format": "html"},
     "<table><thead><tr><th>a</th></tr></thead><tbody><tr><td>&lt;b&gt;</td></tr></tbody></table>"),
    ("create_table", {"headers": ["a", "b"], "rows": [["long", "c"]], "format": "text"}, "a     b\n----  -\nlong  c"),
    ("create_table", {"headers": ["a", "b"], "rows": [[1, 2]], "format": "csv"}, "a,b\n1,2"),
    ("validate_email", {"email": "Ann.B@Example.com"}, {"valid": True, "local": "Ann.B", "domain": "example.com"}),
    ("validate_email", {"email": "ann"}, {"valid": False, "reason": "There is no @"}),
    ("test_regex", {"pattern": r"(?<y>\d{4})", "text": "in 2026"},
     {"matched": True, "count": 1, "matches": [{"match": "2026", "index": 3, "groups": ["2026"],
                                                "named": {"y": "2026"}}]}),
    ("count_words", {"text": "The cat, the dog.", "top": 1},
     {"total": 4, "unique": 3, "words": [{"word": "the", "count": 2}]}),
    ("convert_units", {"value": 5, "from": "km", "to": "miles"},
     {"value": 5.0, "from": "km", "result": 3.10685596119, "to": "mi", "text": "5 km = 3.10685596119 mi"}),
    ("convert_units", {"value": 100, "from": "Celsius", "to": "°F"},
     {"value": 100.0, "from": "C", "result": 212.0, "to": "F", "text": "100 C = 212 F"}),
]  # fmt: skip

BAD: list[tuple[str, dict[str, Any], Any]] = [
    *(("calculate", {"expression": each}, "too large") for each in
      ("9**9**9", "9^9^9^9", "4000000**4000000", "factorial(5000)", "*".join(["9**3000"] * 90))),
    *(("calculate", {"expression": each}, "") for each in (
        "1/0", "'a' * 1000000000", "__import__('os').system('x')", "(1).__class__", "[1, 2]", "1 if 1 else 2", "True",
        "lambda: 1", "1 < 2", "f'{1}'", "(-1)^0.5", "1e308 * 10", "", "x", "(" * 500, "-" * 900 + "1", "1,000", "1j",
        "sqrt(-1)", "sqrt(1, 2)", "9" * 1001)),
    ("parse_json", {"json": "{'a': 1}"}, "line 1"),
    ("parse_json", {"json": "NaN"}, "not JSON"),
    ("parse_json", {"json": "[" * 100_000}, "nested too deeply"),
    ("parse_json", {"json": '{"a": 1}', "path": "b"}, "no b"),
    ("parse_json", {"json": "1" * 10_000}, ""),
    ("parse_json", {"json": "[1e400]"}, "1e400 is too large"),
    ("format_json", {"json": "[" * 900 + "1" + ",1" * 90_000 + "]" * 900, "indent": 8}, "2000000"),
    ("search_replace", {"text": "a" * 200_000, "search": "a", "replace": "b" * 1000}, "2000000"),
    ("search_replace", {"text": "a" * 10_000, "search": "a", "replace": "b" * 1000, "regex": True}, "2000000"),
    ("search_replace", {"text": "a", "search": "", "replace": "b"}, ""),
    ("search_replace", {"text": "a", "search": "a", "replace": "$7", "regex": True}, "no group 7"),
    ("search_replace", {"text": "a", "search": "(", "replace": "", "regex": True}, "pattern"),
    *(("test_regex", {"pattern": pattern, "text": "a" * 199_000 + "!"}, reason) for pattern, reason in (
        ("(a+)+$", "0.5 seconds"), ("a{1000000000}", "too often"), ("((a{1000}){1000}){1000}", "too often"),
        ("(?x)a{1 00000000}", "flag x"), ("(?<n>a)(?&n){100000000}", "too often"), ("[", "pattern"))),
    ("test_regex", {"pattern": "a", "text": "a", "flags": "x"}, "flags"),
    ("find_and_replace_bulk", {"text": "a" * 1000, "replacements": [{"find": "a", "replace": "aa"}] * 50}, "2000000"),
    ("to_slug", {"text": "a", "separator": "<br>"}, ""),
    ("format_date", {"date": "now", "timezone": "Mars/Base"}, "timezone"),
    ("format_date", {"date": "now", "timezone": "../../etc/passwd"}, "timezone"),
    ("format_date", {"date": "now", "timezone": "America"}, "timezone"),
    ("format_date", {"date": "2026-02-30"}, "date"),
    ("format_date", {"date": "0001-01-01", "timezone": "America/New_York"}, "years"),
    ("add_to_date", {"date": "2026-01-01", "amount": 1e300, "unit": "days"}, "years"),
    ("add_to_date", {"date": "2026-01-01", "amount": 1e300, "unit": "years"}, "years"),
    ("add_to_date", {"date": "2026-01-01", "amount": 1.5, "unit": "months"}, "whole"),
    ("add_to_date", {"date": "2026-01-01", "amount": 1, "unit": "fortnights"}, ""),
    ("convert_units", {"value": 1, "from": "km", "to": "kg"}, "length"),
    ("convert_units", {"value": 1, "from": "smoot", "to": "m"}, "not known"),
    ("convert_units", {"value": -300, "from": "c", "to": "k"}, "absolute zero"),
    ("convert_units", {"value": 1e308, "from": "km", "to": "mm"}, "too large"),
    ("base64_decode", {"encoded": "%%%"}, "not Base64"),
    ("base64_decode", {"encoded": "/w=="}, "no text"),
    ("url_encode", {"text": "%ff", "decode": True}, "UTF-8"),
    ("hash_text", {"text": "a", "algorithm": "crc"}, ""),
    ("json_to_csv", {"json": "[1]"}, "objects"),
    ("json_to_csv", {"json": json.dumps([{f"c{at}": 1} for at in range(5000)])}, "2000000"),
    ("csv_to_json", {"csv": "a" * 100_000 + "\n" + "1\n" * 1000}, "2000000"),
    ("csv_to_json", {"csv": "a", "delimiter": "::"}, ""),
    ("csv_to_json", {"csv": "x" * 200_000}, "csv"),
    ("random_number", {"min": 2, "max": 1}, "above"),
    ("random_number", {"min": 0.1, "max": 0.9}, "no such number"),
    ("random_string", {"length": 10**9}, ""),
    ("random_string", {"charset": "custom"}, "custom"),
    ("random_choice", {"options": []}, ""),
    ("random_choice", {"options": ["a"], "count": 2}, "only 1"),
    ("generate_password", {"uppercase": False, "lowercase": False, "numbers": False, "symbols": False}, "one kind"),
    ("generate_lorem_ipsum", {"count": 10**6}, ""),
    ("convert_color", {"color": "rgb(300, 0, 0)"}, "color"),
    ("convert_color", {"color": "rgb(1.1.1, 0, 0)"}, "color"),
    ("convert_color", {"color": "nonsense"}, "color"),
    ("compare_texts", {"text1": "a\n" * 3000, "text2": ""}, "2000 lines"),
    ("create_table", {"headers": ["a"], "rows": [[1, 2]]}, "more cells"),
    ("create_table", {"headers": ["a"], "rows": [["x" * 10_000]] + [["y"]] * 5000, "format": "text"}, "2000000"),
    ("calculate_percentage", {"operation": "change", "value1": 0, "value2": 1}, "zero"),
    ("calculate_percentage", {"operation": "of", "value1": 1e308, "value2": 1e308}, "too large"),
    ("calculate_statistics", {"numbers": []}, ""),
    ("calculate_statistics", {"numbers": [1e308, 1e308]}, "too large"),
    ("get_current_time", {"timezone": "nowhere"}, "timezone"),
]  # fmt: skip

TEXTS = sorted(
    (name, parameter)
    for name, parameter in {
        "parse_json": "json", "format_json": "json", "text_stats": "text", "text_transform": "text",
        "search_replace": "text", "truncate_text": "text", "wrap_text": "text", "to_slug": "text",
        "change_case": "text",
        "base64_encode": "text", "base64_decode": "encoded", "url_encode": "text", "hash_text": "text",
        "markdown_to_html": "markdown", "strip_markdown": "markdown", "json_to_csv": "json", "csv_to_json": "csv",
        "compare_texts": "text1", "find_and_replace_bulk": "text", "extract_urls": "text", "extract_emails": "text",
        "extract_numbers": "text", "test_regex": "text", "count_words": "text", "validate_email": "email",
        "validate_url": "url", "calculate": "expression", "convert_color": "color",
    }.items()
)  # fmt: skip
REST: dict[str, dict[str, Any]] = {
    "text_transform": {"operation": "titlecase"}, "search_replace": {"search": "a", "replace": "b"},
    "change_case": {"case_type": "snake"}, "find_and_replace_bulk": {"replacements": [{"find": "a", "replace": "b"}]},
    "test_regex": {"pattern": "a"}, "compare_texts": {"text2": "a", "mode": "words"},
}  # fmt: skip
"""What those tools need besides."""


def names_of(rows: list[tuple[str, dict[str, Any], Any]]) -> list[str]:
    """A name for each row of a table."""
    return [f"{at}-{row[0]}" for at, row in enumerate(rows)]


@pytest.mark.parametrize(("name", "arguments", "expected"), GOOD, ids=names_of(GOOD))
async def test_it_answers(name: str, arguments: dict[str, Any], expected: Any):
    assert await run(name, **arguments) == expected


@pytest.mark.parametrize(("name", "arguments", "reason"), BAD, ids=names_of(BAD))
async def test_it_refuses(name: str, arguments: dict[str, Any], reason: str):
    assert reason in await refused(name, **arguments)


@pytest.mark.parametrize(("name", "parameter"), TEXTS)
async def test_ten_megabytes_of_text_are_refused(name: str, parameter: str):
    assert "at most" in await refused(name, **{parameter: MEGABYTES}, **REST.get(name, {}))


@pytest.mark.parametrize("piece", ["a", "a@", "1,", "(", "[a](", "**a ", "`", "http://", "| a |\n", "> ", "\n", "é "])
@pytest.mark.parametrize(
    ("name", "parameter"),
    [each for each in TEXTS if each[0].startswith(("text_s", "extract", "count", "to_", "strip"))],
)
async def test_a_long_text_of_the_same_ends(name: str, parameter: str, piece: str):
    text = piece * (20_000 // len(piece))
    async with asyncio.timeout(60):
        await run(name, **{parameter: text}, **REST.get(name, {}))


class TestChance:
    async def test_identifiers_differ(self):
        made = [await run("generate_uuid") for _ in range(3)]
        assert len({str(uuid.UUID(each)) for each in made}) == 3

    async def test_numbers_are_within_both_ends(self):
        drawn = {await run("random_number", min=1, max=3) for _ in range(200)}
        assert drawn == {1, 2, 3}
        assert 0.5 <= await run("random_number", min=0.5, max=0.6, integer=False) <= 0.6

    async def test_texts_have_the_characters_that_are_wanted(self):
        assert re.fullmatch("[0-9a-f]{40}", await run("random_string", length=40, charset="hex"))
        assert set(await run("random_string", custom="xy", length=100)) == {"x", "y"}

    async def test_choices_do_not_repeat(self):
        assert sorted(await run("random_choice", options=["a", "b", "c"], count=3)) == ["a", "b", "c"]

    async def test_a_password_has_each_kind_of_characters(self):
        for _ in range(20):
            made = (await run("generate_password", length=4))["password"]
            assert all(re.search(kind, made) for kind in ("[A-Z]", "[a-z]", "[0-9]", "[^A-Za-z0-9]")), made
        assert (await run("generate_password", length=20, symbols=False))["password"].isalnum()

    @pytest.mark.parametrize(("kind", "pattern"), [("words", r"(\w+ ?){3}"), ("sentences", r"([A-Z][a-z ]+\. ?){3}"),
                                                   ("paragraphs", r"([A-Z][a-z. A-Z]+(\n\n)?){3}")])  # fmt: skip
    async def test_filling_text_has_the_wanted_length(self, kind: str, pattern: str):
        assert re.fullmatch(pattern, await run("generate_lorem_ipsum", type=kind, count=3))


class TestDates:
    async def test_the_time_is_now(self):
        told = await run("get_current_time", timezone="Asia/Tokyo")
        assert abs(datetime.fromisoformat(told["iso"]) - datetime.now(UTC)) < timedelta(minutes=5)
        assert told["local"].endswith("+09:00") and told["timezone"] == "Asia/Tokyo"

    @pytest.mark.parametrize(
        ("first", "second", "unit", "expected"),
        [("2026-01-01", "2026-01-31", "days", 30), ("2026-01-31", "2026-02-28", "months", 1),
         ("2026-01-31", "2026-03-30", "months", 1), ("2026-03-31", "2026-01-31", "months", -2),
         ("2000-02-29", "2026-02-28", "years", 26), ("2026-01-01T00:00:00Z", "2026-01-01T01:30:00Z", "hours", 1.5),
         ("2026-01-02", "2026-01-01", "weeks", -0.142857), ("2026-01-01", "2026-01-01", "milliseconds", 0)],
    )  # fmt: skip
    async def test_the_time_between_two_dates(self, first: str, second: str, unit: str, expected: float):
        assert (await run("date_diff", date1=first, date2=second, unit=unit))["difference"] == expected

    async def test_words_name_days(self):
        assert (await run("date_diff", date1="yesterday", date2="tomorrow"))["difference"] == 2
        assert (await run("format_date", date="today", format="time")) == "00:00:00"


class TestFigures:
    @pytest.mark.parametrize(
        ("operation", "first", "second", "expected"),
        [("of", 15, 80, "12"), ("what_percent", 20, 80, "25%"), ("change", 80, 100, "25%"),
         ("change", -10, -5, "50%"), ("increase", 80, 25, "100"), ("decrease", 80, 25, "60")],
    )  # fmt: skip
    async def test_percentages(self, operation: str, first: float, second: float, expected: str):
        answer = await run("calculate_percentage", operation=operation, value1=first, value2=second)
        assert answer["result"] == expected

    async def test_statistics(self):
        found = await run("calculate_statistics", numbers=[2, 4, 4, 4, 5, 5, 7, 9])
        assert found == {
            "count": 8, "sum": 40, "mean": 5, "median": 4.5, "mode": [4], "min": 2, "max": 9, "range": 7,
            "variance": 4, "standardDeviation": 2, "quartiles": [4, 4.5, 5.5],
        }  # fmt: skip

    async def test_texts_are_measured(self):
        found = await run("text_stats", text="One two. Three!\n\nFour")
        assert (found["words"], found["sentences"], found["paragraphs"], found["lines"]) == (4, 2, 2, 3)
        assert (await run("text_stats", text=""))["averageWordLength"] == 0


class TestAddresses:
    @pytest.mark.parametrize("url", ["https://a.example:8080/x?y=1#z", "ftp://a.example", "http://[::1]/"])
    async def test_whole_addresses_are_valid(self, url: str):
        assert (await run("validate_url", url=url))["valid"] is True

    @pytest.mark.parametrize(
        "url", ["a.example", "", "http://", "http://[", "http://a:99999/", "http://a b", "mailto:x@y"]
    )
    async def test_others_are_not(self, url: str):
        assert (await run("validate_url", url=url))["valid"] is False

    @pytest.mark.parametrize("email", ["a@b", "@b.example", "a b@c.example", "a..b@c.example", "a@-b.example", ""])
    async def test_wrong_e_mail_addresses(self, email: str):
        assert (await run("validate_email", email=email))["valid"] is False


async def test_html_in_markdown_is_text_and_no_address_runs_a_script():
    made = await run("markdown_to_html", markdown="<script>x</script> [a](javascript:x) ![b](data:text/html,x)")
    assert "<script" not in made and "href" not in made and "<img" not in made


def test_no_unit_has_two_meanings():
    names = [name for units in UNITS.values() for known in units for name in known.split()]
    assert len(names) == len(set(names))


async def test_base64_of_random_bytes_is_refused_or_text():
    assert "no text" in await refused("base64_decode", encoded=base64.b64encode(b"\xff\xfe\x00").decode())


@pytest.fixture
async def bank(stack: Environment) -> AsyncIterator[Any]:
    """Sets what the bank answers, from a test that asks it itself."""
    url = f"http://127.0.0.1:{stack.ports['providers']}"
    address = f"{url}/rates-{uuid.uuid4().hex}"
    async with httpx.AsyncClient(trust_env=False) as http, connected(**stack.app_settings | {"ECB_RATES_URL": address}):

        async def answer(**members: Any) -> None:
            path = httpx.URL(address).path
            (await http.put(f"{url}/local/answers", json={path: members})).raise_for_status()

        yield answer
        (await http.put(f"{url}/local/answers", json={})).raise_for_status()


class TestCurrencies:
    async def test_amounts_are_converted_by_the_rates_of_the_bank_which_is_asked_once(
        self, bank: Any, monkeypatch: pytest.MonkeyPatch
    ):
        await bank(text="<Cube time='2026-01-15'><Cube currency='USD' rate='1.2'/><Cube currency='GBP' rate='0.8'/>")
        made = await run("convert_currency", amount=12, **{"from": "usd", "to": "GBP"})
        assert (made["result"], made["date"]) == (8, "2026-01-15")
        await bank(status=500)
        assert (await run("convert_currency", amount=1, **{"from": "EUR", "to": "USD"}))["result"] == 1.2
        assert "EUR, GBP, USD" in await refused("convert_currency", amount=1, **{"from": "EUR", "to": "XXX"})
        monkeypatch.setattr(currency, "_rates", RecentValues(seconds=0))  # a day later the bank still does not answer
        assert (await run("convert_currency", amount=1, **{"from": "EUR", "to": "USD"}))["date"] == "2026-01-15"

    @pytest.mark.parametrize(
        "answer", [{"status": 404}, {"text": "<html>"}, {"text": "<Cube time='2026-01-15'/>", "size": 200_000},
                   {"text": "<Cube time='2026-01-15'><Cube currency='USD' rate='0'/>"}],
    )  # fmt: skip
    async def test_a_bank_that_answers_nothing_useful_is_told_as_such(self, bank: Any, answer: dict[str, Any]):
        await bank(**answer)
        assert "cannot be read" in await refused("convert_currency", amount=1, **{"from": "EUR", "to": "USD"})


async def test_every_one_of_them_runs_through_the_door_of_all_tools(me: OwnPilot):
    """With one good row for each, in one batch; those without a row take what is named here."""
    rows = {name: arguments for name, arguments, _ in reversed(GOOD)}
    rows |= {"get_current_time": {}, "generate_uuid": {}, "text_stats": {"text": "a"}, "date_diff": {"date1": "now"},
             "random_string": {}, "generate_password": {}, "generate_lorem_ipsum": {},
             "validate_url": {"url": "https://a.example"},
             "convert_currency": {"amount": 1, "from": "EUR", "to": "USD"},
             "calculate_percentage": {"operation": "of", "value1": 1, "value2": 2},
             "calculate_statistics": {"numbers": [1]}}  # fmt: skip
    assert len(rows) == 45
    answer = await me.post(
        "/tools/batch", executions=[{"tool": name, "arguments": each} for name, each in rows.items()]
    )
    results = answer if isinstance(answer, list) else answer["results"]
    assert [each for each in results if not each["success"]] == []
    by_name = {each["tool"]: each["result"] for each in results}
    assert by_name["calculate"] == "4" and uuid.UUID(by_name["generate_uuid"])
    assert json.loads(by_name["convert_currency"])["result"] == 1.2
    debug = await me.get("/debug")
    password = json.loads(by_name["generate_password"])["password"]
    assert password not in json.dumps(debug)


def test_any_number_of_accents_in_a_row_is_removed_at_once():
    began = time.thread_time()
    assert without_accents("a" + "\u0301\u0327" * 20_000 + "ﬁ é") == "afi e"
    assert time.thread_time() - began < 0.5
