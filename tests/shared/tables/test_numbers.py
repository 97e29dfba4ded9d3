"""Whole-number ids: counted from 1, each taken once, in the transaction of its insert."""

import asyncio
import os
import random
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from pydantic import BaseModel, ConfigDict

from shared.tables import (
    Collection,
    MissingIndex,
    Record,
    RecordConflict,
    RecordNotFound,
    StorageUnavailable,
    client,
    repeatable,
    shard,
    sweep,
)
from shared.tables.client import TableSession
from shared.tables.client import client as session
from shared.tables.counted import CountedCollection
from shared.tables.wire import WireResponse
from tests.shared.tables.faults import Flaky, Once, audit, flaky, rows_of
from tests.support.records import Agent, AscendingAgent, Counting, numbered

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def agents(account: None) -> CountedCollection[Agent]:
    return numbered()


def ids(records: list[Agent]) -> list[int]:
    return [int(record.id) for record in records]


class TestIds:
    def test_an_id_is_text_that_a_body_shows_as_a_number(self):
        class AgentShown(BaseModel):
            model_config = ConfigDict(from_attributes=True)
            id: int

        agent = Agent()
        assert agent.id == Agent.new_id() == ""
        assert datetime.now(UTC) - agent.created_at < timedelta(seconds=5)
        agent.id = "12"
        assert AgentShown.model_validate(agent).model_dump_json() == '{"id":12}'
        with pytest.raises(ValueError, match="number follows"):
            Agent.derived_id(datetime.now(UTC), "seed")

    @given(st.lists(st.integers(1, 10**15 - 1), min_size=2))
    def test_row_keys_sort_the_highest_number_first(self, numbers: list[int]):
        keys = [Agent.id_form.row_key(str(number)) or "" for number in numbers]
        assert Agent.id_form.texts([f"r~{key}" for key in keys]) == [str(number) for number in numbers]
        assert sorted(keys) == [Agent.id_form.row_key(str(number)) for number in sorted(numbers, reverse=True)]
        keys = [AscendingAgent.id_form.row_key(str(number)) or "" for number in numbers]
        assert AscendingAgent.id_form.texts([f"r~{key}" for key in keys]) == [str(number) for number in numbers]
        assert sorted(keys) == [AscendingAgent.id_form.row_key(str(number)) for number in sorted(numbers)]

    def test_what_numbers_cannot_have_is_refused(self):
        with pytest.raises(ValueError, match="prefix"):
            type("Bad", (Record,), {}, prefix="bad_", numbered=True)
        with pytest.raises(ValueError, match="counted collection"):
            Collection("PlainAgents", Agent, plain=True)
        with pytest.raises(MissingIndex, match="one partition"):
            numbered().of("ann")


async def test_numbers_follow_each_other_and_are_not_used_again(agents: CountedCollection[Agent]):
    made = [await agents.insert(Agent(owner=f"o{n % 2}", name=f"n{n}")) for n in range(4)]
    assert ids(made) == [1, 2, 3, 4]
    assert [await agents.get(agent.id) for agent in made] == made
    await agents.delete("4")
    made.append(await agents.insert(Agent(name="n4")))
    assert made[4].id == "5"
    assert (await agents.find("name", "n4")).id == "5"
    assert (await agents.update("5", lambda agent: setattr(agent, "name", "m"))).id == "5"
    assert ids((await agents.page({"owner": "o0"})).items) == [3, 1]
    assert set(await audit(agents)) == {"1", "2", "3", "5"}
    with pytest.raises(ValueError, match="number that its insert takes"):
        await agents.insert(made[0])


@pytest.mark.parametrize("model", [Agent, AscendingAgent])
async def test_lists_run_in_number_order_both_ways(model: type[Agent]):
    agents = numbered(model)
    old = datetime(2020, 1, 1, tzinfo=UTC)
    await asyncio.gather(*(agents.insert(model(created_at=old - timedelta(hours=hour))) for hour in range(300)))
    for order in ("created_at", "id"):
        assert ids((await agents.page(order=order, limit=3)).items) == [300, 299, 298]
        assert ids((await agents.page(order=order, limit=3, offset=270)).items) == [30, 29, 28]
        assert ids((await agents.page(order=order, limit=3, descending=False)).items) == [1, 2, 3]
    first = await agents.page(limit=200)
    assert ids((await agents.page(limit=200, cursor=first.cursor)).items) == [*range(100, 0, -1)]
    first = await agents.page(limit=200, descending=False)
    assert ids((await agents.page(limit=200, descending=False, cursor=first.cursor)).items) == [*range(201, 301)]
    assert ids([agent async for agent in agents.all()])[:: 1 if model is AscendingAgent else -1] == [*range(1, 301)]
    assert [hour.count for hour in (await agents.history(old - timedelta(hours=2), old)).hours] == [1, 1]


