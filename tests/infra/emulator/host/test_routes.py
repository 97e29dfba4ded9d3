"""The route rules of the real host: which function a request reaches."""

import pytest

from infra.emulator.host.index import Function
from infra.emulator.host.routes import RouteTable, RouteTemplate, path_segments
from infra.emulator.host.settings import InvalidApp


def function(name: str, route: str | None = None, *methods: str) -> Function:
    trigger = {"type": "httpTrigger", "name": "req", "route": route, "methods": list(methods)}
    return Function(name, trigger, call=lambda req: None, clients=(), wants_context=False)


def reached(table: RouteTable, path: str, method: str = "GET") -> tuple[str, dict[str, str]] | None:
    found = table.match(method, path)
    return found and (found[0].name, found[1])


def values(template: str, path: str) -> dict[str, str] | None:
    return RouteTemplate(template).match(path_segments(path))


class TestOrder:
    def test_functions_are_tried_by_name_and_a_literal_has_no_priority(self):
        table = RouteTable([function("b_literal", "runs/stats"), function("a_parameter", "runs/{id}")], "")
        assert reached(table, "/runs/stats") == ("a_parameter", {"id": "stats"})

    def test_the_order_of_names_ignores_case(self):
        table = RouteTable([function("B_first", "runs/{id}"), function("a_second", "runs/{key}")], "")
        assert reached(table, "/runs/1") == ("a_second", {"key": "1"})

    def test_the_order_is_ordinal(self):
        # In upper case the underscore comes after every letter.
        table = RouteTable([function("run_1", "x/{a}"), function("runs", "x/{b}")], "")
        assert reached(table, "/x/1") == ("runs", {"b": "1"})

    def test_a_route_without_the_method_is_skipped(self):
        table = RouteTable([function("a", "runs/{id}", "GET"), function("b", "runs/{key}", "DELETE")], "")
        assert reached(table, "/runs/1", "DELETE") == ("b", {"key": "1"})

    def test_no_route_is_found_without_a_matching_method(self):
        assert reached(RouteTable([function("a", "runs", "GET")], ""), "/runs", "POST") is None

    def test_a_function_without_methods_accepts_all_methods(self):
        assert reached(RouteTable([function("a", "runs")], ""), "/runs", "PATCH") == ("a", {})

    def test_a_function_without_a_route_answers_at_its_name(self):
        assert reached(RouteTable([function("ping")], "api"), "/api/ping") == ("ping", {})

    def test_the_prefix_belongs_to_every_route(self):
        table = RouteTable([function("a", "runs")], "v1/api")
        assert reached(table, "/v1/api/runs") == ("a", {})
        assert reached(table, "/runs") is None


class TestConflicts:
    def test_the_later_of_two_functions_with_one_route_and_method_is_dropped(self):
        table = RouteTable([function("b", "Runs", "GET", "POST"), function("a", "runs", "GET")], "")
        assert table.conflicts == ["b: dropped, its route 'Runs' is the route of a"]
        assert reached(table, "/runs", "POST") is None

    def test_one_route_with_different_methods_is_no_conflict(self):
        table = RouteTable([function("a", "runs", "GET"), function("b", "runs", "POST")], "")
        assert table.conflicts == []
        assert reached(table, "/runs", "POST") == ("b", {})

    def test_all_methods_conflict_with_any(self):
        assert len(RouteTable([function("a", "runs"), function("b", "runs", "POST")], "").conflicts) == 1


class TestReserved:
    @pytest.mark.parametrize("route", ["admin", "admin/users", "Administrators", "runtime/x", "/runtime"])
    @pytest.mark.parametrize("prefix", ["", "api"])
    def test_reserved_beginnings_are_refused_by_name(self, route: str, prefix: str):
        with pytest.raises(InvalidApp, match="keeper: "):
            RouteTable([function("keeper", route)], prefix)

    def test_a_reserved_word_in_a_later_segment_is_allowed(self):
        assert reached(RouteTable([function("a", "api/admin/users")], ""), "/api/admin/users") == ("a", {})

    @pytest.mark.parametrize(
        "route",
        ["a//b", "{id}/{ID}", "{*rest}/more", "a/{id", "id}/a", "{id:nope}", "{id:min(x)}", "x-{id?}", "{id:range(1)}"],
    )
    def test_malformed_templates_are_refused_by_name(self, route: str):
        with pytest.raises(InvalidApp, match="keeper: "):
            RouteTable([function("keeper", route)], "")


