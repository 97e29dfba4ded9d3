"""Blobs of long texts live exactly as long as the row that names them."""

import random
from datetime import timedelta

import pytest

from shared import blobs, tables
from shared.tables import Collection, RecordNotFound, commit
from shared.tables.client import client
from tests.support.records import Run

TEXTS = [random.Random(seed).randbytes(200_000).hex() for seed in range(2)]


async def names(runs: Collection[Run]) -> list[str]:
    return [name async for name, _ in client().blobs.names() if name.startswith(f"{runs.table}/")]


async def test_a_replaced_or_deleted_text_leaves_no_blob(runs: Collection[Run]):
    run = await runs.insert(Run(prompt=TEXTS[0]))
    (first,) = await names(runs)
    await runs.update(run.id, lambda r: setattr(r, "tokens", 1))
    assert await names(runs) == [first]
    await runs.update(run.id, lambda r: setattr(r, "prompt", TEXTS[1]))
    (second,) = await names(runs)
    assert second != first
    assert (await runs.get(run.id)).prompt == TEXTS[1]
    await runs.delete(run.id)
    assert await names(runs) == []


async def test_a_crash_between_blob_and_row_is_swept(runs: Collection[Run], monkeypatch: pytest.MonkeyPatch):
    kept = await runs.insert(Run(prompt=TEXTS[0]))
    lost = Run(prompt=TEXTS[1])

    async def dying(*_: object, **__: object) -> list[str | None]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(commit.Committer, "write", dying)
        with pytest.raises(KeyboardInterrupt):
            await runs.insert(lost)
        with pytest.raises(KeyboardInterrupt):
            await runs.update(kept.id, lambda r: setattr(r, "prompt", TEXTS[1]))
    assert len(await names(runs)) == 3
    assert await tables.sweep() == 0  # too young: their rows may be on the way
    assert await tables.sweep(timedelta(hours=-1)) == 2
    assert len(await names(runs)) == 1
    assert (await runs.get(kept.id)).prompt == TEXTS[0]
    with pytest.raises(RecordNotFound):
        await runs.get(lost.id)


async def test_a_write_succeeds_although_its_old_blob_cannot_be_deleted(
    runs: Collection[Run], monkeypatch: pytest.MonkeyPatch
):
    first, second = [await runs.insert(Run(prompt=text)) for text in TEXTS]

    async def no_answer(name: str) -> None:
        raise tables.StorageUnavailable("no answer in time")

    with monkeypatch.context() as patch:
        patch.setattr(client().blobs, "delete", no_answer)
        assert (await runs.update(first.id, lambda r: setattr(r, "prompt", "short"))).prompt == "short"
        await runs.delete(second.id)
    assert await tables.sweep(timedelta(hours=-1), prefix=f"{runs.table}/") == 2


async def test_a_text_that_is_replaced_while_it_is_read_is_read_again(
    runs: Collection[Run], monkeypatch: pytest.MonkeyPatch
):
    run = await runs.insert(Run(prompt=TEXTS[0]))
    get, asked = blobs.get, []

    async def late(container: str, name: str) -> bytes:
        if not asked:
            asked.append(name)
            with monkeypatch.context() as patch:
                patch.setattr(blobs, "get", get)
                await runs.update(run.id, lambda r: setattr(r, "prompt", TEXTS[1]))
        return await get(container, name)

    monkeypatch.setattr(blobs, "get", late)
    assert (await runs.get(run.id)).prompt == TEXTS[1]
