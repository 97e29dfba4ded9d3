"""The tools of the plugin that reads program texts: nothing of them is run."""

import ast
import json
from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import Field

from functions.ownpilot.core.tool_context import ToolContext
from functions.ownpilot.tools.encoding import hash_text
from functions.ownpilot.tools.parameters import Text, in_thread
from functions.ownpilot.tools.plugin_tool import plugin_settings, plugin_tool, within
from functions.ownpilot.tools.python_layout import NotPython, indented, parsed, tidied
from functions.ownpilot.tools.structured import parsed_json

PLUGIN = "code-assistant"
Code = Annotated[str, Field(max_length=100_000)]


@plugin_tool(PLUGIN, tags=("indent", "pretty", "python", "json"))
async def code_format(
    context: ToolContext,
    code: Code,
    language: Annotated[str | None, Field(max_length=50, description="Such as python or json; found out if left out")]
    = None,
) -> dict[str, Any]:  # fmt: skip
    """Tidy a program text. Python and JSON get a new indentation, and their meaning is checked to stay the same; of
    other languages only the ends of lines and empty lines change."""
    settings = await plugin_settings(context.owner, PLUGIN)
    return await in_thread(_format, code, (language or "").strip().lower(), within(settings["indent"], 1, 8))


def _format(code: str, language: str, width: int) -> dict[str, Any]:
    if language in ("", "json"):
        try:
            value: Any = parsed_json(code)
        except (ValueError, RecursionError) as error:
            if language:
                return {"code": code, "language": "json", "changed": False, "problem": f"This is not JSON: {error}"}
        else:
            return _formatted(code, json.dumps(value, indent=width, ensure_ascii=False) + "\n", "json")
    if language in ("", "python", "py"):
        try:
            return _formatted(code, indented(code, width), "python")
        except NotPython as error:
            if language:
                return {"code": code, "language": "python", "changed": False, "problem": str(error)}
    shown = _formatted(code, tidied(code), language or "unknown")
    return shown | {"note": "Only the ends of lines and empty lines were tidied: this language is not understood here."}


def _formatted(before: str, after: str, language: str) -> dict[str, Any]:
    return {"code": after, "language": language, "changed": after != before}


@plugin_tool(PLUGIN, tags=("functions", "complexity", "review", "lines"))
async def code_analyze(context: ToolContext, code: Code) -> dict[str, Any]:
    """Describe a program text: its lines; of Python also imports, classes, functions with their complexity, and what
    looks doubtful. The program is not run."""
    return await in_thread(_analyze, code)


def _analyze(code: str) -> dict[str, Any]:
    lines = code.splitlines()
    shown: dict[str, Any] = {
        "lines": len(lines), "emptyLines": sum(not line.strip() for line in lines),
        "longestLine": max(map(len, lines), default=0), "characters": len(code),
    }  # fmt: skip
    try:
        tree = parsed(code)
    except NotPython as error:
        return {"language": "unknown", **shown, "note": f"{error}; other languages are only counted here."}
    nodes = [*ast.walk(tree)]
    functions = [each for each in nodes if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {"language": "python", **shown} | {
        "imports": sorted({name for each in nodes for name in _imported(each)}),
        "classes": [each.name for each in nodes if isinstance(each, ast.ClassDef)],
        "functions": [
            {"name": each.name, "line": each.lineno, "complexity": _complexity(each),
             "parameters": len(each.args.posonlyargs) + len(each.args.args) + len(each.args.kwonlyargs),
             "documented": ast.get_docstring(each) is not None}
            for each in sorted(functions, key=lambda it: it.lineno)
        ],
        "doubtful": _doubtful(nodes),
    }  # fmt: skip


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [each.name for each in node.names]
    return [node.module or "."] if isinstance(node, ast.ImportFrom) else []


_BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.comprehension, ast.match_case)


def _complexity(function: ast.AST) -> int:
    """Return the number of ways through a function, as McCabe counts them."""
    count = 1
    for each in ast.walk(function):
        count += isinstance(each, _BRANCHES)
        if isinstance(each, ast.BoolOp):
            count += len(each.values) - 1
    return count


def _doubtful(nodes: list[ast.AST]) -> list[dict[str, Any]]:
    """Return what one should look at: the first 50 places."""
    found: list[tuple[int, str]] = []
    defined = Counter(each.name for each in nodes if isinstance(each, ast.ClassDef))
    for node in nodes:
        match node:
            case ast.ExceptHandler(type=None):
                found.append((node.lineno, "an except without an exception catches everything"))
            case ast.Call(func=ast.Name(id=("eval" | "exec") as name)):
                found.append((node.lineno, f"{name} runs whatever a text says"))
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                values = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
                if any(isinstance(each, ast.List | ast.Dict | ast.Set) for each in values):
                    found.append((node.lineno, f"calls of {node.name} share the list or dictionary of its default"))
            case ast.Compare(ops=[ast.Eq() | ast.NotEq()], comparators=[ast.Constant(value=None)]):
                found.append((node.lineno, "None is compared with `is`"))
            case ast.ImportFrom(names=[ast.alias(name="*")]):
                found.append((node.lineno, "import * hides where names come from"))
            case ast.ClassDef() if defined[node.name] > 1:
                found.append((node.lineno, f"there are several classes named {node.name}"))
            case _:
                pass
    return [{"line": line, "what": what} for line, what in sorted(found)[:50]]


@plugin_tool(PLUGIN, tags=("digest", "checksum"))
async def code_hash(context: ToolContext, text: Text, algorithm: Literal["md5", "sha1", "sha256"] = "sha256") -> str:
    """Hash a text (as UTF-8); the result is hexadecimal."""
    return await hash_text(context, text, algorithm)
