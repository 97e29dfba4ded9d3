"""Many groups at once: so many of them start at a time, the others in their turn."""

from pathlib import Path

import pytest

from infra.emulator.containers import operations
from infra.emulator.containers.launch import Rules
from infra.emulator.containers.state import ContainerGroup
from tests.infra.emulator.containers.harness import EmulatorProcess, Groups, container, group
from tests.support.waiting import eventually


@pytest.mark.parametrize("own_emulator", [("--starts=2", "--starting=600")], indirect=True)
async def test_groups_start_in_turn_when_an_earlier_one_has_ended_or_is_deleted(own_emulator: EmulatorProcess):
    async with Groups(own_emulator.port) as groups:

        async def pending() -> list[str]:
            found = [one async for one in groups.sdk.list_by_resource_group("tests")]
            return sorted(one.name or "" for one in found if one.provisioning_state == "Pending")

        for name in ("a", "b", "c", "d", "e"):
            body = group(container("sleep 600"), policy="Never")
            await groups.sdk.begin_create_or_update("tests", name, body, polling=False)
        assert await eventually(pending, until=lambda names: len(names) == 3) == ["c", "d", "e"]
        await groups.delete("d")  # one that waits is deleted at once
        await groups.delete("a")
        assert await eventually(pending, until=lambda names: len(names) == 1) == ["e"]
        await groups.sdk.stop("tests", "b")
        await eventually(pending, until=lambda names: not names)


async def test_a_deletion_that_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(operations, "REMOVE_AGAIN", 0)
    groups = operations.ContainerGroups(tmp_path, tmp_path / "images.json", Rules())
    one = ContainerGroup(tmp_path / "groups/a", "s", "r", "a", {})
    groups.groups[one.id.lower()] = one
    failures = iter([OSError("busy"), ValueError("no process"), None])

    async def stop(_: float) -> None:
        if error := next(failures):
            raise error

    monkeypatch.setattr(one, "stop", stop)
    one.save()
    await groups.delete(one)
    assert groups.groups == {} and not one.folder.exists()
