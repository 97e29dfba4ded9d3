"""Values that were just looked up."""

import asyncio

from shared.recent import RecentValues


async def test_a_value_is_looked_up_once_until_it_is_forgotten():
    recent, loads = RecentValues[str, int](seconds=60), 0

    async def load() -> int:
        nonlocal loads
        loads += 1
        return loads

    assert [await recent.get("a", load), await recent.get("a", load), await recent.get("b", load)] == [1, 1, 2]
    assert (recent.peek("a"), recent.peek("c")) == (1, None)
    recent.forget("a")
    assert (recent.peek("a"), await recent.get("a", load)) == (None, 3)


async def test_an_old_value_is_looked_up_again_and_the_oldest_go_first():
    async def load() -> int:
        return 1

    assert (await RecentValues[str, int](seconds=0).get("a", load)) == 1
    aged, small = RecentValues[str, int](seconds=0), RecentValues[int, int](seconds=60, most=2)
    await aged.get("a", load)
    for key in range(3):
        await small.get(key, load)
    assert (aged.peek("a"), [small.peek(key) for key in range(3)]) == (None, [None, 1, 1])


async def test_what_was_looked_up_before_a_change_is_not_kept():
    recent, changed = RecentValues[str, int](seconds=60), asyncio.Event()

    async def slow() -> int:
        await changed.wait()
        return 1

    reading = asyncio.create_task(recent.get("a", slow))
    await asyncio.sleep(0)
    recent.forget("a")
    changed.set()
    assert (await reading, recent.peek("a")) == (1, None)
