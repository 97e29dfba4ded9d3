"""The apps that the host serves, and the errors for apps that it refuses."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.emulator.host.index import Function, load
from infra.emulator.host.settings import HostConfiguration, InvalidApp, apply_app_settings, time_span
from infra.emulator.processes import NotReady
from tests.infra.emulator.host.harness import Serve, write_app

Load = Callable[[str], list[Function]]


@pytest.fixture
def load_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Index an app with this code in this process."""

    def load_source(source: str) -> list[Function]:
        return load(write_app(tmp_path, source))

    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "function_app", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield load_source
    sys.modules.pop("function_app", None)


def http(name: str, *, route: str = "x", parameters: str = "req: Request") -> str:
    return f"""
@app.function_name({name!r})
@app.route(route={route!r})
async def f_{abs(hash(name))}({parameters}): ...
"""


class TestFunctions:
    def test_all_kinds_of_functions_are_indexed_in_name_order(self, load_app: Load):
        functions = load_app(
            http("web")
            + """
@app.timer_trigger(arg_name="t", schedule="0 0 * * * *")
def Hourly(t: func.TimerRequest): ...

@app.orchestration_trigger(context_name="context")
def flow(ctx): yield

@app.activity_trigger(input_name="x", activity="Work")
def work(x): ...

@app.entity_trigger(context_name="context")
def counter(ctx): ...
"""
        )
        assert [(f.name, f.kind) for f in functions] == [
            ("counter", "entityTrigger"),
            ("flow", "orchestrationTrigger"),
            ("Hourly", "timerTrigger"),
            ("web", "httpTrigger"),
            ("work", "activityTrigger"),
        ]
        assert functions[-1].durable_name == "Work"

    @pytest.mark.parametrize("name", ["1st", "a.b", "x" * 129, "host", "Host", "ä"])
    def test_a_bad_function_name_is_refused(self, load_app: Load, name: str):
        with pytest.raises(InvalidApp, match="not a valid function name"):
            load_app(http(name))

    def test_names_that_differ_by_case_only_are_refused(self, load_app: Load):
        with pytest.raises(InvalidApp, match="by case only"):
            load_app(http("Run", route="a") + http("run", route="b"))

    def test_one_name_twice_is_refused(self, load_app: Load):
        with pytest.raises(InvalidApp, match="run"):
            load_app(http("run", route="a") + http("run", route="b"))

    def test_a_binding_name_with_an_underscore_is_refused(self, load_app: Load):
        with pytest.raises(InvalidApp, match=r"^work: the binding name 'the_input'"):
            load_app("@app.activity_trigger(input_name='the_input')\ndef work(the_input): ...")

    def test_a_parameter_without_a_binding_is_refused(self, load_app: Load):
        with pytest.raises(InvalidApp, match=r"^run: parameters \['other', 'req'\] do not match"):
            load_app(http("run", parameters="req: Request, other: str"))

    def test_a_classic_http_request_is_refused(self, load_app: Load):
        with pytest.raises(InvalidApp, match=r"^run: req must be annotated"):
            load_app(http("run", parameters="req: func.HttpRequest"))

    @pytest.mark.parametrize(
        "decorator",
        [
            "blob_trigger(arg_name='x', path='c/{n}', connection='S')",
            "event_grid_trigger(arg_name='x')",
            "service_bus_queue_trigger(arg_name='x', queue_name='q', connection='S')",
        ],
    )
    def test_an_unsupported_trigger_is_refused(self, load_app: Load, decorator: str):
        with pytest.raises(InvalidApp, match=r"^run: the host does not support the \w+Trigger binding"):
            load_app(f"@app.{decorator}\ndef run(x): ...")

    def test_an_orchestrator_whose_context_has_another_name_is_refused(self, load_app: Load):
        with pytest.raises(InvalidApp, match=r"^work: .*write context_name='context'"):
            load_app("@app.orchestration_trigger(context_name='ctx')\ndef work(ctx): ...")

    def test_an_annotation_that_is_not_a_plain_type_is_refused(self, load_app: Load):
        with pytest.raises(InvalidApp, match=r"^work: data is annotated with dict\[str, str\]"):
            load_app("@app.activity_trigger(input_name='data')\ndef work(data: dict[str, str]): ...")

    def test_two_apps_are_refused(self, load_app: Load):
        with pytest.raises(InvalidApp, match="one function app"):
            load_app("other = func.FunctionApp()")

    def test_one_app_under_two_names_is_allowed(self, load_app: Load):
        assert [f.name for f in load_app("other = app\n" + http("run"))] == ["run"]

    def test_no_app_is_refused(self, load_app: Load):
        with pytest.raises(InvalidApp, match="one function app"):
            load_app("app = None")

    def test_a_file_that_does_not_import_raises_its_own_error(self, load_app: Load):
        with pytest.raises(ModuleNotFoundError, match="missing_module"):
            load_app("import missing_module")


