"""Sealing a collection's secrets anew, by a message."""

import json
import logging

import azure.functions as func
import pytest
from azure.functions.decorators.function_app import FunctionBuilder

from functions.maintenance import reseal
from shared import sealing, tables


class Vault(tables.Record):
    secret: str | None = None


vaults = tables.Collection("ResealVaults", Vault, plain=True)
sealing.declare(vaults, "secret")
spread_vaults = tables.Collection("ResealSpread", Vault, plain=True, spread=4)


async def handle(order: dict[str, str]) -> None:
    """Call the handler as the worker does."""
    builder = reseal.maintenance_reseal
    assert isinstance(builder, FunctionBuilder)
    await builder._function.get_user_function()(func.QueueMessage(body=json.dumps(order).encode()))


async def test_a_message_without_a_tenant_is_for_all_of_them(account: None, caplog: pytest.LogCaptureFixture):
    ids = [(await vaults.of(name).insert(Vault(secret="unknown:AAAA"))).id for name in ("ann", "bob@example.org")]
    await vaults.insert(Vault(secret=sealing.seal("s", sealing.Context("ResealVaults", "other", "secret"))))
    for order, opened, partitions in (({}, ids, 3), ({"tenant": "ann"}, ids[:1], 1)):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            await handle({"table": "ResealVaults"} | order)
        lines = [entry.getMessage() for entry in caplog.records if entry.name.startswith(("shared.", "functions."))]
        reason = "is not sealed with a key of RUNYARD_SEALING_KEYS"
        assert lines[:-1] == [f"not sealed anew: secret of {id_} in ResealVaults {reason}" for id_ in opened]
        counts = f"0 records of {partitions} partitions, {len(opened)} do not open; 0 partitions failed"
        assert lines[-1] == f"sealed anew by the order {json.dumps({'table': 'ResealVaults'} | order)}: {counts}"


async def test_one_partition_that_fails_does_not_stop_the_others(account: None, monkeypatch: pytest.MonkeyPatch):
    done: list[str] = []

    async def reseal(collection: tables.Collection[Vault]) -> sealing.Resealed:
        done.append(collection.partition)
        raise RuntimeError

    for name in ("ann", "bob"):
        await spread_vaults.of(name).insert(Vault())
        await spread_vaults.of(name).insert(Vault())
    monkeypatch.setattr(sealing, "reseal", reseal)
    with pytest.raises(RuntimeError, match="2 partitions could not be sealed anew"):
        await handle({"table": "ResealSpread"})
    assert done == ["ann", "bob"]


async def test_an_unknown_collection_is_an_error(account: None):
    with pytest.raises(KeyError):
        await handle({"table": "Nothing"})
