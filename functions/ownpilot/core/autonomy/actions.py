"""Calls of tools that need approval, as records: each waits five minutes for a person's word."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from functions.ownpilot.core.autonomy.risk import FACTORS, Risk, RiskLevel, risk_of
from functions.ownpilot.core.entry import Entry, Moment, Shown
from shared import sealing
from shared.tables import Collection

WAITS = timedelta(minutes=5)
"""For how long an action waits for a decision."""

PASSES = timedelta(hours=1)
"""For how long after its approval a call may be made."""


class ActionStatus(StrEnum):
    """What became of an action."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"


class HeldAction(Entry, prefix="action_"):
    """A call of a tool that waits for a decision, or did.

    `params` are its arguments without secrets, cut to what one can read. `factors` are those of its risk. `call` is a
    hash of the tool and its arguments; it is sealed, as a secret among the arguments could be guessed from it.
    `used_at` is when the call was made after its approval.
    """

    category: str
    type: str
    description: str
    params: dict[str, Any]
    factors: list[str]
    context: dict[str, Any]
    expires_at: Moment
    status: ActionStatus = ActionStatus.PENDING
    reason: str | None = None
    decided_at: Moment | None = None
    call: str = ""
    used_at: datetime | None = None

    @property
    def risk(self) -> Risk:
        """How risky it is."""
        return risk_of(self.category, self.factors)

    @property
    def is_waiting(self) -> bool:
        """Whether it can be approved or rejected."""
        return self.status is ActionStatus.PENDING and datetime.now(UTC) < self.expires_at

    @property
    def may_pass(self) -> bool:
        """Whether it is approved, and its call can be made."""
        is_approved = self.status is ActionStatus.APPROVED and not self.used_at
        return is_approved and self.decided_at is not None and datetime.now(UTC) < self.decided_at + PASSES

    @property
    def is_over(self) -> bool:
        """Whether it matters no more."""
        return datetime.now(UTC) > self.created_at + WAITS + PASSES

    @property
    def _context(self) -> sealing.Context:
        return sealing.Context(held_actions.table, self.id, "call")

    def seal_call(self, call: str) -> None:
        """Keep the hash of the call that it is about."""
        self.call = sealing.seal(call, self._context)

    def is_about(self, call: str) -> bool:
        """Whether it is about the call with this hash."""
        try:
            return sealing.unseal(self.call, self._context) == call
        except sealing.SealBroken:  # the key that sealed it was removed: the person is asked again
            return False


held_actions = Collection("OwnpilotActions", HeldAction, plain=True)
sealing.declare(held_actions, "call")


class FactorShown(Shown):
    """What may speak for caution, with a weight from 0 to 1; `present`: it does."""

    name: str
    description: str
    weight: float
    present: bool


class RiskShown(Shown):
    """A risk: its score from 0 to 100, all factors, and what one can do about those that are present."""

    level: RiskLevel
    score: int
    factors: list[FactorShown]
    mitigations: list[str]


class ActionShown(Shown):
    """An action and what became of it; `params` are without secrets, and long ones are cut."""

    id: str
    user_id: str
    category: str
    type: str
    description: str
    params: dict[str, Any]
    risk: RiskShown
    context: dict[str, Any]
    requested_at: Moment
    expires_at: Moment
    status: ActionStatus
    reason: str | None
    decided_at: Moment | None


def risk_shown(risk: Risk) -> dict[str, Any]:
    """Return a risk as the members of `RiskShown`."""
    factors = [
        FactorShown(name=name, description=each.description, weight=each.weight, present=name in risk.present)
        for name, each in FACTORS.items()
    ]
    return {"level": risk.level, "score": risk.score, "factors": factors, "mitigations": risk.mitigations}


def action_shown(action: HeldAction) -> ActionShown:
    """Return an action as clients see it."""
    members = action.model_dump(include={*ActionShown.model_fields} - {"status"})
    is_expired = action.status is ActionStatus.PENDING and not action.is_waiting
    return ActionShown(
        **members, requested_at=action.created_at, risk=RiskShown(**risk_shown(action.risk)),
        status=ActionStatus.EXPIRED if is_expired else action.status,
    )  # fmt: skip
