"""What a Bicep file declares, uses and passes to modules, read from its syntax tree without the compiler."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

from infra.emulator.processes import ROOT

MAIN = ROOT / "infra/main.bicep"

_PARSER = Parser(Language(tree_sitter_bicep.language()))


@dataclass(frozen=True)
class Parameter:
    """A parameter; `default` is None when a value is required."""

    default: Node | None
    secure: bool


@dataclass(frozen=True)
class Resource:
    """A resource; `type` is as written: with its version, or relative to the enclosing resource."""

    type: str
    existing: bool


@dataclass(frozen=True)
class Module:
    """A use of another file, with the arguments by name."""

    path: str
    arguments: dict[str, Node]


@dataclass
class Template:
    """One Bicep file; `broken` has the numbers of the lines with syntax errors."""

    root: Node
    parameters: dict[str, Parameter] = field(default_factory=dict[str, Parameter])
    variables: dict[str, Node] = field(default_factory=dict[str, Node])
    resources: dict[str, Resource] = field(default_factory=dict[str, Resource])
    modules: dict[str, Module] = field(default_factory=dict[str, Module])
    outputs: dict[str, Node] = field(default_factory=dict[str, Node])
    broken: list[int] = field(default_factory=list[int])

    @classmethod
    def parse(cls, source: str) -> "Template":
        """The template of a file's text."""
        template = cls(_PARSER.parse(source.encode()).root_node)
        for node in walk(template.root):
            template._declare(node)
        return template

    @classmethod
    def read(cls, path: Path) -> "Template":
        """The template in a file."""
        return cls.parse(path.read_text())

    def _declare(self, node: Node) -> None:
        if node.is_error or node.is_missing:
            self.broken.append(node.start_point.row + 1)
        if not node.type.endswith("_declaration"):
            return
        name, body = text(node.named_children[0]), node.named_children[-1]
        match node.type:
            case "parameter_declaration":
                before = node.prev_named_sibling
                secure = before is not None and before.type == "decorators" and "@secure(" in text(before)
                self.parameters[name] = Parameter(None if body.type == "type" else body, secure)
            case "variable_declaration":
                self.variables[name] = body
            case "resource_declaration":
                existing = any(child.type == "existing" for child in node.children)
                self.resources[name] = Resource(string(node.named_children[1]), existing)
            case "module_declaration":
                self.modules[name] = Module(string(node.named_children[1]), properties(properties(body)["params"]))
            case "output_declaration":
                self.outputs[name] = body

    def bodies(self, prefix: str) -> dict[str, str]:
        """The source of each resource whose type begins with `prefix`, by its name."""
        found = (node for node in walk(self.root) if node.type == "resource_declaration")
        sources = {text(node.named_children[0]): text(node) for node in found}
        return {name: sources[name] for name, resource in self.resources.items() if resource.type.startswith(prefix)}

    @property
    def declared(self) -> set[str]:
        """Every name that expressions of this file can use, except loop and lambda variables."""
        return {*self.parameters, *self.variables, *self.resources, *self.modules}

    @property
    def used(self) -> set[str]:
        """Every name that expressions of this file use."""
        return set(names(self.root))

    @property
    def functions(self) -> set[str]:
        """Every function and decorator that this file calls, including `list...` methods of resources."""
        return {
            text(node.named_children[0]).rpartition(".")[2]
            for node in walk(self.root)
            if node.type == "call_expression"
        }

    @property
    def reads(self) -> set[tuple[str, str]]:
        """The outputs of modules that this file reads: (module, output)."""
        found: set[tuple[str, str]] = set()
        for node in walk(self.root):
            if node.type == "member_expression" and node.named_children[0].type == "member_expression":
                module, _, name = text(node.named_children[0]).partition(".")
                if name == "outputs":
                    found.add((module, text(node.named_children[1])))
        return found


def walk(node: Node) -> Iterator[Node]:
    """A node and everything below it."""
    yield node
    for child in node.children:
        yield from walk(child)


def text(node: Node) -> str:
    """The source text of a node."""
    return (node.text or b"").decode()


def string(node: Node) -> str:
    """The text between a string's quotes, with interpolations as written."""
    return text(node)[1:-1]


def properties(node: Node) -> dict[str, Node]:
    """The properties of an object by name, without quotes around names."""
    pairs = [child.named_children for child in node.named_children if child.type == "object_property"]
    return {text(pair[0]).strip("'"): pair[-1] for pair in pairs if len(pair) > 1}


def names(node: Node, local: frozenset[str] = frozenset()) -> Iterator[str]:
    """The names used as values at a node and below; not declared names, properties or functions."""
    children = node.named_children
    match node.type:
        case "identifier":
            if text(node) not in local:
                yield text(node)
            return
        case "decorators" | "type" | "property_identifier":
            return
        case "lambda_expression" | "for_statement":
            *bound, _ = children if node.type == "lambda_expression" else children[:2]
            inner = local | {text(part) for one in bound for part in walk(one) if part.type == "identifier"}
            if node.type == "for_statement":
                yield from names(children[1], local)
            yield from names(children[-1], inner)
            return
        case kind if kind.endswith("_declaration"):
            children = children[1:]
        case "object_property" if len(children) > 1 and children[0].type == "identifier":
            children = children[1:]
        case "call_expression" if children[0].type == "identifier":
            children = children[1:]
        case _:
            pass
    for child in children:
        yield from names(child, local)


def values(template: Template, name: str) -> list[str]:
    """The values that properties of this name have in a file, as written."""
    pairs = [node.named_children for node in walk(template.root) if node.type == "object_property"]
    return [text(pair[-1]) for pair in pairs if len(pair) > 1 and text(pair[0]).strip("'") == name]


def module_file(path: str) -> Template:
    """The template of a file that the main file uses as a module."""
    return Template.read(MAIN.parent / path)
