"""Route templates, and the order in which the real host tries them."""

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from infra.emulator.host.constraints import Check, constraint
from infra.emulator.host.index import Function
from infra.emulator.host.settings import InvalidApp

PARAMETER = re.compile(
    r"""\{ (?P<stars>\*{0,2}) (?P<name>[^{}:?=*]+)
        (?P<constraints>(?: : [A-Za-z]+ (?:\( (?:[^(){}]|\{\{|\}\}|\([^()]*\))* \))? )*)
        (?: =(?P<default>[^{}?]*) )? (?P<optional>\?)? \}""",
    re.VERBOSE,
)
CONSTRAINT = re.compile(r":([A-Za-z]+)(?:\(((?:[^()]|\([^()]*\))*)\))?")

INDEXED = 4
"""Literal segments at the beginning of a template by which it is found: an app may have hundreds of routes."""


@dataclass(frozen=True)
class RouteParameter:
    """One `{name:constraint=default?}` of a template."""

    name: str
    checks: list[Check]
    optional: bool
    default: str | None
    catch_all: bool


@dataclass(frozen=True)
class RouteSegment:
    """The part between two slashes of a template; `text` is as it stands there."""

    text: str
    pattern: re.Pattern[str]
    parameters: list[RouteParameter]


class RouteTemplate:
    """One route template.

    Raises:
        ValueError: the template is malformed; the message says why.
    """

    def __init__(self, text: str):
        self.text = text.strip("/")
        if "//" in text:
            raise ValueError("consecutive slashes")
        self.segments: list[RouteSegment] = []
        names: set[str] = set()
        for part in _split(self.text):
            segment = _segment(part)
            if self.segments and any(p.catch_all for p in self.segments[-1].parameters):
                raise ValueError("a catch-all must come last")
            for parameter in segment.parameters:
                if parameter.name.lower() in names:
                    raise ValueError(f"the parameter {parameter.name!r} appears twice")
                names.add(parameter.name.lower())
            self.segments.append(segment)

    @property
    def beginning(self) -> tuple[str, ...]:
        """The segments before the first parameter, at most `INDEXED`, in lower case."""
        literal = itertools.takewhile(lambda segment: not segment.parameters, self.segments[:INDEXED])
        return tuple(segment.text.lower() for segment in literal)

    def match(self, parts: list[str]) -> dict[str, str] | None:
        """The route values for these decoded path segments; None when the template does not match."""
        values: dict[str, str] = {}
        position = 0
        for segment in self.segments:
            first = segment.parameters[0] if segment.parameters else None
            if first and first.catch_all:
                found, position = {first.name: "/".join(parts[position:])}, len(parts)
            elif position < len(parts) and parts[position]:
                match = segment.pattern.fullmatch(parts[position])
                if match is None:
                    return None
                found = dict(zip((p.name for p in segment.parameters), match.groups(), strict=True))
                position += 1
            elif position == len(parts) and first and (first.optional or first.default is not None):
                found = {first.name: ""}
            else:
                return None
            for parameter in segment.parameters:
                value = found[parameter.name] or parameter.default
                if value is None and (parameter.optional or parameter.catch_all):
                    continue
                if value is None or not all(check(value) for check in parameter.checks):
                    return None
                values[parameter.name] = value
        return values if position == len(parts) else None


def _split(text: str) -> list[str]:
    """The segments of a template; a slash inside braces belongs to a regular expression."""
    parts, depth = [""], 0
    for character in text:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "/" and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts if text else []


def _segment(text: str) -> RouteSegment:
    pattern, end, parameters = "", 0, []
    for match in PARAMETER.finditer(text):
        pattern += re.escape(text[end : match.start()]) + "(.+)"
        end = match.end()
        checks = [constraint(kind, argument or None) for kind, argument in CONSTRAINT.findall(match["constraints"])]
        parameters.append(
            RouteParameter(match["name"], checks, bool(match["optional"]), match["default"], bool(match["stars"]))
        )
    literal = text[end:]
    if re.search("[{}]", PARAMETER.sub("", text)):
        raise ValueError(f"malformed segment {text!r}")
    if (len(parameters) > 1 or pattern != "(.+)" or literal) and any(
        p.optional or p.catch_all or p.default is not None for p in parameters
    ):
        raise ValueError(f"{text!r}: an optional or catch-all parameter must be a segment of its own")
    return RouteSegment(text, re.compile(pattern + re.escape(literal), re.IGNORECASE | re.DOTALL), parameters)


@dataclass(frozen=True)
class FunctionRoute:
    """The route of one HTTP function; an empty set of methods allows all methods."""

    function: Function
    path: str
    methods: frozenset[str]
    template: RouteTemplate


class RouteTable:
    """The HTTP functions of an app, in the order in which the host tries them: by name, without priority for literals.

    `conflicts` has one line for each function that is dropped because an earlier one has its template and a method.

    Raises:
        InvalidApp: a template is malformed, or begins with a reserved word.
    """

    def __init__(self, functions: Iterable[Function], prefix: str):
        self.routes: list[FunctionRoute] = []
        self._by_beginning: dict[tuple[str, ...], list[int]] = {}
        self.conflicts: list[str] = []
        for function in sorted((f for f in functions if f.kind == "httpTrigger"), key=lambda f: f.name.upper()):
            path = (function.trigger.get("route") or function.name).strip("/")
            if path.lower().startswith(("admin", "runtime")):
                raise InvalidApp(f"{function.name}: the route {path!r} begins with a reserved word")
            methods = frozenset(str(method).upper() for method in function.trigger.get("methods") or ())
            try:
                template = RouteTemplate(f"{prefix}/{path}" if prefix else path)
            except (ValueError, re.error) as error:
                raise InvalidApp(f"{function.name}: the route {path!r} is malformed: {error}") from None
            if other := self._conflict(template, methods):
                self.conflicts.append(f"{function.name}: dropped, its route {path!r} is the route of {other}")
            else:
                self._by_beginning.setdefault(template.beginning, []).append(len(self.routes))
                self.routes.append(FunctionRoute(function, template.text, methods, template))

    def _conflict(self, template: RouteTemplate, methods: frozenset[str]) -> str | None:
        for other in self.routes:
            same = other.path.lower() == template.text.lower()
            if same and (not methods or not other.methods or methods & other.methods):
                return other.function.name
        return None

    def match(self, method: str, raw_path: str) -> tuple[Function, dict[str, str]] | None:
        """The function of the first route that matches this method and percent-encoded path, with its route values."""
        parts = path_segments(raw_path)
        lower = [part.lower() for part in parts[:INDEXED]]
        places = (self._by_beginning.get(tuple(lower[:count]), []) for count in range(len(lower) + 1))
        for route in map(self.routes.__getitem__, sorted(itertools.chain.from_iterable(places))):
            if route.methods and method.upper() not in route.methods:
                continue
            values = route.template.match(parts)
            if values is not None:
                return route.function, values
        return None


def path_segments(raw_path: str) -> list[str]:
    """The decoded segments of a request path; an encoded slash stays encoded, one slash at the end is ignored."""
    text = raw_path.removeprefix("/").removesuffix("/")
    return [unquote(re.sub("%2f", "%252F", part, flags=re.IGNORECASE)) for part in text.split("/")] if text else []
