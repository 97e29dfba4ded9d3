"""Which step of a plan comes next, over plans made by chance; and what conditions mean."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from functions.ownpilot.core.tool_context import ToolError
from functions.ownpilot.plans.conditions import MAX_CONDITION, holds, value_of
from functions.ownpilot.plans.order import decide, in_order, progress_of, why_not
from functions.ownpilot.plans.records import PlanStep, PlanStepStatus
from tests.support.plans import Scripted, by_chance, interpret, records_of


def carried_out(scripted: list[Scripted], steps: list[PlanStep], chance: random.Random) -> tuple[str, list[int]]:
    """Do what is decided, each decision made from the steps in any order and made twice, until the plan ends."""
    done: list[int] = []
    while True:
        mixed = chance.sample(steps, len(steps))
        decision = decide(mixed)
        assert decide(in_order(mixed)) == decision, "a decision does not depend on the order of what is read"
        for step in decision.skipped:
            assert step.status is PlanStepStatus.PENDING
            step.status = PlanStepStatus.SKIPPED
        if decision.failed:
            return "failed", done
        if decision.step is None:
            for step in decision.blocked:
                step.status = PlanStepStatus.BLOCKED
            return "failed" if decision.blocked else "completed", done
        step = decision.step
        place = steps.index(step)
        by_id = {each.id: each for each in steps}
        assert all(by_id[need].status is PlanStepStatus.COMPLETED for need in step.dependencies)
        assert place not in done
        done.append(place)
        if chance.random() < 0.3:  # its host dies, and it is what is decided again
            step.status = PlanStepStatus.RUNNING
            assert decide(chance.sample(steps, len(steps))).step is step
        if not scripted[place].fails:
            step.complete(None, step.on_success)
        elif step.on_failure == "skip":
            step.status = PlanStepStatus.SKIPPED
        else:
            step.status = PlanStepStatus.FAILED
            step.jump = None if step.on_failure == "abort" else step.on_failure


@examples(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_a_plan_ends_as_a_plain_interpreter_says(seed: int):
    chance = random.Random(seed)
    scripted = by_chance(chance, 12)
    steps = records_of(scripted)
    ending, done = carried_out(scripted, steps, chance)
    assert (ending, [step.status.value for step in steps], done) == interpret(scripted)
    completed = sum(step.status is PlanStepStatus.COMPLETED for step in steps)
    assert progress_of(steps) == int(100 * completed / len(steps) + 0.5)


@examples(max_examples=60, deadline=None)
@given(
    needs=st.lists(st.lists(st.integers(0, 7), max_size=3, unique=True), min_size=1, max_size=8),
    seed=st.integers(0, 99),
)
def test_a_circle_or_an_unknown_step_is_found_and_nothing_else(needs: list[list[int]], seed: int):
    wrong = why_not({str(place): [*map(str, each)] for place, each in enumerate(needs)})
    if any(need >= len(needs) for each in needs for need in each):
        assert wrong is not None and "has no step" in wrong
        return
    left = {place: {*each} for place, each in enumerate(needs)}
    while free := [place for place, each in left.items() if not each & left.keys()]:
        for place in free:
            del left[place]
    assert (wrong is not None) is bool(left)


def test_a_dependency_on_a_step_that_is_gone_does_not_count():
    [step] = records_of([Scripted(1)])
    step.dependencies = ["step_gone"]
    assert decide([step]).step is step
    assert decide([]) == decide([]) and decide([]).step is None and progress_of([]) == 0


RESULTS: dict[str, Any] = {
    "step_a1": "yes", "step_b2": {"total": 4, "names": ["ann"]}, "step_c3": 0, "step_d4": [1, 2], "step_e5": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("condition", "expected"),
    [("true", True), (" false ", False), ("result:step_a1", True), ("result:step_c3", False), ("result:step_e5", False),
     ("not result:step_c3", True), ('result:step_a1 == "yes"', True), ("result:step_a1 != 'yes'", False),
     ("result:step_b2['total'] > 3 and result:step_a1 == 'yes'", True), ("result:step_b2['names'][0] == 'ann'", True),
     ("2 in result:step_d4", True), ("result:step_d4 == [1, 2]", True), ("result:step_e5 == null", True),
     ("1 < result:step_b2['total'] < 4", False), ("-1 < result:step_c3 or false", True)],
)  # fmt: skip
def test_conditions_compare_results(condition: str, expected: bool):
    assert holds(condition, RESULTS) is expected


@pytest.mark.parametrize(
    "condition",
    ["", "maybe", "result:step_ff", "1 <", "result:step_a1 < 3", "len(result:step_d4)", "result:step_a1.upper()",
     "__import__('os')", "result:step_d4[9]", "9 ** 9", "'a' * 9", "[x for x in [1]]", "lambda: 1", "true; false",
     "(" * 400 + ")" * 400, "true or " * 200 + "true", "result:step_b2['none']", "x" * (MAX_CONDITION + 1)],
)  # fmt: skip
def test_what_is_no_condition_is_refused(condition: str):
    with pytest.raises(ToolError):
        holds(condition, RESULTS)


@pytest.mark.parametrize(
    ("type_", "result", "value"),
    [("tool_call", {"type": "tool_call", "toolName": "t", "result": '{"a": 1}'}, {"a": 1}),
     ("tool_call", {"result": "plain"}, "plain"), ("tool_call", {"result": "false"}, False),
     ("llm_decision", {"decision": "go"}, "go"), ("condition", {"result": True}, True), ("user_input", "5", 5),
     ("user_input", {"decision": 1}, {"decision": 1}), ("parallel", {"results": [1]}, [1]), ("user_input", None, None)],
)  # fmt: skip
def test_a_condition_sees_the_essence_of_a_result(type_: str, result: Any, value: Any):
    assert value_of(type_, result) == value
