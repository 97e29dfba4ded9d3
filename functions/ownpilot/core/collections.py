"""Every collection of the assistant: which ones a backup holds, and where the records of one person lie in them.

A collection is named by its table. Whoever declares a new one adds it here, to `KEPT` or to `LEFT_OUT`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from shared import tables

FIRST_MONTH = date(2026, 1, 1)
"""Before this month nobody's use of models was counted."""


@dataclass(frozen=True)
class Whereabouts:
    """Where the records of one person lie: in one partition, or in one for each record of a `parent`, or each month.

    `partition` is a template with `{owner}`, and with `{id}` (of the parent's record) or `{month}`. In a `shared` one
    lie the records of all persons, and there is an index by `user_id`.
    """

    partition: str = "{owner}"
    parent: str = ""
    shared: bool = False

    def of(self, owner: str, parents: Iterable[str]) -> list[str]:
        """Return the partitions of a person; `parents` are the ids of the records of `parent`."""
        if self.parent:
            return [self.partition.format(owner=owner, id=id_) for id_ in parents]
        if "{month}" in self.partition:
            return [self.partition.format(owner=owner, month=month) for month in _months()]
        return [self.partition.format(owner=owner)]

    async def partitions(self, owner: str) -> list[str]:
        """Return the partitions of a person. 1 query for each 1,000 parents, none without a parent."""
        parents: list[str] = []
        if self.parent:
            collection: tables.Collection[Any] = tables.collections[self.parent].of(owner)
            async for found in collection.ids(None):
                parents += found
        return self.of(owner, parents)


def _months() -> list[str]:
    today = datetime.now(UTC).date()
    last = today.year * 12 + today.month
    return [f"{number // 12}-{number % 12 + 1:02d}" for number in range(FIRST_MONTH.year * 12, last)]


OWN = Whereabouts()

KEPT: dict[str, Whereabouts] = {
    # What lies by its parent comes before it: while it is replaced, the parents still tell where it lies.
    "OwnpilotTurns": Whereabouts("{id}", parent="OwnpilotConversations"),
    "OwnpilotHabitLogs": Whereabouts("{owner} {id}", parent="OwnpilotHabits"),
    "OwnpilotPlanSteps": Whereabouts("{id}", parent="OwnpilotPlans"),
    "OwnpilotPlanEvents": Whereabouts("{id}", parent="OwnpilotPlans"),
    "OwnpilotUsage": Whereabouts("{owner} {month}"),
    "OwnpilotDebug": Whereabouts("all", shared=True),
    **dict.fromkeys(
        [
            "OwnpilotAgents", "OwnpilotAudit", "OwnpilotAutonomy", "OwnpilotBookmarks", "OwnpilotBudget",
            "OwnpilotBudgets", "OwnpilotCaptures", "OwnpilotChannels", "OwnpilotChatLogs", "OwnpilotConfigEntries",
            "OwnpilotConfigServices", "OwnpilotContacts", "OwnpilotConversations", "OwnpilotCustomTools",
            "OwnpilotEvents", "OwnpilotExpenses", "OwnpilotFirings", "OwnpilotGoals", "OwnpilotHabits", "OwnpilotInbox",
            "OwnpilotLocalModels", "OwnpilotLocalProviders", "OwnpilotMedia", "OwnpilotMemories", "OwnpilotModels",
            "OwnpilotNotes", "OwnpilotPlans", "OwnpilotPluginData", "OwnpilotPlugins", "OwnpilotPointers",
            "OwnpilotPomodoros", "OwnpilotProfile", "OwnpilotProviders", "OwnpilotRows", "OwnpilotSettings",
            "OwnpilotTables", "OwnpilotTasks", "OwnpilotTriggers",
        ],
        OWN,
    ),
}  # fmt: skip
"""The collections that a backup holds, in the order in which a restore replaces them."""

LEFT_OUT: dict[str, str] = {
    "OwnpilotActions": "calls of tools that wait for a decision for minutes: one that was decided must not come back",
    "OwnpilotBackups": "the backups themselves",
    "OwnpilotBriefings": "a cache of half an hour",
    "OwnpilotDue": "when triggers are due: noted again after a restore",
    "OwnpilotExecutions": "runs of code, whose output lies apart",
    "OwnpilotFileWorkspaces": "the files of workspaces lie apart",
    "OwnpilotFiles": "the files of workspaces lie apart",
    "OwnpilotIntegrations": "accounts at Google are nothing without their tokens, which stay where they are",
    "OwnpilotOauthStates": "accounts at Google that are being connected at this moment",
    "OwnpilotPlanRuns": "which plans workflows carry out at this moment",
    "OwnpilotSyncs": "who renews the catalogue of models for all persons at this moment",
    "OwnpilotToolRuns": "runs of tools that somebody waits for at this moment",
    "OwnpilotVectors": "a cache: vectors are made again from the memories",
    "OwnpilotWorkspaces": "the files of workspaces lie apart",
}
"""The collections that a backup does not hold and a restore leaves alone, with the reasons."""
