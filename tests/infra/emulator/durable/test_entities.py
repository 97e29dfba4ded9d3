"""Entities that are written with the SDK."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import azure.durable_functions as df
import httpx
import pytest

from tests.infra.emulator.durable.harness import Functions, TaskHub, eventually

Steps = Generator[Any, Any, Any]
app = df.DFApp()
batches: dict[str, list[int]] = {}  # entity key -> number of concurrent runs


@app.entity_trigger(context_name="ctx")
def account(ctx: Any) -> None:
    running = batches.setdefault(ctx.entity_key, [0, 0])
    running[0] += 1
    running[1] = max(running)
    balance = ctx.get_state(lambda: 0)
    try:
        match ctx.operation_name:
            case "add":
                ctx.set_state(balance + ctx.get_input())
            case "take":
                ctx.set_state(balance - ctx.get_input())
                if balance < ctx.get_input():
                    raise ValueError(f"only {balance} left")
            case "close":
                ctx.destruct_on_exit()
        ctx.set_result(balance) if ctx.operation_name == "get" else None
    finally:
        running[0] -= 1


@app.orchestration_trigger(context_name="ctx")
def transfer(ctx: Any) -> Steps:
    ours = df.EntityId("Account", ctx.get_input())
    yield ctx.call_entity(ours, "add", 5)
    ctx.signal_entity(ours, "add", 7)
    try:
        yield ctx.call_entity(ours, "take", 100)
    except Exception as error:
        return [str(error), (yield ctx.call_entity(ours, "get"))]


@app.orchestration_trigger(context_name="ctx")
def depositors(ctx: Any) -> Steps:
    ours = df.EntityId("account", ctx.get_input())
    yield ctx.task_all([ctx.call_entity(ours, "add", 1) for _ in range(120)])
    return (yield ctx.call_entity(ours, "get"))


@app.orchestration_trigger(context_name="ctx")
def caller_of_unknown(ctx: Any) -> Steps:
    try:
        yield ctx.call_entity(df.EntityId("nobody", "x"), "get")
    except Exception as error:
        return str(error)


functions = Functions(app)


@pytest.fixture
async def hub(new_hub: Callable[..., Awaitable[TaskHub]]) -> TaskHub:
    return await new_hub(functions)


async def balance(hub: TaskHub, key: str) -> Any:
    state = await hub.client.read_entity_state(df.EntityId("account", key))
    return state.entity_state if state.entity_exists else None


async def test_an_orchestration_calls_and_signals_entities_and_gets_their_errors(hub: TaskHub):
    error, left = (await hub.run("transfer", "mine")).output
    assert error == "only 12 left"
    assert left == -88  # changes before an operation raised are kept


async def test_names_are_lower_cased_and_keys_are_not(hub: TaskHub):
    await hub.run("transfer", "Mine")
    assert await balance(hub, "Mine") == -88
    assert await balance(hub, "mine") is None


async def test_concurrent_calls_run_one_batch_at_a_time(hub: TaskHub):
    assert (await hub.run("depositors", "busy")).output == 120
    assert batches["busy"] == [0, 1]


async def test_signals_of_the_client_arrive_in_order(hub: TaskHub):
    id = df.EntityId("account", "signalled")
    for amount in (5, 6):
        await hub.client.signal_entity(id, "add", amount)

    async def settled() -> bool:
        return await balance(hub, "signalled") == 11

    await eventually(settled)
    await hub.client.signal_entity(id, "close")

    async def closed() -> bool:
        return await balance(hub, "signalled") is None

    await eventually(closed)


async def test_state_and_waiting_signals_survive_a_restart(hub: TaskHub):
    id = df.EntityId("account", "kept")
    await asyncio.gather(*(hub.client.signal_entity(id, "add", 1) for _ in range(30)))
    await hub.restart_engine()

    async def settled() -> bool:
        return await balance(hub, "kept") == 30

    await eventually(settled)


async def test_a_call_of_an_unknown_entity_is_an_error(hub: TaskHub):
    assert "nobody" in (await hub.run("caller_of_unknown")).output


async def test_entities_are_listed(hub: TaskHub):
    await hub.run("transfer", "listed")
    async with httpx.AsyncClient() as http:
        found = (await http.get(f"{hub.api}/entities/Account?fetchState=true")).json()
    assert [(entry["entityId"], entry["state"]) for entry in found] == [({"name": "account", "key": "listed"}, -88)]
