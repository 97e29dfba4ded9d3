"""The transcript of output that is read as it arrives."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.stepflow import transcript as module
from functions.stepflow.transcript import ArtifactMark, Change, LogLine, StepChange, Transcript

AT = datetime(2026, 1, 1, tzinfo=UTC)


def short(changes: list[Change]) -> list[Any]:
    """Changes in short: a log line as its text, a step as its name and status, an artifact as its path."""
    found: list[Any] = []
    for change in changes:
        match change:
            case LogLine():
                found.append((change.step, change.content))
            case StepChange():
                found.append((change.step.name, change.step.status.value, change.step.exit_code))
            case ArtifactMark():
                found.append((change.step, "artifact", change.path, change.description))
    return found


def read(*lines: str, code: int = 0) -> tuple[Transcript, list[Any]]:
    """The transcript of a whole output, and its changes in short."""
    transcript = Transcript()
    changes = transcript.read("\n".join(lines).encode(), lambda _: AT, end=True)
    return transcript, short([*changes, *transcript.close(code, AT)])


class TestSteps:
    def test_a_step_runs_from_its_start_to_its_completion(self):
        transcript, changes = read("STEP_START: build", "working", "STEP_COMPLETE: build", "after")
        assert changes == [("build", "running", None), (0, "working"), ("build", "completed", 0), (None, "after")]
        assert (len(transcript.steps), transcript.completed_steps) == (1, 1)

    def test_a_start_completes_the_open_step(self):
        transcript, changes = read("STEP_START: a", "STEP_START: b", "STEP_COMPLETE: b")
        assert changes == [
            ("a", "running", None), ("a", "completed", 0), ("b", "running", None), ("b", "completed", 0),
        ]  # fmt: skip
        assert transcript.completed_steps == 2

    def test_two_starts_of_one_name_are_two_steps(self):
        transcript, _ = read("STEP_START: a", "STEP_START: a")
        assert [step.index for step in transcript.steps] == [0, 1]

    def test_a_completion_with_another_name_is_ignored_and_not_logged(self):
        transcript, changes = read("STEP_START: a", "STEP_COMPLETE: b", "STEP_COMPLETE: a [x=1]")
        assert changes == [("a", "running", None), ("a", "completed", 0)]
        assert transcript.lines == 0

    def test_a_completion_without_a_step_is_ignored(self):
        assert read("STEP_COMPLETE: a") == (Transcript(offset=16, read_until=AT), [])

    def test_an_error_fails_the_open_step_whatever_its_name(self):
        transcript, changes = read("STEP_START: a", "STEP_ERROR: b: it broke", "STEP_START: c")
        assert changes[1] == ("a", "failed", 1)
        assert transcript.steps[0].error_message == "b: it broke"
        assert (transcript.completed_steps, transcript.failure) == (1, None)

    def test_an_error_without_a_step_is_ignored(self):
        assert read("STEP_ERROR: broken")[1] == []

    def test_a_critical_error_fails_the_execution_and_ends_all_but_its_log(self):
        transcript, changes = read(
            "STEP_START: setup [stop_on_error=true]",
            "STEP_ERROR: no disk",
            "STEP_START: next",
            "ARTIFACT: x",
            "cleanup",
        )
        assert changes == [("setup", "running", None), ("setup", "failed", 1), (None, "cleanup")]
        assert transcript.failure == "Critical step 'setup' failed: no disk"

    @pytest.mark.parametrize("value", ["false", "1", "yes", '"true"'])
    def test_only_true_makes_a_step_critical(self, value: str):
        assert read(f"STEP_START: a [stop_on_error={value}]", "STEP_ERROR: x")[0].failure is None

    def test_parameters_are_metadata_and_a_duration_is_the_estimate(self):
        step = read("STEP_START: a [duration=12] {b:c} --d=true")[0].steps[0]
        assert step.metadata == {"duration": 12, "b": "c", "d": True}
        assert step.estimated_duration == 12.0

    @pytest.mark.parametrize("value", ["soon", "true", "-5"])
    def test_an_invalid_duration_is_only_metadata(self, value: str):
        step = read(f"STEP_START: a [duration={value}]")[0].steps[0]
        assert step.estimated_duration is None
        assert "duration" in step.metadata

    def test_the_end_completes_an_open_step_with_exit_code_zero(self):
        transcript, changes = read("STEP_START: a")
        assert changes == [("a", "running", None), ("a", "completed", 0)]
        assert transcript.completed_steps == 1

    def test_the_end_fails_an_open_step_with_another_exit_code(self):
        transcript, changes = read("STEP_START: a", code=3)
        assert changes[-1] == ("a", "failed", 3)
        assert transcript.failure is None

    def test_the_end_of_a_critical_open_step_fails_the_execution_naming_it(self):
        assert "'a'" in (read("STEP_START: a [stop_on_error=TRUE]", code=3)[0].failure or "")

    def test_a_step_has_the_range_of_its_log_lines(self):
        transcript, _ = read("x", "STEP_START: a", "1", "2", "STEP_COMPLETE: a", "y", "STEP_START: b", "3")
        assert [(step.first_line, step.end_line) for step in transcript.steps] == [(1, 3), (4, 5)]


class TestMetadata:
    def test_metadata_belongs_to_the_open_step_or_else_to_the_execution(self):
        transcript, _ = read("META: a: 1", "STEP_START: s", "META: b: x:y", "STEP_COMPLETE: s", "META: c:")
        assert transcript.noted == {"a": "1", "c": ""}
        assert transcript.steps[0].metadata == {"b": "x:y"}

    def test_metadata_without_a_second_colon_is_ignored(self):
        assert read("META: nothing") == (Transcript(offset=13, read_until=AT), [])

    def test_metadata_may_set_the_description_and_the_estimate_of_a_step(self):
        step = read("STEP_START: s", "META: DESCRIPTION: what it does", "META: estimated_duration: 4.5")[0].steps[0]
        assert (step.description, step.estimated_duration) == ("what it does", 4.5)
        assert step.metadata == {"DESCRIPTION": "what it does", "estimated_duration": "4.5"}


class TestArtifacts:
    def test_an_artifact_belongs_to_the_open_step_and_has_the_offset_of_its_line(self):
        transcript = Transcript()
        changes = transcript.read(b"ARTIFACT: a.txt\nSTEP_START: s\n  ARTIFACT: b.txt: the: thing\n", lambda _: AT)
        assert short(changes) == [
            (None, "artifact", "a.txt", ""), ("s", "running", None), (0, "artifact", "b.txt", "the: thing"),
        ]  # fmt: skip
        assert [change.offset for change in changes if isinstance(change, ArtifactMark)] == [0, 30]


class TestLines:
    def test_line_ends_and_surrounding_blanks_are_removed_and_blank_lines_skipped(self):
        transcript, changes = read("  a\t\r", "", " \t ", "\r", "b c")
        assert changes == [(None, "a"), (None, "b c")]
        assert transcript.lines == 2

    def test_bytes_that_are_not_utf8_are_read_as_latin1(self):
        changes = Transcript().read("grüße\n".encode("latin-1") + "grüße\n".encode(), lambda _: AT)
        assert [change.content for change in changes if isinstance(change, LogLine)] == ["grüße", "grüße"]

    def test_a_line_of_a_megabyte_is_one_line(self):
        changes = Transcript().read(b"x" * 1_000_000 + b"\n", lambda _: AT)
        assert short(changes) == [(None, "x" * 1_000_000)]

    def test_a_hundred_thousand_lines_keep_their_order(self):
        _, changes = read(*(str(number) for number in range(100_000)))
        assert changes == [(None, str(number)) for number in range(100_000)]

    def test_a_line_without_an_end_is_split_between_characters(self):
        data = "é".encode() * module.MAX_LINE
        changes = [
            change for change in Transcript().read(b"a" + data, lambda _: AT, end=True) if isinstance(change, LogLine)
        ]
        assert "".join(change.content for change in changes) == "a" + "é" * module.MAX_LINE
        assert all(change.length <= module.MAX_LINE for change in changes)


class TestBounds:
    """Markers beyond the bounds are ordinary log lines, so that nothing is lost."""

    def test_steps_beyond_the_bound_are_log_lines(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(module, "MAX_STEPS", 2)
        transcript, changes = read("STEP_START: a", "STEP_START: b", "STEP_START: c", "STEP_COMPLETE: b")
        assert [step.name for step in transcript.steps] == ["a", "b"]
        assert changes[-2:] == [(1, "STEP_START: c"), ("b", "completed", 0)]

    def test_artifacts_beyond_the_bound_are_log_lines(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(module, "MAX_ARTIFACTS", 1)
        assert read("ARTIFACT: a", "ARTIFACT: b")[1] == [(None, "artifact", "a", ""), (None, "ARTIFACT: b")]

    @pytest.mark.parametrize("before", [[], ["STEP_START: s"]])
    def test_metadata_has_a_bounded_number_of_keys_whose_values_may_change(self, before: list[str]):
        many = [f"META: k{number}: v" for number in range(module.MAX_KEYS)]
        transcript, changes = read(*before, *many, "META: k7: new", "META: more: v")
        held = transcript.steps[0].metadata if before else transcript.noted
        assert (len(held), held["k7"]) == (module.MAX_KEYS, "new")
        assert [change[1] for change in changes if change[1] == "META: more: v"] == ["META: more: v"]

    def test_a_marker_that_is_too_long_is_a_log_line(self):
        long = "x" * module.MAX_CONTENT
        for line in (f"STEP_START: {long}y", f"ARTIFACT: {long}y", f"META: k: {long}"):
            assert read(line)[1] == [(None, line)]

    def test_the_texts_of_all_steps_are_bounded_together_and_a_step_can_still_fail(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(module, "MAX_STEP_TEXT", 36)
        transcript, changes = read(
            "STEP_START: a [stop_on_error=true]", f"META: k: {'v' * 10}", f"META: j: {'v' * 10}", "STEP_ERROR: broken"
        )
        assert changes[1] == (0, f"META: j: {'v' * 10}")
        assert transcript.steps[0].error_message == "bro"
        assert transcript.failure == "Critical step 'a' failed: bro"

    def test_a_value_that_is_replaced_again_and_again_needs_no_more_room(self):
        transcript, changes = read(*(f"META: progress: {number % 100} %" for number in range(20_000)))
        assert (transcript.noted, changes) == ({"progress": "99 %"}, [])

    def test_a_change_keeps_the_metadata_of_its_moment(self):
        transcript = Transcript()
        started, _ = transcript.read(b"STEP_START: s [a=1]\nMETA: b: 2\nSTEP_COMPLETE: s\n", lambda _: AT)
        assert isinstance(started, StepChange)
        assert started.step.metadata == {"a": 1}


PIECES = st.sampled_from(
    [
        b"STEP_START: a", b"STEP_START: b [duration=3] --x=1", b"STEP_START: c {stop_on_error:true}",
        b"STEP_COMPLETE: a",
        b"STEP_COMPLETE: b", b"STEP_ERROR: broken", b"ARTIFACT: out.txt: it", b"META: k: v", b"META: k", b"plain text",
        b"\xe9t\xe9", "été".encode(), b"", b"   ", b"STEP_START:", b"// artifact: x",
    ]
)  # fmt: skip
ENDS = st.sampled_from([b"\n", b"\r\n", b"\n\n", b" \n", b"\r"])


class TestCuts:
    """Output comes in batches that are cut anywhere; what was not read to its line's end comes again with the next."""

    @given(
        lines=st.lists(st.tuples(PIECES, ENDS), max_size=30),
        last=PIECES,
        cuts=st.lists(st.floats(0, 1), max_size=20),
        longest=st.sampled_from([7, 16, module.MAX_LINE]),
    )
    @settings(max_examples=150, deadline=None)
    def test_the_result_does_not_depend_on_where_the_stream_is_cut(
        self, lines: list[tuple[bytes, bytes]], last: bytes, cuts: list[float], longest: int
    ):
        whole = b"".join(line + end for line, end in lines) + last
        usual, module.MAX_LINE = module.MAX_LINE, longest
        try:
            at_once, in_parts = Transcript(), Transcript()
            expected = at_once.read(whole, lambda _: AT, end=True)
            found: list[Change] = []
            for cut in sorted(int(cut * len(whole)) for cut in cuts):
                found += in_parts.read(whole[in_parts.offset : cut], lambda _: AT)
                in_parts = Transcript.model_validate_json(in_parts.model_dump_json())  # as it is stored
            found += in_parts.read(whole[in_parts.offset :], lambda _: AT, end=True)
        finally:
            module.MAX_LINE = usual
        assert found == expected
        assert in_parts == at_once
        assert at_once.offset == len(whole)
