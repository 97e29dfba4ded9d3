"""The plan of the house, checked over its syntax trees and in fresh processes."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.processes import ROOT

HEAVY = (
    "azure.data.tables", "azure.storage.blob", "azure.storage.queue", "azure.mgmt", "azure.identity",
    "azure.messaging.webpubsubservice", "azure.keyvault", "openai", "anthropic",
)  # fmt: skip
"""SDKs that cost a cold start too much: imported inside the functions that use them."""

APP = [ROOT / "function_app.py", *sorted((ROOT / "shared").rglob("*.py")), *sorted((ROOT / "functions").rglob("*.py"))]
TABLES = sorted((ROOT / "shared/tables").glob("*.py"))
LOCAL = sorted(p for p in (ROOT / "infra/local").rglob("*.py") if "node_modules" not in p.parts)


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, by their absolute names."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def part_of(path: Path) -> str:
    """The part of the house a file belongs to: `shared`, `functions.<slice>` or `function_app`."""
    first, *rest = path.relative_to(ROOT).with_suffix("").parts
    return f"functions.{rest[0]}" if first == "functions" and len(rest) > 1 else first


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


class TestImports:
    @pytest.mark.parametrize("path", APP, ids=lambda p: str(p.relative_to(ROOT)))
    def test_the_app_never_points_backwards(self, path: Path):
        own = part_of(path)
        for module in imports(path):
            assert not within(module, "infra"), f"{path.name} imports {module}"
            assert not within(module, "tests"), f"{path.name} imports {module}"
            if own == "shared":
                assert not within(module, "functions") and not within(module, "function_app"), module
            elif own.startswith("functions."):
                assert not within(module, "function_app"), module
                assert not within(module, "functions") or module == "functions" or within(module, own), module

    @pytest.mark.parametrize("path", LOCAL, ids=lambda p: str(p.relative_to(ROOT)))
    def test_the_stand_ins_know_nothing_of_the_app(self, path: Path):
        for module in imports(path):
            assert not within(module, "shared") and not within(module, "functions"), f"{path} imports {module}"

    @pytest.mark.parametrize("path", TABLES, ids=lambda p: p.name)
    def test_the_tables_library_imports_nothing_else_of_shared(self, path: Path):
        for module in imports(path):
            assert not within(module, "shared") or within(module, "shared.tables"), f"{path.name} imports {module}"

    def test_the_runner_needs_the_standard_library_only(self):
        files = [*(ROOT / "infra/runner").glob("*.py"), ROOT / "shared/redaction.py"]
        own = {path.stem for path in files}
        for path in files:
            for module in imports(path):
                assert module.split(".")[0] in sys.stdlib_module_names | own, f"{path.name} imports {module}"


@pytest.fixture(scope="module")
def index() -> dict[str, list[str]]:
    """What a worker with an empty environment has after indexing: function names and loaded modules."""
    code = (
        "import json, sys, function_app\n"
        "names = [f.get_function_name() for f in function_app.app.get_functions()]\n"
        "print(json.dumps({'functions': names, 'modules': sorted(sys.modules)}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class TestIndexing:
    def test_an_empty_environment_is_enough(self, index: dict[str, list[str]]):
        assert {"run_job", "gateway_00_create_run", "gateway_9_unknown_path"} <= set(index["functions"])

    def test_no_heavy_sdk_is_imported(self, index: dict[str, list[str]]):
        assert [m for m in index["modules"] if any(within(m, heavy) for heavy in HEAVY)] == []

    def test_names_are_valid_and_unique_in_any_case(self, index: dict[str, list[str]]):
        names = index["functions"]
        assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,127}", name) and name.lower() != "host" for name in names)
        assert len({name.lower() for name in names}) == len(names)


def orchestrators() -> Iterator[tuple[str, ast.FunctionDef]]:
    for path in APP:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and any(
                "orchestration_trigger" in ast.unparse(decorator) for decorator in node.decorator_list
            ):
                yield f"{path.relative_to(ROOT)}:{node.name}", node


class TestOrchestrators:
    """A replay must take the same path: no clock, chance, environment or I/O, and nothing yielded in `finally`."""

    FORBIDDEN = re.compile(
        r"\b(datetime\.(now|utcnow|today)|date\.today|time\.|random\.|secrets\.|uuid\.|os\.|settings\(|open\(|requests\.|blobs\."
        r"|tables\.|containers\.|realtime\.|await |jobs\.|runs\.|new_id|print\()"
    )

    def test_there_are_some(self):
        assert len(list(orchestrators())) >= 2

    @pytest.mark.parametrize(
        ("name", "node"), list(orchestrators()), ids=lambda value: value if isinstance(value, str) else ""
    )
    def test_each_is_a_pure_generator(self, name: str, node: ast.FunctionDef):
        assert len(node.args.args) == 1
        body = "\n".join(ast.unparse(statement) for statement in node.body)
        found = self.FORBIDDEN.search(body)
        assert found is None, f"{name} uses {found and found.group()}"
        for part in ast.walk(node):
            if isinstance(part, ast.Try):
                for statement in part.finalbody:
                    assert not any(isinstance(inner, ast.Yield | ast.YieldFrom) for inner in ast.walk(statement)), name
