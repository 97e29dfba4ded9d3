"""Tools on JSON, CSV and tables."""

import csv
import html
import io
import json as json_texts
import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast

from pydantic import Field

from functions.ownpilot.core.tool_context import ToolContext, ToolError
from functions.ownpilot.tools.parameters import Short, Text, check_size, in_thread
from functions.ownpilot.tools.registry import tool

Delimiter = Annotated[str, Field(pattern=r'^[^"\r\n]$', description="One character; a tab for columns of tabs")]
_STEP = re.compile(r"\[(\d{1,9})\]|([^.\[\]]+)")


def parsed_json(text: str) -> Any:
    """Return the value of a JSON text. ValueError when it is not JSON, or holds a number that is too large.

    `RecursionError` when it is nested too deeply.
    """

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is not JSON")

    return json_texts.loads(text, parse_constant=refuse, parse_float=_finite)


def _parsed(text: str) -> Any:
    try:
        return parsed_json(text)
    except RecursionError:
        raise ToolError("json: it is nested too deeply") from None
    except ValueError as error:
        raise ToolError(f"json: {error}") from None


def _finite(digits: str) -> float:
    if math.isinf(number := float(digits)):
        raise ValueError(f"{digits[:50]} is too large")
    return number


def _written(value: Any, indent: int | None = None) -> str:
    try:
        return json_texts.dumps(value, ensure_ascii=False, indent=indent)
    except RecursionError:
        raise ToolError("json: it is nested too deeply") from None


@tool(category="textUtils", tags=("read", "extract"))
async def parse_json(
    context: ToolContext,
    json: Text,
    path: Annotated[Short | None, Field(description="A place in it, such as items[0].name")] = None,
) -> str:
    """Check a JSON text, and return it or the value at a place in it."""
    value = await in_thread(_parsed, json)
    for at, name in _STEP.findall((path or "").removeprefix("$")):
        try:
            value = value[int(at)] if at else value[name]
        except (KeyError, IndexError, TypeError):
            raise ToolError(f"path: there is no {name or f'[{at}]'}") from None
    return value if isinstance(value, str) else _written(value)


@tool(category="textUtils", tags=("pretty", "indent"))
async def format_json(context: ToolContext, json: Text, indent: Annotated[int, Field(ge=0, le=8)] = 2) -> str:
    """Write a JSON text anew with an indentation; 0 writes it on one line."""
    value = await in_thread(_parsed, json)
    check_size(len(json) + _depths(json) * indent)
    return _written(value, indent or None)


def _depths(text: str) -> int:
    """Return the sum of the depths of all lines that an indented text would have, or somewhat more."""
    depth = total = 0
    for sign in re.findall(r"[\[{}\],]", text):
        depth += (sign in "[{") - (sign in "]}")
        total += max(0, depth)
    return total


@tool(category="conversion", tags=("spreadsheet", "table"))
async def json_to_csv(context: ToolContext, json: Text, delimiter: Delimiter = ",") -> str:
    """Make CSV of a JSON list of objects: a column for each name, a line for each object."""
    given = await in_thread(_parsed, json)
    rows: list[Any] = cast("list[Any]", given) if isinstance(given, list) else [given]
    if not all(isinstance(row, dict) for row in rows):
        raise ToolError("json: this is not a list of objects")
    columns = [*dict.fromkeys(name for row in rows for name in row)]
    check_size(len(json) + len(rows) * len(columns))
    lines = [[_cell(row.get(name)) for name in columns] for row in rows]
    return _csv([columns, *lines], delimiter) if columns else ""


def _cell(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else _written(value)


def _csv(rows: Sequence[Sequence[str]], delimiter: str) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return buffer.getvalue().removesuffix("\n")


@tool(category="conversion", tags=("spreadsheet", "table"))
async def csv_to_json(context: ToolContext, csv: Text, delimiter: Delimiter = ",", headers: bool = True) -> str:
    """Make a JSON list of CSV: of objects by the names in the first line, or without headers of lists."""
    rows = await in_thread(_rows, csv, delimiter)
    if not headers or not rows:
        return _written(rows)
    names, *lines = rows
    check_size(len(csv) + len(lines) * sum(map(len, names)))
    return _written([dict(zip(names, line, strict=False)) for line in lines])


def _rows(text: str, delimiter: str) -> list[list[str]]:
    try:
        return [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]
    except csv.Error as error:
        raise ToolError(f"csv: {error}") from None


@tool(category="listOps", tags=("markdown", "grid"))
async def create_table(
    context: ToolContext,
    headers: Annotated[list[str], Field(min_length=1, max_length=200)],
    rows: Annotated[list[list[Any]], Field(max_length=10_000)],
    format: Literal["markdown", "csv", "html", "text"] = "markdown",
) -> str:
    """Draw a table of headers and rows."""
    width = len(headers)
    if any(len(row) > width for row in rows):
        raise ToolError(f"rows: a row has more cells than the {width} headers")
    check_size(width * len(rows))
    cells = [[_cell(each) for each in row] + [""] * (width - len(row)) for row in [headers, *rows]]
    match format:
        case "csv":
            return _csv(cells, ",")
        case "html":
            head, *body = ["".join(f"<td>{html.escape(each)}</td>" for each in line) for line in cells]
            lines = "".join(f"<tr>{line}</tr>" for line in body)
            return f"<table><thead><tr>{head.replace('td>', 'th>')}</tr></thead><tbody>{lines}</tbody></table>"
        case "text":
            plain = [[" ".join(each.split()) for each in line] for line in cells]
            widths = [max(map(len, column)) for column in zip(*plain, strict=True)]
            check_size(sum(widths) * len(plain))
            drawn = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in plain]
            return "\n".join([drawn[0], "  ".join("-" * each for each in widths), *drawn[1:]])
        case "markdown":
            escaped = [[" ".join(each.replace("|", "\\|").split()) for each in line] for line in cells]
            drawn = [f"| {' | '.join(line)} |" for line in escaped]
            return "\n".join([drawn[0], f"|{' --- |' * width}", *drawn[1:]])