async def test_an_ascending_list_costs_the_same_however_many_records_there_are(counting: Counting):
    agents = numbered(AscendingAgent)
    await asyncio.gather(*(agents.insert(AscendingAgent(owner="bob")) for _ in range(20)))
    for number in (120, 700):
        await asyncio.gather(*(agents.insert(AscendingAgent()) for _ in range(number)))
        counting.reset()
        page = await agents.page({"owner": "ann"}, order="id", descending=False, limit=100, total=False)
        assert ids(page.items) == [*range(21, 121)]
        assert (dict(counting.calls), counting.rows) == ({"query": 1}, 101)
        counting.reset()
        page = await agents.page({"owner": "ann"}, order="id", descending=False, limit=100, offset=100)
        assert ids(page.items)[0] == 121
        assert (dict(counting.calls), page.total) == ({"query": 2}, 120 if number == 120 else 820)
    assert (await agents.rebuild()).records == 840
    assert len(await audit(agents)) == 840


class TestRepeatable:
    """Inserts in a block that is run again, as a request is whose host has died before its response."""

    @pytest.mark.parametrize("prompt", ["", "long " * 10_000], ids=["short", "long"])
    async def test_a_repeat_finds_the_record_of_the_first_run(self, agents: CountedCollection[Agent], prompt: str):
        async def run(seed: str) -> list[Agent]:
            with repeatable(datetime(2026, 1, 1, tzinfo=UTC), lambda: seed):
                first = await agents.insert(Agent(name=f"{seed} name", prompt=prompt))
                return [first, await agents.insert(Agent(prompt=prompt))]

        made = await run("one")
        assert (await run("two"))[0].id not in [agent.id for agent in made]
        renamed = await agents.update(made[0].id, lambda agent: setattr(agent, "owner", "bob"))
        again = await run("one")
        assert [again[0], again[1].id] == [renamed, made[1].id]
        assert len(await audit(agents)) == 4

    async def test_two_runs_at_once_make_one_record(self, agents: CountedCollection[Agent]):
        async def run() -> Agent:
            with repeatable(datetime(2026, 1, 1, tzinfo=UTC), lambda: "seed"):
                return await agents.insert(Agent())

        assert len({agent.id for agent in await asyncio.gather(*(run() for _ in range(4)))}) == 1
        assert len(await audit(agents)) == 1

    async def test_a_value_that_another_record_has_is_still_refused(self, agents: CountedCollection[Agent]):
        await agents.insert(Agent(name="taken"))
        with repeatable(datetime(2026, 1, 1, tzinfo=UTC), lambda: "seed"), pytest.raises(RecordConflict, match="name"):
            await agents.insert(Agent(name="taken"))

    async def test_a_deleted_record_leaves_nothing_and_is_made_anew(self, agents: CountedCollection[Agent]):
        async def run() -> Agent:
            with repeatable(datetime(2026, 1, 1, tzinfo=UTC), lambda: "seed"):
                return await agents.insert(Agent())

        first = await run()
        assert (await agents.rebuild()).stray == 0
        assert (await run()).id == first.id
        await agents.delete(first.id)
        assert not [key for key in await rows_of(agents) if key.startswith("u~")]
        assert (await run()).id == "2"
        assert (await agents.clear()) == 1
        assert not await audit(agents)


async def test_a_declared_order_sorts_by_time():
    agents = numbered(orders=["created_at"])
    old = datetime(2020, 1, 1, tzinfo=UTC)
    for number in range(4):
        await agents.insert(Agent(created_at=old - timedelta(hours=number)))
    assert ids((await agents.page()).items) == [1, 2, 3, 4]
    assert ids((await agents.page(order="id")).items) == [4, 3, 2, 1]


async def test_a_text_that_is_not_a_number_is_not_found_without_a_call(
    agents: CountedCollection[Agent], counting: Counting
):
    for text in ("", "0", "01", "1 ", "-1", "1.0", "٣", "x", "1" * 16):
        with pytest.raises(RecordNotFound):
            await agents.get(text)
    assert not counting.calls


