"""Autonomy: how risky an action is, which ones a person is asked about, and what the person's word does."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from websockets.asyncio.client import connect

from functions.ownpilot.core.autonomy import Held, admit
from functions.ownpilot.core.autonomy.actions import HeldAction, held_actions
from functions.ownpilot.core.autonomy.held import MAX_WAITING
from functions.ownpilot.core.autonomy.risk import FACTORS, RiskLevel, action_category, action_type, assess, risk_of
from functions.ownpilot.core.autonomy.rules import MAX_NAMES, AutonomyRules, all_rules, rules_of
from functions.ownpilot.core.tool_context import ToolContext
from infra.local.environment import Environment
from tests.support.ownpilot import OwnPilot, refused

CONFIG = {
    "level", "allowedTools", "blockedTools", "allowedCategories", "blockedCategories", "maxCostPerAction",
    "dailyBudget", "dailySpend", "budgetResetAt", "notificationThreshold", "confirmationRequired", "auditEnabled",
    "timeRestrictions", "updatedAt",
}  # fmt: skip
ACTION = {
    "id", "userId", "category", "type", "description", "params", "risk", "context", "requestedAt", "expiresAt",
    "status", "reason", "decidedAt",
}  # fmt: skip

RISKS: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("tool_execution", "delete_file", {}, 21, "low"),
    ("system_command", "run_script", {"all": True}, 51, "high"),
    ("tool_execution", "list_tasks", {}, 10, "low"),
    ("data_modification", "list_tasks", {}, 15, "low"),
    ("external_communication", "list_tasks", {}, 20, "low"),
    ("file_operation", "list_tasks", {}, 13, "low"),
    ("code_execution", "list_tasks", {}, 35, "medium"),
    ("system_command", "list_tasks", {}, 40, "medium"),
    ("api_call", "list_tasks", {}, 18, "low"),
    ("notification", "list_tasks", {}, 8, "low"),
    ("plan_execution", "list_tasks", {}, 23, "low"),
    ("memory_modification", "list_tasks", {}, 13, "low"),
    ("goal_modification", "list_tasks", {}, 10, "low"),
    ("financial", "list_tasks", {}, 45, "medium"),
    ("made_up", "list_tasks", {}, 15, "low"),
    ("tool_execution", "write_file", {}, 15, "low"),
    ("tool_execution", "execute_code", {}, 18, "low"),
    ("code_execution", "execute_code", {}, 43, "medium"),
    ("code_execution", "run_script", {}, 44, "medium"),
    ("tool_execution", "run_script", {}, 19, "low"),
    ("external_communication", "send_email", {}, 28, "medium"),
    ("notification", "send_channel_message", {}, 11, "low"),
    ("api_call", "web_fetch", {}, 20, "low"),
    ("api_call", "api_call", {}, 20, "low"),
    ("tool_execution", "trigger_task", {}, 12, "low"),
    ("data_modification", "add_task", {}, 17, "low"),
    ("data_modification", "update_note", {}, 17, "low"),
    ("data_modification", "create_goal", {}, 17, "low"),
    ("data_modification", "complete_task", {}, 17, "low"),
    ("memory_modification", "remember", {}, 15, "low"),
    ("memory_modification", "batch_remember", {}, 15, "low"),
    ("memory_modification", "forget", {}, 16, "low"),
    ("data_modification", "delete_task", {}, 19, "low"),
    ("data_modification", "batch_add_notes", {}, 17, "low"),
    ("data_modification", "add_contact", {}, 21, "low"),
    ("data_modification", "delete_contact", {}, 22, "low"),
    ("data_modification", "list_contacts", {}, 15, "low"),
    ("data_modification", "get_task", {}, 15, "low"),
    ("data_modification", "search_notes", {}, 15, "low"),
    ("data_modification", "addition", {}, 15, "low"),
    ("tool_execution", "x", {"items": [*range(11)]}, 12, "low"),
    ("tool_execution", "x", {"items": [*range(10)]}, 10, "low"),
    ("tool_execution", "x", {"items": "12345678901"}, 10, "low"),
    ("tool_execution", "x", {"bulk": True}, 12, "low"),
    ("tool_execution", "x", {"bulk": False}, 10, "low"),
    ("tool_execution", "x", {"sensitive": True}, 13, "low"),
    ("tool_execution", "x", {"text": "my Password is here"}, 13, "low"),
    ("tool_execution", "x", {"api_key": "k"}, 13, "low"),
    ("tool_execution", "x", {"deep": [{"bank": 1}]}, 13, "low"),
    ("tool_execution", "x", {"text": "plain"}, 10, "low"),
    ("tool_execution", "x", {"cost": 1001}, 13, "low"),
    ("tool_execution", "x", {"cost": 1000}, 10, "low"),
    ("tool_execution", "x", {"cost": "2000"}, 10, "low"),
    ("tool_execution", "x", {"force": True}, 13, "low"),
    ("tool_execution", "x", {"permanent": 1}, 13, "low"),
    ("tool_execution", "x", {"noUndo": True}, 13, "low"),
    ("tool_execution", "x", {"recipients": ["a"]}, 12, "low"),
    ("tool_execution", "x", {"broadcast": True, "users": ["a"]}, 12, "low"),
    ("tool_execution", "x", {"global": True}, 14, "low"),
    ("tool_execution", "x", {"systemWide": True, "force": True}, 17, "low"),
    ("financial", "run_script", {"cost": 9999, "force": True, "all": True, "global": True, "users": [1],
                                 "text": "secret"}, 71, "high"),
    ("financial", "delete_contact", {"cost": 9999, "force": True, "all": True, "global": True}, 64, "high"),
]  # fmt: skip


@pytest.mark.parametrize(("category", "type_", "params", "score", "level"), RISKS)
def test_the_risk_of_an_action(category: str, type_: str, params: dict[str, Any], score: int, level: str):
    found = assess(category, type_, params)
    assert (found.score, found.level) == (score, level)


def test_all_factors_together_are_critical_and_at_most_100():
    assert risk_of("financial", FACTORS) == (95, RiskLevel.CRITICAL, [*FACTORS])
    assert len(FACTORS) == 16 and round(sum(each.weight for each in FACTORS.values()), 2) == 10.65


@pytest.mark.parametrize(
    ("tool", "group", "category"),
    [("list_tasks", "tasks", "tool_execution"), ("add_task", "tasks", "data_modification"),
     ("remember", "memory", "memory_modification"), ("recall", "memory", "tool_execution"),
     ("create_goal", "goals", "goal_modification"), ("write_file", "filesystem", "file_operation"),
     ("email_send", "plugins", "external_communication"), ("calculate", "core", "tool_execution")],
)  # fmt: skip
def test_the_category_of_a_tool(tool: str, group: str, category: str):
    assert action_category(tool, group) == category


def rules(**members: Any) -> AutonomyRules:
    return AutonomyRules(**members)


MEDIUM, HIGH, CRITICAL = (
    risk_of(*each) for each in (("code_execution", []), ("system_command", ["code_execution", "irreversible",
                                "high_cost"]), ("financial", FACTORS))
)  # fmt: skip
LOW = risk_of("tool_execution", [])


class TestRules:
    @pytest.mark.parametrize(("level", "asked"), [(0, "LMHC"), (1, "LMHC"), (2, "MHC"), (3, "C"), (4, "")])
    def test_the_level_says_which_risks_need_approval(self, level: int, asked: str):
        risks = {"L": LOW, "M": MEDIUM, "H": HIGH, "C": CRITICAL}
        assert [each.level for each in risks.values()] == [*RiskLevel]
        found = [name for name, risk in risks.items() if rules(level=level).why_to_ask("x", "x", risk)]
        assert "".join(found) == asked

    @pytest.mark.parametrize(("level", "is_asked"), [(1, True), (2, False), (3, False)])
    def test_in_a_conversation_a_medium_risk_passes_from_level_2_on(self, level: int, is_asked: bool):
        assert bool(rules(level=level).why_to_ask("x", "x", MEDIUM, lenient=True)) is is_asked
        assert rules(level=2).why_to_ask("x", "x", HIGH, lenient=True)

    @pytest.mark.parametrize(
        ("members", "is_asked"),
        [({"blocked_tools": ["t"], "allowed_tools": ["t"], "level": 4}, True),
         ({"blocked_categories": ["c"], "allowed_tools": ["t"], "level": 4}, True),
         ({"confirmation_required": ["t"], "allowed_tools": ["t"], "level": 4}, True),
         ({"allowed_tools": ["t"], "level": 0}, False),
         ({"allowed_categories": ["c"], "level": 0}, False)],
    )  # fmt: skip
    def test_the_first_rule_that_applies_decides(self, members: dict[str, Any], is_asked: bool):
        assert bool(rules(**members).why_to_ask("c", "t", CRITICAL)) is is_asked

    def test_what_was_spent_counts_anew_after_a_day(self):
        start = datetime(2026, 1, 1, 12, tzinfo=UTC)
        found = rules(daily_spend=7, budget_reset_at=start)
        found.roll(start - timedelta(seconds=1))
        assert found.daily_spend == 7
        found.roll(start + timedelta(days=2, hours=1))
        assert (found.daily_spend, found.budget_reset_at) == (0, start + timedelta(days=3))


class TestConfiguration:
    async def test_it_begins_with_defaults(self, me: OwnPilot):
        found = await me.get("/autonomy/config")
        config = found["config"]
        assert set(config) >= CONFIG and "remembered" not in config
        assert (config["level"], config["dailyBudget"], config["maxCostPerAction"]) == (2, 10_000, 1000)
        assert config["blockedCategories"] == ["system_command", "code_execution"]
        assert config["confirmationRequired"] == ["delete_data", "send_email", "make_payment", "modify_system"]
        names = ["Manual", "Assisted", "Supervised", "Autonomous", "Full Autonomy"]
        assert [(each["level"], each["name"]) for each in found["levels"]] == [*enumerate(names)]

    async def test_a_patch_merges_and_a_reset_restores_all(self, me: OwnPilot):
        sent = {"level": 3, "allowedTools": ["a", "a"], "timeRestrictions": [{"from": "22:00"}]}
        config = (await me.data("PATCH", "/autonomy/config", json=sent))["config"]
        assert (config["level"], config["allowedTools"], config["dailyBudget"]) == (3, ["a"], 10_000)
        assert (await me.get("/autonomy/config"))["config"]["timeRestrictions"] == [{"from": "22:00"}]
        await me.data("PATCH", "/autonomy/config", json={"dailySpend": 7})  # is not set by clients
        config = (await me.post("/autonomy/config/reset"))["config"]
        assert (config["level"], config["allowedTools"], config["dailySpend"]) == (2, [], 0)
        changes = await me.get("/audit", type="config.change")
        assert [each["resource"]["type"] for each in changes["events"]] == ["autonomy"] * 3

    @pytest.mark.parametrize(
        "wrong", [{"level": 5}, {"level": -1}, {"level": "2"}, {"level": None}, {"level": 2.5}, {"allowedTools": "a"},
                  {"allowedTools": [""]}, {"dailyBudget": -1}, {"blockedTools": ["x"] * (MAX_NAMES + 1)},
                  {"timeRestrictions": [{"note": "x" * 10_000}]}],
        ids=lambda it: str(it)[:50],
    )  # fmt: skip
    async def test_a_wrong_rule_is_refused(self, me: OwnPilot, wrong: dict[str, Any]):
        refused(await me.send("PATCH", "/autonomy/config", json=wrong), 400, "INVALID_REQUEST")

    async def test_two_changes_at_once_are_both_kept(self, me: OwnPilot):
        await asyncio.gather(*(me.post("/autonomy/tools/allow", tool=f"t{at}") for at in range(4)))
        assert {*(await me.get("/autonomy/config"))["config"]["allowedTools"]} == {f"t{at}" for at in range(4)}


class TestWebPage:
    async def test_the_level(self, me: OwnPilot):
        changed = await me.post("/autonomy/level", level=4)
        assert (changed["level"], changed["levelName"]) == (4, "Full Autonomy")
        assert (await me.get("/autonomy/config"))["config"]["level"] == 4

    @pytest.mark.parametrize("level", [5, -1, "2", None, True, 2.5])
    async def test_a_wrong_level(self, me: OwnPilot, level: Any):
        refused(await me.send("POST", "/autonomy/level", json={"level": level}), 400, "INVALID_LEVEL")

    async def test_a_tool_is_in_one_list_at_most(self, me: OwnPilot):
        assert (await me.post("/autonomy/tools/allow", tool="a"))["allowedTools"] == ["a"]
        assert (await me.post("/autonomy/tools/block", tool="a"))["blockedTools"] == ["a"]
        config = (await me.get("/autonomy/config"))["config"]
        assert (config["allowedTools"], config["blockedTools"]) == ([], ["a"])
        assert "neither" in (await me.data("DELETE", "/autonomy/tools/a"))["message"]
        assert (await me.get("/autonomy/config"))["config"]["blockedTools"] == []
        refused(await me.send("POST", "/autonomy/tools/allow", json={}), 400, "INVALID_REQUEST")

    async def test_a_list_has_an_end(self, me: OwnPilot):
        await me.data("PATCH", "/autonomy/config", json={"allowedTools": [f"t{at}" for at in range(MAX_NAMES)]})
        refused(await me.send("POST", "/autonomy/tools/allow", json={"tool": "x"}), 400, "LIMIT_REACHED")

    async def test_the_budget(self, me: OwnPilot):
        changed = await me.data("PATCH", "/autonomy/budget", json={"dailyBudget": 5})
        assert (changed["dailyBudget"], changed["maxCostPerAction"]) == (5, 1000)
        refused(await me.send("PATCH", "/autonomy/budget", json={"dailyBudget": -1}), 400, "INVALID_REQUEST")


class TestAssessment:
    async def test_it_names_risk_and_whether_approval_is_needed(self, me: OwnPilot):
        found = await me.post(
            "/autonomy/assess", category="system_command", actionType="run_script", params={"all": True}
        )
        risk = found["risk"]
        assert (risk["score"], risk["level"], risk["requiresApproval"]) == (51, "high", True)
        assert (found["autonomyLevel"], found["autonomyLevelName"]) == (2, "Supervised")
        assert len(risk["factors"]) == 16
        assert set(risk["factors"][0]) == {"name", "description", "weight", "present"}
        present = {each["name"] for each in risk["factors"] if each["present"]}
        assert present == {"code_execution", "system_command", "bulk_operation"} and len(risk["mitigations"]) == 3

    async def test_any_parameters_can_be_assessed(self, me: OwnPilot):
        found = await me.post("/autonomy/assess", category="x", actionType="x", params={"n": 2**64, "Password": None})
        assert [each["name"] for each in found["risk"]["factors"] if each["present"]] == ["sensitive_data"]

    @pytest.mark.parametrize("missing", ["category", "actionType"])
    async def test_category_and_type_are_required(self, me: OwnPilot, missing: str):
        body = {"category": "x", "actionType": "x"} | {missing: None}
        refused(await me.send("POST", "/autonomy/assess", json=body), 400, "INVALID_REQUEST")


async def hold(me: OwnPilot, **arguments: Any) -> dict[str, Any]:
    """The result of a call of `add_task` that is held back."""
    return await me.post("/tools/add_task/execute", arguments={"title": "t", **arguments})


async def held_id(me: OwnPilot, **arguments: Any) -> str:
    """The action that a call of `add_task` has become."""
    assert (await hold(me, **arguments))["isError"] is True
    return (await me.get("/autonomy/pending"))["pending"][0]["id"]


@pytest.fixture
async def careful(me: OwnPilot) -> OwnPilot:
    """A person who is asked before every action."""
    await me.post("/autonomy/level", level=0)
    return me


def by_model(me: OwnPilot, tool: str = "add_task", **arguments: Any) -> Any:
    """The answer to a model that calls a tool."""
    return admit(ToolContext(me.user, session="s1", source="chat"), tool, arguments, "tasks")


class TestHeldCalls:
    async def test_a_call_waits_and_runs_once_after_its_approval(self, careful: OwnPilot):
        result = await hold(careful)
        assert result["isError"] is True
        found = await careful.get("/autonomy/pending")
        assert found["count"] == 1 and found == await careful.get("/autonomy/approvals")
        (action,) = found["pending"]
        assert set(action) == ACTION and action["id"].startswith("action_") and action["id"] in json.dumps(result)
        assert (action["type"], action["category"], action["status"]) == ("add_task", "data_modification", "pending")
        assert action["params"] == {"title": "t"} and action["context"]["source"] == "api"
        waits = datetime.fromisoformat(action["expiresAt"]) - datetime.fromisoformat(action["requestedAt"])
        assert timedelta(minutes=4, seconds=50) < waits < timedelta(minutes=5, seconds=30)
        assert await careful.get("/tasks") == []

        decided = await careful.post(f"/autonomy/approve/{action['id']}", reason="yes")
        assert (decided["action"]["status"], decided["action"]["reason"]) == ("approved", "yes")
        assert "Nothing has run yet" in decided["message"] and await careful.get("/tasks") == []
        assert (await hold(careful, priority="high"))["isError"] is True  # another call
        assert (await hold(careful))["isError"] is False
        assert len(await careful.get("/tasks")) == 1
        assert (await hold(careful))["isError"] is True  # once only

    async def test_a_rejected_call_is_asked_about_again(self, careful: OwnPilot):
        first = await held_id(careful)
        rejected = await careful.post(f"/autonomy/reject/{first}", reason="no")
        assert (rejected["action"]["status"], rejected["action"]["reason"]) == ("rejected", "no")
        assert await held_id(careful) != first

    @pytest.mark.parametrize("way", ["/autonomy/{}/{id}", "/autonomy/approvals/{id}/{}"])
    @pytest.mark.parametrize("decision", ["approve", "reject"])
    async def test_a_decision_is_made_once(self, careful: OwnPilot, way: str, decision: str):
        path = way.format(decision, id=await held_id(careful))
        assert (await careful.data("POST", path))["action"]["decidedAt"]
        refused(await careful.send("POST", path), 404, "NOT_FOUND")
        assert (await careful.get("/autonomy/pending"))["count"] == 0

    async def test_of_two_decisions_at_once_one_counts(self, careful: OwnPilot):
        id_ = await held_id(careful)
        answers = await asyncio.gather(
            *(careful.send("POST", f"/autonomy/{how}/{id_}") for how in ("approve", "reject"))
        )
        assert sorted(answer.status_code for answer in answers) == [200, 404]

    async def test_of_two_calls_at_once_one_uses_an_approval(self, careful: OwnPilot):
        await careful.post(f"/autonomy/approve/{await held_id(careful)}")
        answers = await asyncio.gather(hold(careful), hold(careful))
        assert sorted(answer["isError"] for answer in answers) == [False, True]

    @pytest.mark.parametrize("id_", ["action_0", "x", "action_0197f0c2d3e47a51b6c8f0a1b2c3d4e5"])
    async def test_an_unknown_action(self, me: OwnPilot, id_: str):
        refused(await me.send("POST", f"/autonomy/approve/{id_}"), 404, "NOT_FOUND")

    async def test_another_persons_action_is_unknown(self, careful: OwnPilot):
        id_ = await held_id(careful)
        refused(await OwnPilot(careful.http).send("POST", f"/autonomy/approve/{id_}"), 404, "NOT_FOUND")

    @pytest.mark.parametrize("body", [b"{", b'{"reason": 5}', b'{"remember": "x"}', b"[]"])
    async def test_a_wrong_decision_changes_nothing(self, careful: OwnPilot, body: bytes):
        id_ = await held_id(careful)
        headers = {"Content-Type": "application/json"}
        refused(await careful.send("POST", f"/autonomy/approve/{id_}", content=body, headers=headers), 400)
        assert (await careful.get("/autonomy/pending"))["count"] == 1

    async def test_an_approval_counts_its_risk_as_spent(self, careful: OwnPilot):
        score = (await careful.post(f"/autonomy/approve/{await held_id(careful)}"))["action"]["risk"]["score"]
        await careful.post(f"/autonomy/reject/{await held_id(careful, title='other')}")
        assert (await careful.get("/autonomy/config"))["config"]["dailySpend"] == score

    async def test_an_approval_for_always_no_longer_asks_until_it_is_undone(self, careful: OwnPilot):
        await careful.post(f"/autonomy/approve/{await held_id(careful)}", remember=True)
        assert [(await hold(careful, title=title))["isError"] for title in ("t", "u")] == [False, False]
        await careful.data("DELETE", "/autonomy/tools/add_task")
        assert (await hold(careful))["isError"] is True

    async def test_a_block_undoes_an_approval_for_always(self, careful: OwnPilot):
        await careful.post(f"/autonomy/approve/{await held_id(careful)}", remember=True)
        await careful.data("PATCH", "/autonomy/config", json={"blockedTools": ["add_task"]})
        assert (await hold(careful))["isError"] is True

    async def test_a_rejection_for_always_asks_no_more(self, careful: OwnPilot):
        await careful.post(f"/autonomy/reject/{await held_id(careful)}", remember=True)
        assert (await hold(careful))["isError"] is True
        assert (await careful.get("/autonomy/pending"))["count"] == 0
        await careful.post("/autonomy/config/reset")
        assert (await hold(careful))["isError"] is False

    async def test_everything_is_written_down_unless_it_is_not_wanted(self, careful: OwnPilot):
        await careful.post(f"/autonomy/approve/{await held_id(careful)}")
        types = {each["type"] for each in (await careful.get("/audit"))["events"]}
        assert {"autonomy.request", "autonomy.approve"} <= types
        await careful.data("PATCH", "/autonomy/config", json={"auditEnabled": False})
        await careful.post(f"/autonomy/reject/{await held_id(careful, title='u')}")
        assert "autonomy.reject" not in {each["type"] for each in (await careful.get("/audit"))["events"]}


@pytest.mark.usefixtures("app")
class TestAdmission:
    """`admit`, as the door of the tools asks it."""

    async def test_what_the_level_allows_makes_no_action(self, me: OwnPilot):
        assert await by_model(me, title="t") is None
        assert (await me.get("/autonomy/pending"))["count"] == 0

    async def test_a_name_of_a_tool_that_stands_for_an_action(self, me: OwnPilot):
        assert action_type("email_send") == "send_email"
        held = await by_model(me, "email_send", to="a@b.example")
        assert isinstance(held, Held) and "always needs approval" in held.reason

    async def test_the_same_call_waits_as_one_action(self, careful: OwnPilot):
        found = [await by_model(careful, title="t"), await by_model(careful, title="t")]
        found += await asyncio.gather(*(by_model(careful, title="t") for _ in range(5)))
        assert len({each.action_id for each in found}) == 1
        assert (await careful.get("/autonomy/pending"))["count"] == 1

    async def test_at_most_fifty_wait_also_when_they_come_at_once(self, careful: OwnPilot):
        found = await asyncio.gather(*(by_model(careful, title=str(at)) for at in range(MAX_WAITING + 5)))
        assert sum(each.action_id is None for each in found) == 5
        assert (await careful.get("/autonomy/pending"))["count"] == MAX_WAITING
        held = await by_model(careful, title="more")
        assert held.action_id is None and f"{MAX_WAITING} actions wait" in held.reason

    async def change(self, me: OwnPilot, id_: str, how: Callable[[HeldAction], None]) -> None:
        await held_actions.of(me.user).update(id_, how)

    async def test_after_five_minutes_an_action_is_expired(self, careful: OwnPilot):
        id_ = (await by_model(careful, title="t")).action_id
        await self.change(careful, id_, lambda it: setattr(it, "expires_at", datetime.now(UTC)))
        assert (await careful.get("/autonomy/pending"))["count"] == 0
        refused(await careful.send("POST", f"/autonomy/approve/{id_}"), 404, "NOT_FOUND")
        assert (await by_model(careful, title="t")).action_id != id_

    async def test_an_approval_lasts_an_hour(self, careful: OwnPilot):
        id_ = (await by_model(careful, title="t")).action_id
        await careful.post(f"/autonomy/approve/{id_}")
        await self.change(careful, id_, lambda it: setattr(it, "decided_at", datetime.now(UTC) - timedelta(minutes=61)))
        assert await by_model(careful, title="t") is not None

    async def test_actions_that_matter_no_more_are_deleted(self, careful: OwnPilot):
        old = HeldAction(
            user_id=careful.user, category="x", type="x", description="x", params={}, factors=[], context={},
            created_at=datetime.now(UTC) - timedelta(hours=2), expires_at=datetime.now(UTC) - timedelta(hours=1),
        )  # fmt: skip
        await held_actions.of(careful.user).insert(old)
        await by_model(careful, title="t")
        assert old.id not in [each.id async for each in held_actions.of(careful.user).all()]

    async def test_secrets_among_the_arguments_are_neither_shown_nor_kept(self, careful: OwnPilot):
        arguments = {"title": "t", "password": "hunter22"}
        held = await by_model(careful, **arguments)
        (action,) = (await careful.get("/autonomy/pending"))["pending"]
        assert action["params"] == {"title": "t", "password": "[REDACTED]"}
        stored = await held_actions.of(careful.user).get(held.action_id)
        digest = hashlib.sha256(json.dumps(["add_task", arguments], separators=(",", ":"), sort_keys=True).encode())
        assert stored.is_about(digest.hexdigest()) and digest.hexdigest() not in stored.model_dump_json()

    async def test_long_arguments_are_cut_to_what_one_can_read(self, careful: OwnPilot):
        await by_model(careful, **{f"p{at}": "x" * 500 for at in range(1000)})
        (action,) = (await careful.get("/autonomy/pending"))["pending"]
        assert len(json.dumps(action["params"])) < 2000

    async def test_what_was_spent_is_shown_as_nothing_after_a_day(self, careful: OwnPilot):
        await careful.post(f"/autonomy/approve/{(await by_model(careful, title='t')).action_id}")
        (row,) = [each async for each in all_rules.of(careful.user).all()]
        past = datetime.now(UTC) - timedelta(minutes=1)
        await all_rules.of(careful.user).update(row, lambda it: setattr(it, "budget_reset_at", past))
        config = (await careful.get("/autonomy/config"))["config"]
        assert config["dailySpend"] == 0 and datetime.fromisoformat(config["budgetResetAt"]) > datetime.now(UTC)
        assert (await rules_of(careful.user)).level == 0


@pytest.mark.usefixtures("app")
async def test_the_sockets_of_a_person_are_told(stack: Environment, careful: OwnPilot):
    address = f"ws://127.0.0.1:{stack.ports['host']}/ownpilot/ws"
    async with connect(f"{address}?userId={quote(careful.user)}", proxy=None) as socket, asyncio.timeout(120):
        assert json.loads(await socket.recv())["type"] == "connection:ready"
        title, message = 0, None
        while message is None:  # the greeting is sent before the socket joins the group of its person
            title += 1
            await hold(careful, title=str(title))
            try:
                message = json.loads(await asyncio.wait_for(socket.recv(), 2))
            except TimeoutError:
                continue
        assert message["type"] == "autonomy:pending"
        request = message["payload"]
        assert set(request) == {"action", "suggestion", "alternatives", "timeoutSeconds"}
        assert (request["suggestion"], request["timeoutSeconds"]) == ("approve", 300)
        await careful.post(f"/autonomy/approve/{request['action']['id']}")
        while message["type"] != "autonomy:decided":
            message = json.loads(await socket.recv())
        assert message["payload"]["action"]["status"] == "approved"