class TestConfiguration:
    def configuration(self, tmp_path: Path, host_json: dict[str, Any]) -> HostConfiguration:
        return HostConfiguration(write_app(tmp_path, "", host_json=host_json))

    def test_the_defaults_are_those_of_the_platform(self, tmp_path: Path):
        configuration = self.configuration(tmp_path, {})
        assert (configuration.route_prefix, configuration.function_timeout) == ("api", 1800)

    def test_host_json_sets_the_route_prefix(self, tmp_path: Path):
        assert self.configuration(tmp_path, {"extensions": {"http": {"routePrefix": ""}}}).route_prefix == ""

    def test_the_environment_overrides_host_json(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("AzureFunctionsJobHost__extensions__http__routePrefix", "v2")
        assert self.configuration(tmp_path, {"extensions": {"http": {"routePrefix": ""}}}).route_prefix == "v2"

    def test_a_function_timeout_of_minus_one_is_none(self, tmp_path: Path):
        assert self.configuration(tmp_path, {"functionTimeout": "-1"}).function_timeout is None

    def test_a_missing_host_json_is_refused(self, tmp_path: Path):
        with pytest.raises(InvalidApp, match=r"no host\.json"):
            HostConfiguration(tmp_path)

    @pytest.mark.parametrize("text", ["{", "[]", "{}", '{"version": "1.0"}'])
    def test_an_invalid_host_json_is_refused(self, tmp_path: Path, text: str):
        (tmp_path / "host.json").write_text(text)
        with pytest.raises(InvalidApp, match=r"host\.json"):
            HostConfiguration(tmp_path)

    @pytest.mark.parametrize(
        ("text", "seconds"), [("00:05:00", 300), ("1.00:00:01", 86401), ("00:00:00.5", 0.5), ("10:00:00", 36000)]
    )
    def test_time_spans(self, text: str, seconds: float):
        assert time_span(text) == seconds

    @pytest.mark.parametrize("text", ["", "5", "00:05", "a:b:c"])
    def test_an_invalid_time_span_is_refused(self, text: str):
        with pytest.raises(InvalidApp, match="time span"):
            time_span(text)


class TestAppSettings:
    def settings(self, folder: Path, name: str, values: str) -> None:
        (folder / name).write_text('{"IsEncrypted": false, "Values": ' + values + "}")

    @pytest.fixture(autouse=True)
    def environment(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
        environment: dict[str, str] = {}
        monkeypatch.setattr("os.environ", environment)
        return environment

    def test_the_sample_serves_when_there_is_no_local_file(self, tmp_path: Path, environment: dict[str, str]):
        self.settings(tmp_path, "local.settings.sample.json", '{"A": "sample"}')
        apply_app_settings(tmp_path)
        assert environment["A"] == "sample"

    def test_the_local_file_replaces_the_sample(self, tmp_path: Path, environment: dict[str, str]):
        self.settings(tmp_path, "local.settings.sample.json", '{"A": "sample", "B": "sample"}')
        self.settings(tmp_path, "local.settings.json", '{"A": "local"}')
        apply_app_settings(tmp_path)
        assert environment["A"] == "local"
        assert "B" not in environment

    def test_the_environment_overrides_both_files(self, tmp_path: Path, environment: dict[str, str]):
        environment["A"] = "real"
        self.settings(tmp_path, "local.settings.json", '{"A": "local"}')
        apply_app_settings(tmp_path)
        assert environment["A"] == "real"

    @pytest.mark.parametrize(
        ("values", "why"),
        [
            ('{"A": 1}', ": the value of A must be a string"),
            ("[]", ': "Values" must be a JSON object'),
            ("{,", " is not JSON: Expecting property name"),
        ],
    )
    def test_values_that_cannot_be_used_are_refused(self, tmp_path: Path, values: str, why: str):
        self.settings(tmp_path, "local.settings.json", values)
        with pytest.raises(InvalidApp, match=rf"^local\.settings\.json{why}"):
            apply_app_settings(tmp_path)


class TestStart:
    async def test_a_refused_app_ends_the_host_with_the_reason(self, serve: Serve):
        with pytest.raises(NotReady, match=r"did not start: keeper: the route 'admin/x' begins with a reserved word"):
            await serve(http("keeper", route="admin/x"))

    async def test_an_import_error_ends_the_host_with_its_place(self, serve: Serve):
        with pytest.raises(NotReady, match=r"did not start: function_app\.py, line \d+: ModuleNotFoundError: "):
            await serve("import missing_module")

    async def test_a_dropped_function_is_an_error_line_and_the_others_run(self, serve: Serve):
        served = await serve(http("a", route="same") + http("b", route="same") + http("c", route="{other}"))
        assert "ERROR b: dropped, its route 'same' is the route of a" in served.log
        assert (await served.http.get("/api/other")).status_code == 500