async def test_calls(agents: CountedCollection[Agent], counting: Counting):
    agent = await agents.insert(Agent())
    for _ in range(3):
        counting.reset()
        agent = await agents.insert(Agent())
        # The record, its index row, the number, and the counters of the partition, the owner and the hour.
        assert (dict(counting.calls), counting.written) == ({"batch": 1}, 6)
    counting.reset()
    await agents.get(agent.id)
    assert (dict(counting.calls), counting.rows) == ({"get": 1}, 1)


async def test_waiting_writes_take_consecutive_numbers_together(agents: CountedCollection[Agent], counting: Counting):
    await agents.insert(Agent(name="n3"))
    counting.reset()
    made = await asyncio.gather(*(agents.insert(Agent(name=f"n{n}")) for n in range(10)), return_exceptions=True)
    assert counting.calls["batch"] == 2  # one of them is refused
    stored = [agent for agent in made if isinstance(agent, Agent)]
    assert ids(stored) == [*range(2, 11)]
    (refused,) = (agent for agent in made if not isinstance(agent, Agent))
    assert isinstance(refused, RecordConflict) and refused.field == "name"
    assert len(await audit(agents)) == 10


async def test_a_refused_record_can_be_inserted_again(agents: CountedCollection[Agent]):
    await agents.insert(Agent(name="taken"))
    agent = Agent(name="taken")
    with pytest.raises(RecordConflict, match="name"):
        await agents.insert(agent)
    assert agent.id == ""
    agent.name = "free"
    assert (await agents.insert(agent)).id == "2"


@pytest.mark.parametrize("landed", [True, False])
async def test_a_lost_response_takes_no_number_twice(agents: CountedCollection[Agent], landed: bool):
    await agents.insert(Agent())
    wire = session().wire
    inner, wire.transport = wire.transport, Once(wire.transport, landed=landed)
    try:
        agent = await agents.insert(Agent())
    finally:
        wire.transport = inner
    assert (agent.id, agent.etag) == ("2", (await agents.get("2")).etag)
    assert (await agents.insert(Agent())).id == "3"
    assert len(await audit(agents)) == 3


async def test_a_text_in_a_blob_is_named_by_its_number(agents: CountedCollection[Agent]):
    text = random.Random(1).randbytes(200_000).hex()
    await agents.insert(Agent(name="n"))
    agent = await agents.insert(Agent(prompt=text))
    with pytest.raises(RecordConflict):
        await agents.insert(Agent(prompt=text, name="n"))
    assert (await agents.insert(Agent())).id == "4"  # the refused one had taken its number ahead
    await sweep(timedelta(hours=-1))
    assert (await agents.get(agent.id)).prompt == text
    assert (await agents.rebuild()).records == 3
    assert len(await audit(agents)) == 3


async def test_a_process_that_loses_gets_its_turn(agents: CountedCollection[Agent]):
    """Before each transaction of one process, another one writes: unless it waits for the first one's turn."""
    loop = asyncio.get_running_loop()
    own, other = session(), TableSession()
    inner, others, tries = other.wire.transport, set[asyncio.Task[Agent]](), 0

    async def insert(process: TableSession) -> Agent:
        client._clients[loop] = process
        return await agents.insert(Agent())

    class Racing(Once):
        async def send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> WireResponse:
            nonlocal tries
            if url.endswith("$batch"):
                tries += 1
                others.add(asyncio.create_task(insert(own)))
                await asyncio.wait(others, timeout=0.06, return_when=asyncio.ALL_COMPLETED)
            return await self.inner.send(method, url, headers, body)

    await insert(own)
    other.wire.transport = Racing(inner, landed=False)
    made = await insert(other)
    await asyncio.gather(*others)
    client._clients[loop] = own
    await other.close()
    assert tries < 10  # without a turn of its own, it would lose as long as the other goes on
    assert set(await audit(agents)) == {str(number) for number in range(1, 2 + tries + 1)} >= {made.id}


async def test_a_process_that_died_in_its_turn_stops_nobody(agents: CountedCollection[Agent]):
    await agents.insert(Agent())
    dead = TableSession()
    await dead.committer(agents.table, "all").sequence._ask()
    await dead.close()
    assert (await asyncio.wait_for(agents.insert(Agent()), 5)).id == "2"