class TestMatching:
    @pytest.mark.parametrize(
        ("template", "path", "expected"),
        [
            ("runs/{id}", "/RUNS/aB", {"id": "aB"}),
            ("runs/{id}", "/runs/a/", {"id": "a"}),
            ("runs/{id}", "/runs", None),
            ("runs/{id}", "/runs/", None),
            ("runs/{id}", "/runs//", None),
            ("runs/{id}", "//runs/a", None),
            ("runs/{id}", "/runs/a/b", None),
            ("runs/{id}", "/runs/a%20b%C3%A9", {"id": "a bé"}),
            ("runs/{id}", "/runs/a%2Fb%2fc", {"id": "a%2Fb%2Fc"}),
            ("runs/{id}/x", "/runs/1/X", {"id": "1"}),
            ("runs/{id?}", "/runs", {}),
            ("runs/{id?}", "/runs/7", {"id": "7"}),
            ("runs/{id=5}", "/runs", {"id": "5"}),
            ("a.b/{c}", "/axb/1", None),
            ("files/{name}.{ext}", "/files/a.tar.gz", {"name": "a.tar", "ext": "gz"}),
            ("files/{name}.{ext}", "/files/a", None),
            ("v{major}-{minor}", "/v1-2", {"major": "1", "minor": "2"}),
            ("{*rest}", "/", {}),
            ("{*rest}", "/a/b%20c/d", {"rest": "a/b c/d"}),
            ("files/{*path}", "/files", {}),
            ("files/{**path}", "/files/a/b", {"path": "a/b"}),
            ("{ignored:maxlength(0)?}", "/", {}),
            ("{ignored:maxlength(0)?}", "/x", None),
            ("api/{ignored:maxlength(0)?}", "/api", {}),
        ],
    )
    def test_templates(self, template: str, path: str, expected: dict[str, str] | None):
        assert values(template, path) == expected

    @pytest.mark.parametrize(
        ("constraint", "fits", "others"),
        [
            ("int", ["0", "-5", "+7", "2147483647"], ["", "x", "1.5", "2147483648", "1e3", "٣"]),
            ("long", ["9223372036854775807"], ["9223372036854775808", "1_000"]),
            ("bool", ["true", "False"], ["1", "yes"]),
            ("decimal", ["1.5", "-2"], ["x", "1_0"]),
            ("double", ["1.5e3"], ["inf", "x"]),
            ("float", [".5"], ["nan"]),
            ("guid", ["0f8fad5b-d9cb-469f-a165-70867728950e", "{0f8fad5bd9cb469fa16570867728950e}"], ["0f8fad5b"]),
            ("datetime", ["2026-01-31", "2026-01-31T10:00:00"], ["today"]),
            ("alpha", ["abcXYZ"], ["a1", "é"]),
            ("length(3)", ["abc"], ["ab", "abcd"]),
            ("length(2,3)", ["ab", "abc"], ["a", "abcd"]),
            ("minlength(2)", ["ab"], ["a"]),
            ("maxlength(2)", ["ab"], ["abc"]),
            ("min(5)", ["5", "99"], ["4", "x"]),
            ("max(5)", ["-1", "5"], ["6", "x"]),
            ("range(1,5)", ["1", "5"], ["0", "6", "x"]),
            ("regex(^[a-c]+$)", ["abc", "ABC"], ["abd"]),
            (r"regex(^\\d{{3}}-\\d{{4}}$)".replace("\\\\", "\\"), ["123-4567"], ["123-456"]),
            ("regex(^(a|b)$)", ["a"], ["c"]),
            ("required", ["x"], []),
            ("int:min(3)", ["3"], ["2", "x"]),
        ],
    )
    def test_constraints(self, constraint: str, fits: list[str], others: list[str]):
        template = RouteTemplate("x/{id:" + constraint + "}")
        assert [text for text in fits + others if template.match(["x", text]) is not None] == fits

    def test_a_failed_constraint_leaves_the_request_to_the_next_function(self):
        table = RouteTable([function("a_number", "runs/{id:int}"), function("b_name", "runs/{name}")], "")
        assert reached(table, "/runs/7") == ("a_number", {"id": "7"})
        assert reached(table, "/runs/seven") == ("b_name", {"name": "seven"})

    def test_an_optional_parameter_keeps_its_constraint(self):
        assert values("runs/{id:int?}", "/runs") == {}
        assert values("runs/{id:int?}", "/runs/x") is None
