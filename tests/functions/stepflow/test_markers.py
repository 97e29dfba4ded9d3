"""The grammar of markers, line by line."""

import re

import pytest

from functions.stepflow.markers import ARTIFACT_PATH, Marker, Word, parse

S, C, E, A, M = Word.STEP_START, Word.STEP_COMPLETE, Word.STEP_ERROR, Word.ARTIFACT, Word.META

LINES: list[tuple[str, tuple[Word, str] | None]] = [
    # no markers
    ("hello", None),
    ("STEP_START", None),
    ("STEP_START build", None),
    ("STEP_START : build", None),
    ("STEP START: build", None),
    ("STEPSTART: build", None),
    ("STEP_STARTED: build", None),
    ("METADATA: a:b", None),
    ("ARTIFACTS: x", None),
    ("ſTEP_START: build", None),
    # a word without content is not a marker, whatever else the line contains
    ("STEP_START:", None),
    ("STEP_START:   ", None),
    ("META:", None),
    ("META:a:b STEP_START:", None),
    ("ARTIFACT: out.txt STEP_ERROR:", None),
    # the five words, in any case, anywhere
    ("STEP_START:build", (S, "build")),
    ("STEP_START:   build  ", (S, "build")),
    ("step_start: build", (S, "build")),
    ("Step_Complete: build", (C, "build")),
    ("STEP_ERROR: it broke", (E, "it broke")),
    ("artifact: out.txt", (A, "out.txt")),
    ("meta: a:b", (M, "a:b")),
    ("[12:00:01] STEP_START: build", (S, "build")),
    ("// STEP_COMPLETE: build", (C, "build")),
    ("xSTEP_START:build", (S, "build")),
    ("Uploading artifact: x", (A, "x")),
    ("some METAMETA:a:b", (M, "a:b")),
    # the first word of the list decides, not the first in the line; its first place counts
    ("META: a:b STEP_START: build", (S, "build")),
    ("ARTIFACT: x STEP_COMPLETE: y", (C, "y")),
    ("META: x ARTIFACT: y", (A, "y")),
    ("STEP_START: STEP_COMPLETE: y", (S, "STEP_COMPLETE: y")),
    ("STEP_START: a STEP_START: b", (S, "a STEP_START: b")),
    ("STEP_ERROR: META: a:b", (E, "META: a:b")),
    ("STEP_COMPLETE:: x", (C, ": x")),
    ("STEP_START: größe 测试", (S, "größe 测试")),
]


@pytest.mark.parametrize(("line", "expected"), LINES)
def test_markers_are_found_in_lines(line: str, expected: tuple[Word, str] | None):
    assert parse(line) == (Marker(*expected) if expected else None)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("build", "build"),
        ("Build the thing", "Build the thing"),
        ("build [a=b]", "build"),
        ("build{a:b}", "build"),
        ("build --a=b", "build"),
        ("build\t--a=b", "build"),
        ("build--a=b", "build--a=b"),
        ("build - it", "build - it"),
        ("build -- it", "build"),
        ("a {b} [c]", "a"),
        ("a --x [c]", "a"),
        ("[a=b]", ""),
        ("a: b", "a: b"),
    ],
)
def test_the_name_of_a_step_ends_where_its_parameters_begin(content: str, name: str):
    assert Marker(S, content).step_name == name


@pytest.mark.parametrize(
    ("content", "parameters"),
    [
        ("build", {}),
        ("build [a=b]", {"a": "b"}),
        ("build {a:b}", {"a": "b"}),
        ("build --a=b", {"a": "b"}),
        ("build [a=b c] {d:e f} --g=h i", {"a": "b c", "d": "e f", "g": "h"}),
        ("build [a=1][b=2]", {"a": 1, "b": 2}),
        ("[a_1=x]", {"a_1": "x"}),
        ("[a-b=x]", {}),
        ("[a=]", {"a": ""}),
        ("[a=true] [b=FALSE] [c=True]", {"a": True, "b": False, "c": True}),
        ("[a=12] [b=007]", {"a": 12, "b": 7}),
        ("[a=1.5] [b=.5] [c=5.]", {"a": 1.5, "b": 0.5, "c": 5.0}),
        ("[a=-1] [b=-1.5] [c=1e3] [d=1.2.3] [e=+1]", {"a": "-1", "b": "-1.5", "c": "1e3", "d": "1.2.3", "e": "+1"}),
        ("[a=²] [b=٣]", {"a": "²", "b": "٣"}),
        ("[a=yes] [b=on]", {"a": "yes", "b": "on"}),
        ("[a= x ]", {"a": " x "}),
        ("{a:b:c}", {"a": "b:c"}),
        ("--a=b=c", {"a": "b=c"}),
        (f"[a={'9' * 5000}]", {"a": "9" * 5000}),
        (f"[a={'9' * 400}.5]", {"a": "9" * 400 + ".5"}),
    ],
)
def test_parameters_have_three_forms_and_four_types(content: str, parameters: dict[str, object]):
    found = Marker(S, content).parameters
    assert found == parameters
    assert {key: type(value) for key, value in found.items()} == {k: type(v) for k, v in parameters.items()}


@pytest.mark.parametrize("piece", ["[a=", "{a:", "--a", "--a=[b=", "[a=1] [", "["])
def test_parameters_are_found_in_time_that_grows_with_the_line_alone(piece: str):
    assert len(Marker(S, piece * 300_000).parameters) <= 1  # within seconds; quadratic, it would take minutes


@pytest.mark.parametrize(
    ("content", "pair"),
    [
        ("out.txt", ("out.txt", None)),
        ("out.txt:", ("out.txt", "")),
        ("out.txt: the output", ("out.txt", "the output")),
        ("out.txt:a:b", ("out.txt", "a:b")),
        (":x", ("", "x")),
    ],
)
def test_a_pair_is_split_at_the_first_colon(content: str, pair: tuple[str, str | None]):
    assert Marker(A, content).pair == pair


@pytest.mark.parametrize(
    "line", [line for line, _ in LINES] + ["ARTIFACT: : x", "ARTIFACT: : ARTIFACT: y", "artifact:a b :c"]
)
def test_the_expression_that_captures_paths_agrees_with_the_grammar(line: str):
    found = re.compile(ARTIFACT_PATH.encode()).search(f"before\n{line}\nafter".encode())
    marker = parse(line)
    path = marker.pair[0] if marker and marker.word is A else ""
    assert (found["path"].decode().strip() if found else "") == path
