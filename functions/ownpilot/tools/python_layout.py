"""The layout of Python texts: a new indentation that leaves the meaning as it is. Nothing is run."""

import ast
import io
import re
import tokenize
import warnings

# The parser warns of doubtful escapes in the texts that it reads, and would show them in the log.
warnings.filterwarnings("ignore", category=SyntaxWarning, module="<unknown>")


class NotPython(Exception):
    """A text that is not valid Python; the message says where."""


def parsed(code: str) -> ast.Module:
    """Return the syntax tree of a Python text. `NotPython`."""
    try:
        return ast.parse(code)
    except SyntaxError as error:
        raise NotPython(f"This is not valid Python: line {error.lineno or 1}: {error.msg}") from None
    except (RecursionError, MemoryError, ValueError, OverflowError):
        raise NotPython("This is not Python that can be read: it is nested too deeply, or holds NUL") from None


def tidied(code: str) -> str:
    """Return a text without white space at the ends of its lines, and with two empty lines in a row at most."""
    text = "\n".join(line.rstrip() for line in _with_plain_ends(code).split("\n"))
    return re.sub(r"\n{4,}", "\n\n\n", text).strip("\n") + "\n"


def indented(code: str, width: int) -> str:
    """Return a Python text with so many spaces for each level, tidied except in the texts that it holds.

    `NotPython`. Should the meaning change, it stays as it is.
    """
    made = _laid_out(_with_plain_ends(code), width)
    return made if _meaning(parsed(code)) == _meaning(parsed(made)) else code


def _with_plain_ends(code: str) -> str:
    return code.replace("\r\n", "\n").replace("\r", "\n")


def _meaning(tree: ast.Module) -> str:
    try:
        return ast.dump(tree)
    except RecursionError:
        raise NotPython("This is not Python that can be read: it is nested too deeply") from None


def _laid_out(code: str, width: int) -> str:
    """Indent and tidy a Python text. The lines of a statement move together; those inside a text stay."""
    try:
        tokens = [*tokenize.generate_tokens(io.StringIO(code).readline)]
    except (tokenize.TokenError, SyntaxError):
        return code
    level, moved, is_start = 0, 0, True
    shift: dict[int, int] = {}
    inside: set[int] = set()
    comments: list[tokenize.TokenInfo] = []
    texts: list[int] = []  # the first lines of f-strings that are open: since Python 3.12 they are several tokens
    for token in tokens:
        (first, column), (last, _), kind = token.start, token.end, tokenize.tok_name[token.type]
        if kind == "INDENT":
            level += 1
        elif kind == "DEDENT":
            level -= 1
        elif kind == "NEWLINE":
            is_start = True
        elif kind == "COMMENT":
            comments.append(token)
        elif kind not in ("NL", "ENDMARKER"):
            if is_start:
                before, moved, is_start = moved, level * width - column, False
                # A comment moves with the statement behind it when they begin alike, else with the one before it.
                for each in comments:
                    shift.setdefault(each.start[0], moved if each.start[1] == column else before)
                comments.clear()
            for line in range(first, last + 1):
                shift.setdefault(line, moved)
            inside.update(range(first + 1, last + 1))
            if kind.endswith("STRING_START"):
                texts.append(first)
            elif kind.endswith("STRING_END"):
                inside.update(range(texts.pop() + 1, last + 1))
    for each in comments:
        shift.setdefault(each.start[0], moved)
    made: list[str] = []
    empty = 0
    for number, line in enumerate(code.split("\n"), 1):
        if number not in inside:
            line = _moved(line, shift.get(number, 0))
        if number + 1 not in inside:
            line = line.rstrip()
        empty = 0 if line or number in inside else empty + 1
        if empty <= 2:
            made.append(line)
    return "\n".join(made).strip("\n") + "\n"


def _moved(line: str, by: int) -> str:
    text = line.lstrip()
    return " " * max(0, len(line) - len(text) + by) + text if text else ""
