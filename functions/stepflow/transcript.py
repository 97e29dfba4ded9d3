"""Reads an execution's output: a pure state machine that turns bytes into steps, log lines and artifacts."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from math import isfinite
from typing import NamedTuple

from pydantic import BaseModel

from functions.stepflow.markers import Marker, Parameter, Word, parse

MAX_LINE = 4 * 1024 * 1024
"""Bytes of the longest line; a longer one is read as several lines."""

MAX_STEPS = 10_000
MAX_ARTIFACTS = 10_000
MAX_KEYS = 1000
"""Keys that META may add to the metadata of one step, or of the execution."""

MAX_CONTENT = 16 * 1024
"""Characters of a marker's content."""

MAX_STEP_TEXT = 2_000_000
"""Characters of names, parameters, error messages and metadata of all steps together."""

MAX_NOTED_TEXT = 64 * 1024
"""Characters of keys and values that META adds to the execution's metadata, which lists show."""


class StepStatus(StrEnum):
    """running -> completed | failed; `pending` and `skipped` are documented, but no step gets them."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"


class Step(BaseModel):
    """One step. Its log lines are `first_line` up to and excluding `end_line`, which is None while the step is open."""

    index: int
    name: str
    description: str | None = None
    status: StepStatus = StepStatus.RUNNING
    exit_code: int | None = None
    error_message: str | None = None
    started_at: datetime
    completed_at: datetime | None = None
    estimated_duration: float | None = None
    stop_on_error: bool = False
    metadata: dict[str, Parameter] = {}
    first_line: int
    end_line: int | None = None

    def end(self, status: StepStatus, code: int | None, at: datetime, line: int) -> None:
        """Close the step at log line `line`."""
        self.status, self.exit_code, self.completed_at, self.end_line = status, code, at, line

    def describe(self, key: str, value: str) -> None:
        """Add metadata; the keys DESCRIPTION and ESTIMATED_DURATION also set the step's own fields."""
        self.metadata[key] = value
        if key.upper() == "DESCRIPTION":
            self.description = value
        elif key.upper() == "ESTIMATED_DURATION":
            self.estimated_duration = _seconds(value)

    def changed(self) -> "StepChange":
        """Return the change that this step is now as it is."""
        return StepChange(self.model_copy(update={"metadata": {**self.metadata}}))


class StepChange(NamedTuple):
    """A step has started or ended; `step` is a copy of it at that moment."""

    step: Step


class LogLine(NamedTuple):
    """A line that is not a marker: its position in the output, its length in bytes without the line end, its text.

    `at` is when it was printed.
    """

    step: int | None
    offset: int
    length: int
    content: str
    at: datetime


class ArtifactMark(NamedTuple):
    """A line that names an artifact; `offset` is the position of the line's first byte in the output."""

    step: int | None
    offset: int
    path: str
    description: str


Change = StepChange | LogLine | ArtifactMark


