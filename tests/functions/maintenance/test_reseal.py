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


async def handle(order: dict[str, str]) -> None:
    """Call the handler as the worker does."""
    builder = reseal.maintenance_reseal
    assert isinstance(builder, FunctionBuilder)
    await builder._function.get_user_function()(func.QueueMessage(body=json.dumps(order).encode()))


@pytest.mark.parametrize("tenant", [None, "ann"])
async def test_the_message_names_the_collection_and_its_tenant(
    account: None, caplog: pytest.LogCaptureFixture, tenant: str | None
):
    collection = vaults if tenant is None else vaults.of(tenant)
    record = await collection.insert(Vault(secret="unknown:AAAA"))
    with caplog.at_level(logging.INFO):
        await handle({"table": "ResealVaults"} | ({"tenant": tenant} if tenant else {}))
    lines = [entry.getMessage() for entry in caplog.records if entry.name.startswith(("shared.", "functions."))]
    assert lines == [
        f"not sealed anew: secret of {record.id} in ResealVaults is not sealed with a key of RUNYARD_SEALING_KEYS",
        "sealed ResealVaults anew: 0 records, 1 do not open",
    ]


async def test_an_unknown_collection_is_an_error(account: None):
    with pytest.raises(KeyError):
        await handle({"table": "Nothing"})
