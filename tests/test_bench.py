"""The benchmarks' own parts: tables in memory answer as the storage emulator does, and results become a table."""

import json
from pathlib import Path

import pytest

import bench.__main__ as bench
from bench.figures import Figure, times
from bench.memory_tables import MemoryTables
from bench.samples import MAIN, Sample
from shared import tables
from shared.tables.client import client


@pytest.mark.parametrize("sample", MAIN, ids=lambda sample: sample.name)
async def test_tables_in_memory_answer_as_storage_does(sample: Sample, account: None):
    found: list[object] = []
    for number in range(2):
        records = sample.of(f"same-{number}")
        if number:
            await tables.close()
            await client().wire.transport.close()
            client().wire.transport = MemoryTables()
        ids = await sample.fill(records, 60)
        await records.update(ids[7], lambda record: sample.change(record, 1))
        await records.delete(ids[8])
        pages = [await records.page(limit=20, offset=offset) for offset in (0, 30)]
        pages.append(await records.page(sample.where, limit=20))
        shown = [record.model_dump(exclude={"id", "updated_at"}) for page in pages for record in page.items]
        places = [[ids.index(record.id) for record in page.items] for page in pages]
        totals = await records.totals()
        found.append((shown, places, [page.total for page in pages], totals.count, totals.by("status")))
    await tables.close()
    assert found[0] == found[1]


def test_the_readme_gets_a_table_with_goals_and_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    readme, results = tmp_path / "README.md", tmp_path / "results.json"
    readme.write_text("before\n<!-- figures of make bench -->\nold\n<!-- end of the figures -->\nafter\n")
    figure = {"name": "health", "value": 1.2, "unit": "ms", "at_most": 1.5, "at_least": None, "load": 0.3}
    results.write_text(json.dumps({part: {"seconds": 1, "figures": [figure]} for part in bench.PARTS}))
    monkeypatch.setattr(bench, "README", readme)
    bench.write_table(json.loads(results.read_text()))
    text = readme.read_text()
    assert text.count("| health | 1.2 | ms | <= 1.5 | 0.3 |\n") == len(bench.PARTS)
    assert "old" not in text and text.endswith("<!-- end of the figures -->\nafter\n")


def test_a_figure_knows_its_goal():
    assert [each.is_reached for each in (Figure("a", 2, "ms", at_most=1), Figure("a", 2, "1/s", at_least=1))] == [
        False,
        True,
    ]
    assert [each.value for each in times("a", [0.001 * n for n in range(1, 101)])] == [50.5, 96]