class Transcript(BaseModel):
    """The state: `offset` is the position of the first line that is not read yet, `lines` counts log lines.

    `failure` says which critical step has failed; markers after it are ignored. `noted` is the execution's metadata.
    `step_text` and `noted_text` count the characters that markers have put into `steps` and `noted`.
    """

    steps: list[Step] = []
    completed_steps: int = 0
    offset: int = 0
    lines: int = 0
    artifacts: int = 0
    failure: str | None = None
    noted: dict[str, str] = {}
    step_text: int = 0
    noted_text: int = 0
    read_until: datetime | None = None
    """When the newest line was printed; no later line has an earlier time."""

    @property
    def open_step(self) -> Step | None:
        """The step that has started and not ended, None when there is none."""
        return self.steps[-1] if self.steps and self.steps[-1].end_line is None else None

    def read(self, data: bytes, printed: Callable[[int], datetime], *, end: bool = False) -> list[Change]:
        """Read output that begins at `offset`, and return the changes that it causes, in order.

        `printed` returns when the byte at an offset of the output was printed.

        An unfinished last line is left unread unless this is the `end`: the next call gets its bytes again, followed by
        the new ones.
        """
        return [
            change
            for line in self._lines(data, end)
            for change in self._read_line(line, self._time(printed(self.offset)))
        ]

    def _time(self, at: datetime) -> datetime:
        self.read_until = max(at, self.read_until or at)
        return self.read_until

    def close(self, code: int | None, at: datetime, message: str | None = None) -> list[Change]:
        """End the open step, if any, with the command's exit code; if a critical step fails, so does the execution."""
        step = self.open_step
        if step is None:
            return []
        if code == 0:
            return [self._complete(step, at)]
        step.error_message = message
        return [self._fail(step, code, at, message or f"Exited with code {code}")]

    def _lines(self, data: bytes, end: bool) -> Iterator[bytes]:
        """Yield whole lines without their newlines; `offset` moves past a line once the caller has handled it."""
        start = 0
        while True:
            stop = data.find(b"\n", start, start + MAX_LINE + 1)
            if stop < 0:
                if len(data) - start > MAX_LINE:
                    stop = _whole_character(data, start + MAX_LINE)
                elif end and start < len(data):
                    stop = len(data)
                else:
                    return
            yield data[start:stop]
            following = stop + (data[stop : stop + 1] == b"\n")
            self.offset += following - start
            start = following

    def _read_line(self, raw: bytes, at: datetime) -> Iterator[Change]:
        line = text_of(raw)
        if not line:
            return
        marker, step = parse(line), self.open_step
        if marker is None or not self._fits(marker, step):
            self.lines += 1
            yield LogLine(step.index if step else None, self.offset, len(raw), line, at)
        elif self.failure is None:
            yield from self._follow(marker, step, at)

    def _fits(self, marker: Marker, step: Step | None) -> bool:
        """Return whether what a marker adds is within the bounds; if not, its line is a log line."""
        size = len(marker.content)
        match marker.word:
            case Word.STEP_COMPLETE | Word.STEP_ERROR:
                return True  # an open step can always end
            case Word.STEP_START:
                room = len(self.steps) < MAX_STEPS and self.step_text + size <= MAX_STEP_TEXT
            case Word.ARTIFACT:
                room = self.artifacts < MAX_ARTIFACTS
            case Word.META:
                held, text, most = (
                    (step.metadata, self.step_text, MAX_STEP_TEXT)
                    if step
                    else (self.noted, self.noted_text, MAX_NOTED_TEXT)
                )
                key, value = marker.pair
                room = (key in held or len(held) < MAX_KEYS) and text + _growth(held, key, value or "") <= most
        return room and size <= MAX_CONTENT

    def _follow(self, marker: Marker, step: Step | None, at: datetime) -> Iterator[Change]:
        match marker.word:
            case Word.STEP_START:
                if step:
                    yield self._complete(step, at)
                yield self._start(marker, at)
            case Word.STEP_COMPLETE:
                if step and step.name == marker.step_name:
                    yield self._complete(step, at)
            case Word.STEP_ERROR:
                if step:
                    message = marker.content[: min(MAX_CONTENT, MAX_STEP_TEXT - self.step_text)]
                    self.step_text += len(message)
                    step.error_message = message
                    yield self._fail(step, 1, at, message)
            case Word.ARTIFACT:
                path, description = marker.pair
                self.artifacts += 1
                yield ArtifactMark(step.index if step else None, self.offset, path, description or "")
            case Word.META:
                key, value = marker.pair
                if value is not None:
                    if step:
                        self.step_text += _growth(step.metadata, key, value)
                        step.describe(key, value)
                    else:
                        self.noted_text += _growth(self.noted, key, value)
                        self.noted[key] = value

    def _start(self, marker: Marker, at: datetime) -> StepChange:
        parameters = marker.parameters
        step = Step(
            index=len(self.steps),
            name=marker.step_name,
            started_at=at,
            first_line=self.lines,
            metadata=parameters,
            estimated_duration=_seconds(parameters.get("duration")),
            stop_on_error=parameters.get("stop_on_error") is True,
        )
        self.step_text += len(marker.content)
        self.steps.append(step)
        return step.changed()

    def _complete(self, step: Step, at: datetime) -> StepChange:
        step.end(StepStatus.COMPLETED, 0, at, self.lines)
        self.completed_steps += 1
        return step.changed()

    def _fail(self, step: Step, code: int | None, at: datetime, reason: str) -> StepChange:
        step.end(StepStatus.FAILED, code, at, self.lines)
        if step.stop_on_error:
            self.failure = f"Critical step '{step.name}' failed: {reason}"
        return step.changed()


def text_of(raw: bytes) -> str:
    """Return a line as text without blanks at its ends; a line that is not UTF-8 is read as Latin-1."""
    try:
        return raw.decode().strip()
    except UnicodeDecodeError:
        return raw.decode("latin-1").strip()


def _whole_character(data: bytes, stop: int) -> int:
    """Return `stop`, or up to 3 bytes less where it would split a UTF-8 character."""
    for back in range(4):
        if data[stop - back] & 0xC0 != 0x80:
            return stop - back
    return stop


def _growth(held: Mapping[str, Parameter], key: str, value: str) -> int:
    """Return how many characters more `held` has once `key` has this value."""
    return len(value) - len(str(held[key])) if key in held else len(key) + len(value)


def _seconds(value: Parameter | None) -> float | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if isfinite(seconds) and seconds >= 0 else None
