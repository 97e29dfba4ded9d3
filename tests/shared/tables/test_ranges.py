"""Ranges of a field's values, and lists without a total."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.tables import Collection, MissingIndex, Page, PageWithoutTotal
from tests.support.records import Agent, AscendingAgent, Counting, Run, Status, collection, numbered, plain

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module", params=["counted", "plain", "spread"])
async def runs(request: pytest.FixtureRequest, account: None) -> AsyncIterator[Collection[Run]]:
    """Ten records, an hour apart, with two of each number of tokens and some values that are None."""
    declared = ["tokens", "seconds", "name", "started_at", ("status", "tokens")]
    runs = {
        "counted": lambda: collection(orders=declared, unique=[], view=None),
        "plain": plain,
        "spread": lambda: plain(spread=3),
    }[request.param]()
    for n in range(10):
        await runs.insert(
            Run(
                created_at=NOON + timedelta(hours=n),
                tokens=n // 2 - 2,
                seconds=n / 4 - 1,
                name=f"{'aB'[n % 2]}{n // 2}" if n else None,
                status=list(Status)[n % 3],
                started_at=NOON - timedelta(days=n) if n % 3 else None,
            )
        )
    yield runs


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("order", "between"),
    [
        ("created_at", (NOON + 2 * HOUR, NOON + 5 * HOUR)),
        ("created_at", (None, (NOON + HOUR).replace(tzinfo=None))),
        ("created_at", (NOON + 7 * HOUR, None)),
        ("tokens", (-1, 1)),
        ("tokens", (0, None)),
        ("tokens", (None, -0.5)),
        ("tokens", (0.5, 1.5)),
        ("tokens", (2, 2)),
        ("seconds", (-1, 0)),
        ("seconds", (0.25, None)),
        ("name", ("a2", "b3")),
        ("name", ("A", "B")),
        ("name", (None, "b1")),
        ("name", (None, None)),
        ("started_at", (NOON - timedelta(days=5), NOON - timedelta(days=1))),
    ],
    ids=str,
)
async def test_a_range_holds_what_is_in_it(runs: Collection[Run], order: str, between: tuple[Any, Any]):
    def sortable(value: Any) -> Any:
        return value.casefold() if isinstance(value, str) else value

    def inside(run: Run) -> bool:
        low, high = (b.replace(tzinfo=UTC) if isinstance(b, datetime) else sortable(b) for b in between)
        value = sortable(getattr(run, order))
        return value is not None and (low is None or low <= value) and (high is None or value < high)

    every = (await runs.page(order=order)).items
    assert len(every) == 10
    wanted = [run.id for run in every if inside(run)]
    page = await runs.page(order=order, between=between)
    assert ([run.id for run in page.items], page.total) == (wanted, len(wanted))
    assert await runs.count(order=order, between=between) == len(wanted)
    found = [run.id async for run in runs.all(order=order, between=between)]
    assert found == wanted or (order == "created_at" and runs.spread > 1 and sorted(found) == sorted(wanted))
    reverse = await runs.page(order=order, between=between, descending=False, limit=2, offset=1)
    assert [run.id for run in reverse.items] == wanted[::-1][1:3]
    walked, cursor = list[str](), None
    while cursor or not walked:
        part = await runs.page(order=order, between=between, limit=2, cursor=cursor, total=False)
        walked += [run.id for run in part.items]
        cursor = part.cursor
        if not part.items:
            break
    assert walked == wanted


async def test_a_range_of_what_matches(runs: Collection[Run]):
    page = await runs.page({"status": "done"}, order="tokens", between=(-1, 2))
    assert ([run.tokens for run in page.items], page.total) == ([0, -1][: page.total], page.total)
    by_time = await runs.page({"status": ["done", "pending"]}, between=(NOON + 2 * HOUR, NOON + 7 * HOUR))
    assert [(run.created_at - NOON) // HOUR for run in by_time.items] == [6, 5, 3, 2]
    assert await runs.count({"status": "done"}, between=(NOON, NOON + 3 * HOUR)) == 1


async def test_what_is_asked_wrongly_is_refused(runs: Collection[Run]):
    for order in ("options", "nothing", "id"):
        with pytest.raises(MissingIndex):
            await runs.page(order=order, between=(1, 2))
    with pytest.raises(ValueError, match="only one range"):
        [run async for run in runs.all(after=NOON, between=(NOON, None))]
    with pytest.raises(ValueError, match="only one range"):
        [run async for run in runs.all(after=NOON, order="tokens")]


async def test_a_range_needs_a_declared_order():
    with pytest.raises(MissingIndex, match="declares no order by status"):
        await collection().page(order="status", between=("a", "b"))


async def test_calls_of_a_range(counting: Counting):
    runs = collection(orders=["tokens"], unique=[])
    for n in range(6):
        await runs.insert(Run(tokens=n))
    for order, between in (("tokens", (2, 5)), ("created_at", (datetime.now(UTC) - HOUR, None))):
        counting.reset()
        page = await runs.page(order=order, between=between, limit=2)
        assert (dict(counting.calls), type(page), len(page.items)) == ({"query": 2}, Page, 2)
        counting.reset()
        part = await runs.page(order=order, between=between, limit=2, total=False)
        assert (dict(counting.calls), counting.rows) == ({"query": 1}, 3)
        assert (type(part), part.items) == (PageWithoutTotal, page.items)


@pytest.mark.parametrize("model", [Agent, AscendingAgent])
async def test_numbers(model: type[Agent]):
    agents = numbered(model, orders=[])
    for number in range(1, 8):
        await agents.insert(model(owner=f"o{number % 2}"))

    async def found(low: int | None, high: int | None, descending: bool = True) -> list[int]:
        page = await agents.page(order="id", between=(low, high), descending=descending)
        assert page.total == await agents.count(order="id", between=(low, high))
        return [int(agent.id) for agent in page.items]

    assert await found(2, 5) == [4, 3, 2]
    assert await found(2, 5, descending=False) == [2, 3, 4]
    assert await found(None, 3) == [2, 1] == await found(-1, 3) == await found(0, 3)
    assert await found(6, None) == [7, 6]
    assert await found(None, 0) == await found(5, 5) == []
    odd = [agent.id async for agent in agents.all({"owner": "o1"}, order="id", between=(3, 7))]
    assert odd == (["5", "3"] if model is Agent else ["3", "5"])
    with pytest.raises(MissingIndex, match="declares no order by created_at"):
        await agents.page(between=(NOON, None))
    timed = numbered(orders=["created_at"])
    for hour in (3, 1, 2):
        await timed.insert(Agent(created_at=NOON + hour * HOUR))
    assert [agent.id for agent in (await timed.page(between=(NOON + 2 * HOUR, None))).items] == ["1", "3"]