CODE = """
import asyncio, os, sys
from shared.storage import connect
from shared.tables import Collection, Record, close

class Agent(Record, numbered=True):
    owner: str
    name: str | None = None

async def main():
    connect()
    agents = Collection(sys.argv[1], Agent, indexes=["owner"], unique=["name"], counters=["owner"])
    made = []
    async def write(writer):
        for n in range(3):
            made.append((await agents.insert(Agent(owner=f"p{writer}"))).id)
    await asyncio.gather(*map(write, range(4)))
    await close()
    os.write(1, (" ".join(made) + " ").encode())

children = []
for _ in range(8):
    if not (child := os.fork()):
        try:
            asyncio.run(main())
        finally:
            os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
"""
"""Imports once, then becomes eight processes, each with four writers."""


async def test_eight_processes_take_no_number_twice(agents: CountedCollection[Agent], storage: str):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", CODE, agents.table),
        cwd=REPOSITORY,
        env=os.environ | {"AzureWebJobsStorage": storage},
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 60)
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert sorted(map(int, output.split())) == [*range(1, 97)]
    assert len(await audit(agents)) == 96


class Machine(RuleBasedStateMachine):
    """Two clients of one loop stand for two processes, whose requests and responses are lost."""

    made = Bundle("made")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.agents = numbered()
        self.model: dict[str, Agent] = {}
        self.taken: set[str] = set()
        self.doubtful: set[str] = set()
        self.unclear = 0

    @initialize(seed=st.integers(0, 1000))
    def start(self, seed: int) -> None:
        self.processes = [self.loop.run_until_complete(self.process(seed + n)) for n in range(2)]

    async def process(self, seed: int) -> tuple[TableSession, Flaky]:
        process = TableSession()
        process.wire.pause = 0.001
        flaky = process.wire.transport = Flaky(process.wire.transport, seed, 0.25)
        return process, flaky

    def do(self, process: int, *work: Any) -> list[Any]:
        used, flaky = self.processes[process]
        client._clients[self.loop] = used

        async def whole() -> list[Any]:
            done = await asyncio.gather(*work, return_exceptions=True)
            await flaky.quiet()
            return done

        return self.loop.run_until_complete(whole())

    @rule(process=st.integers(0, 1), names=st.lists(st.integers(0, 5), min_size=1, max_size=5))
    def insert(self, process: int, names: list[int]) -> None:
        new = [Agent(name=f"n{name}" if name else None) for name in names]
        for result in self.do(process, *map(self.agents.insert, new)):
            if isinstance(result, StorageUnavailable):
                self.unclear += 1
            elif isinstance(result, Agent):
                assert result.id not in self.taken
                self.taken.add(result.id)
                self.model[result.id] = result
            else:
                assert isinstance(result, RecordConflict) and result.field == "name"

    @rule(process=st.integers(0, 1), number=st.integers(1, 12))
    def delete(self, process: int, number: int) -> None:
        (result,) = self.do(process, self.agents.delete(str(number)))
        if isinstance(result, StorageUnavailable):
            self.doubtful.add(str(number))
        else:
            assert result is None or isinstance(result, RecordNotFound)
            assert self.unclear or isinstance(result, RecordNotFound) <= (str(number) not in self.model)
            self.model.pop(str(number), None)

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "processes"):
            return
        _, flaky = self.processes[0]
        flaky.rate, rate = 0.0, flaky.rate
        records, page, rows = self.do(0, audit(self.agents), self.agents.page(limit=1000), rows_of(self.agents))
        flaky.rate = rate
        assert ids(page.items) == sorted(map(int, records), reverse=True)
        assert page.total == len(records)
        last = int(rows["n~"]["last"]) if "n~" in rows else 0
        assert max(map(int, records.keys() | self.taken), default=0) <= last
        if not self.unclear:
            assert self.taken == {str(number) for number in range(1, last + 1)}  # no gap either
            for number in (records.keys() | self.model.keys()) - self.doubtful:
                assert records[number] == self.model[number]

    def teardown(self) -> None:
        for process, _ in getattr(self, "processes", []):
            self.loop.run_until_complete(process.close())
        client._clients.pop(self.loop, None)
        self.loop.close()


async def test_any_sequence(account: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shard, "SHARDS", 2)
    quick = settings(max_examples=2, stateful_step_count=12, deadline=None)
    await asyncio.to_thread(run_state_machine_as_test, Machine, settings=quick)


async def test_writers_side_by_side_under_faults(agents: CountedCollection[Agent]):
    async with flaky(3, 0.2):
        made = await asyncio.gather(*(agents.insert(Agent()) for _ in range(60)), return_exceptions=True)
    stored = [agent.id for agent in made if isinstance(agent, Agent)]
    assert len(stored) == len(set(stored)) > 30
    assert set(stored) <= (await audit(agents)).keys()
