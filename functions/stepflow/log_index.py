"""An execution's log lines, and an index of their positions in its output, so that a page costs two reads.

The output is in an append blob named after the execution. Its index is the blob `<execution>.lines`: 16 bytes for each
log line, in order, so that the position of a line's entry follows from the line's number.
"""

import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from functions.stepflow.records import Execution
from functions.stepflow.transcript import LogLine, Step, text_of
from shared import blobs
from shared.jobs import LOGS

_ENTRY = struct.Struct("<5s3sQ")  # position in the output, length, microseconds since 1970
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

PAGE_BYTES = 8 * 1024 * 1024
"""Bytes of output that one page may span; a page of very long lines holds fewer of them."""


@dataclass(frozen=True)
class Entry:
    """A log line; `number` counts from 0 over the whole execution."""

    number: int
    timestamp: datetime
    content: str


def index_name(execution_id: str) -> str:
    """The name of the blob with an execution's index."""
    return f"{execution_id}.lines"


async def append(execution_id: str, first: int, lines: Sequence[LogLine]) -> None:
    """Add log lines to the index, the first of which has the number `first`; a repeat changes nothing."""
    data = b"".join(
        _ENTRY.pack(
            line.offset.to_bytes(5, "little"),
            line.length.to_bytes(3, "little"),
            (line.at - _EPOCH) // timedelta(microseconds=1),
        )
        for line in lines
    )
    if data:
        await blobs.append(LOGS, index_name(execution_id), first * _ENTRY.size, data)


async def read(
    execution: Execution, first: int, count: int, *, page_bytes: int = PAGE_BYTES, newest: bool = False
) -> list[Entry]:
    """Return at most `count` log lines, from number `first` on.

    When they span more than `page_bytes` of output, only as many as fit, but at least one: the first of them, or with
    `newest` the last.
    """
    count = min(count, execution.lines - first)
    if count <= 0:
        return []
    index = await _read_range(index_name(execution.id), first * _ENTRY.size, count * _ENTRY.size)
    places = [
        (int.from_bytes(offset, "little"), int.from_bytes(length, "little"), micros)
        for offset, length, micros in _ENTRY.iter_unpack(index)
    ]
    if newest:
        stop = places[-1][0] + places[-1][1]
        dropped = min(len(places) - 1, sum(stop - offset > page_bytes for offset, _, _ in places))
        first, places = first + dropped, places[dropped:]
    start = places[0][0]
    places = places[: max(1, sum(offset + length - start <= page_bytes for offset, length, _ in places))]
    output = memoryview(await _read_range(execution.id, start, places[-1][0] + places[-1][1] - start))
    return [
        Entry(number, _EPOCH + timedelta(microseconds=micros), text_of(bytes(output[place - start :][:length])))
        for number, (place, length, micros) in enumerate(places, first)
    ]


def step_of(execution: Execution, number: int) -> Step | None:
    """Return the step that was open when a log line was read, None when there was none."""
    place = bisect_right(execution.steps, number, key=lambda step: step.first_line) - 1
    step = execution.steps[place] if place >= 0 else None
    return step if step and number in lines_of(execution, step) else None


def lines_of(execution: Execution, step: Step) -> range:
    """Return the numbers of a step's log lines."""
    return range(step.first_line, execution.lines if step.end_line is None else step.end_line)


async def delete(execution_id: str) -> None:
    """Delete an execution's output and its index."""
    await blobs.delete(LOGS, execution_id)
    await blobs.delete(LOGS, index_name(execution_id))


async def _read_range(name: str, offset: int, length: int) -> bytes:
    return b"".join([chunk async for chunk in blobs.stream(LOGS, name, offset, length)])
