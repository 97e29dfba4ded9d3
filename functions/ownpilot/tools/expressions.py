"""Arithmetic as people write it, calculated within bounds."""

import ast
import math
import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

from functions.ownpilot.core.tool_context import ToolError

MAX_BITS = 10_000
"""Bits of the largest whole number: about 3,000 digits."""

_EXACT = Context(prec=MAX_BITS)
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "π": "pi"})
_PERCENT = re.compile(r"%(?!\s*[\w(.])")
_OF = re.compile(r"%\s*of\b", re.IGNORECASE)


def evaluate(expression: str) -> float:
    """Return the value of an expression. `ToolError`."""
    import simpleeval  # 8 ms

    text = _OF.sub("/100*", expression.translate(_SIGNS))
    text = _PERCENT.sub("/100", text).replace("^", "**").strip()
    evaluator = simpleeval.SimpleEval(operators=_operators(), functions=_functions(), names=_NAMES)
    nodes: Any = evaluator.nodes
    evaluator.nodes = {kind: nodes[kind] for kind in _NODES}
    try:
        parsed = evaluator.parse(text)
        result: Any = evaluator.eval(text, previously_parsed=parsed)
    except ZeroDivisionError:
        raise ToolError("Division by zero") from None
    except OverflowError:
        raise _too_large() from None
    except (RecursionError, MemoryError):
        raise ToolError("The expression is nested too deeply.") from None
    except SyntaxError:
        raise ToolError(f"This is not an arithmetic expression: {expression[:100]}") from None
    except (simpleeval.InvalidExpression, ValueError, TypeError) as error:
        raise ToolError(f"This cannot be calculated: {str(error)[:200]}") from None
    if (
        isinstance(result, bool)
        or not isinstance(result, int | float)
        or (isinstance(result, float) and not math.isfinite(result))
    ):
        raise ToolError("The result is not a real number.")
    return result


def shown(value: float) -> str:
    """Return a number as people write it: at most 15 digits of a fraction, no `.0`. `ToolError` for infinity."""
    if isinstance(value, int):
        return str(value)
    if math.isinf(value):
        raise _too_large()
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else format(value, ".15g")


def _too_large() -> ToolError:
    return ToolError("The result is too large.")


def _bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of numbers whose result is refused when it is too large."""

    def bounded(*values: Any) -> Any:
        if not all(isinstance(each, int | float) for each in values):
            raise ToolError("Only numbers are calculated with.")
        result = function(*values)
        if isinstance(result, int) and result.bit_length() > MAX_BITS:
            raise _too_large()
        if isinstance(result, complex):
            raise ToolError("The result is not a real number.")
        return result

    return bounded


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1:
        if exponent * base.bit_length() > 2 * MAX_BITS:
            raise _too_large()
        if exponent < -MAX_BITS:
            return 0.0
    return base**exponent


def _factorial(of: Any) -> int:
    if of != int(of) or of < 0:
        raise ToolError("A factorial is one of a whole number that is not negative.")
    if of > 1000:
        raise _too_large()
    return math.factorial(int(of))


def _round(value: Any, digits: Any = 0) -> Any:
    """Round halves away from zero, by the decimal digits with which the number is written."""
    places = max(-400, min(400, int(digits)))
    if isinstance(value, float) and not math.isfinite(value):
        return value
    rounded = Decimal(str(value)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP, _EXACT)
    return int(rounded) if places <= 0 or isinstance(value, int) else float(rounded)


def _operators() -> dict[type[ast.AST], Callable[..., Any]]:
    import operator

    binary: dict[type[ast.AST], Callable[..., Any]] = {
        ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
        ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: _power,
        ast.USub: operator.neg, ast.UAdd: operator.pos,
    }  # fmt: skip
    return {kind: _bounded(function) for kind, function in binary.items()}


def _functions() -> dict[str, Callable[..., Any]]:
    plain = (
        "sqrt", "exp", "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "log10", "log2",
        "log", "degrees", "radians", "floor", "ceil", "trunc", "hypot", "cbrt", "gcd", "lcm",
    )  # fmt: skip
    named: dict[str, Callable[..., Any]] = {name: getattr(math, name) for name in plain}
    named |= {"ln": math.log, "abs": abs, "min": min, "max": max, "pow": _power, "round": _round}
    named |= {"factorial": _factorial, "mod": lambda a, b: a % b, "sum": lambda *them: sum(them)}
    return {name: _bounded(function) for name, function in named.items()}


_NAMES = {"pi": math.pi, "e": math.e, "tau": math.tau}
_NODES = (ast.Expr, ast.Constant, ast.BinOp, ast.UnaryOp, ast.Call, ast.Name)
"""What an expression may consist of: no texts are calculated with, no attributes, no subscripts, no conditions."""
