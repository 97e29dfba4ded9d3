"""What a client gives in confidence is nowhere but in the environment of its container."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import httpx
import pytest
from azure.data.tables.aio import TableServiceClient
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from functions.dev8.layout import Secret
from infra.local.environment import Environment
from shared import shares
from tests.support.dev8 import NEW, PATH, Dev8, nothing_left
from tests.support.groups import group_body, limited

pytestmark = pytest.mark.usefixtures("app")

FIELDS = [
    "githubToken", "gitUserName", "gitUserEmail", "sshPublicKey", "codeServerPassword", "anthropicApiKey",
    "openaiApiKey", "geminiApiKey",
]  # fmt: skip
PLANTED = {name: f"planted-{name}-{number} 'a' \"b\" \\c\nnext line" for number, name in enumerate(FIELDS)}
MARK = "planted-"


async def storage_texts(stack: Environment, since: datetime) -> AsyncIterator[tuple[str, str]]:
    """Each row of the tables, each message in a queue, and each blob that was written since then."""
    given = stack.app_settings["AzureWebJobsStorage"]
    async with TableServiceClient.from_connection_string(given) as tables:
        async for table in tables.list_tables():
            async for row in tables.get_table_client(table.name).list_entities():
                yield f"table {table.name}", str(dict(row))
    async with QueueServiceClient.from_connection_string(given) as queues:
        async for queue in queues.list_queues():
            async with queues.get_queue_client(queue.name) as one:
                for message in await one.peek_messages(max_messages=32):
                    yield f"queue {queue.name}", str(message.content)
    async with BlobServiceClient.from_connection_string(given) as blobs:
        async for container in blobs.list_containers():
            async with blobs.get_container_client(container.name) as one:
                async for blob in one.list_blobs():
                    if blob.last_modified >= since:
                        data = await (await one.download_blob(blob.name)).readall()
                        yield f"blob {container.name}/{blob.name}", data.decode(errors="replace")


async def test_planted_secrets_are_found_in_the_container_only(stack: Environment, dev8: Dev8):
    since, answers = datetime.now(UTC) - timedelta(seconds=5), list[httpx.Response]()
    key = await shares.key("dev8shares")

    async def ask(method: str, path: str, **sent: Any) -> httpx.Response:
        answers.append(await dev8.http.request(method, path, **sent))
        return answers[-1]

    new, repeated = {"json": {**NEW, **PLANTED}}, {"headers": {"Idempotency-Key": "planted once"}}
    made = (await ask("POST", PATH, **new, **repeated)).json()["environment"]
    await ask("POST", PATH, **new, **repeated)
    await ask("POST", PATH, json={**NEW, **PLANTED, "cpuCores": 9, "githubToken": PLANTED["githubToken"] * 2000})
    await ask("POST", PATH, content=json.dumps({**NEW, **PLANTED})[:-1], headers={"Content-Type": "application/json"})
    async with limited(stack, full_locations=["eastasia"]):
        refused = await ask("POST", PATH, json={**NEW, **PLANTED, "cloudRegion": "eastasia"})
        await dev8.reach(refused.json()["environment"]["id"], "ERROR")
    await dev8.reach(made["id"], "RUNNING")

    kept = [path.read_text() for path in (stack.state / "containers/groups").glob("*/group.json")]
    [group] = [json.loads(text) for text in kept if made["id"] in text]
    [workspace] = [each for each in find(group, "environmentVariables") if "SSH_PUBLIC_KEY" in str(each)]
    given = {variable["name"]: variable.get("secureValue") for variable in workspace}
    assert {given[name] for name in get_args(Secret)} == {*PLANTED.values()}
    token = given["SUPERVISOR_AGENT_API_KEY"]

    shown = json.dumps(await group_body(stack, made["id"]))
    for what in ("stop", "start"):
        await ask("POST", f"{PATH}/{made['id']}/{what}")
        await dev8.reach(made["id"], "STOPPED" if what == "stop" else "RUNNING")
    await dev8.report(made["id"])
    await ask("GET", f"{PATH}/{made['id']}")
    await ask("GET", PATH)

    texts = [(f"answer {answer.request.method}", answer.text + str(answer.headers)) for answer in answers]
    texts += [each async for each in storage_texts(stack, since)] + [("the service's answer", shown)]
    for folder in ("logs", "host"):
        for path in (stack.state / folder).rglob("*"):
            if path.is_file():
                texts.append((str(path), path.read_bytes().decode(errors="replace")))
    assert {kind.partition(" ")[0] for kind, _ in texts} >= {"answer", "table"}
    assert [kind for kind, text in texts if MARK in text.replace("planted once", "")] == []
    assert [kind for kind, text in texts if token in text or key in text] == []
    await asyncio.gather(*(dev8.drop(each) for each in (made["id"], refused.json()["environment"]["id"])))
    await nothing_left(stack, made["id"])


async def test_without_a_password_the_editor_has_a_random_one(stack: Environment, dev8: Dev8):
    made = [await dev8.create() for _ in range(2)]
    passwords: set[str] = set()
    for path in (stack.state / "containers/groups").glob("*/group.json"):
        text = path.read_text()
        if any(each["id"] in text for each in made):
            for variables in find(json.loads(text), "environmentVariables"):
                passwords |= {v["secureValue"] for v in variables if v["name"] == "CODE_SERVER_PASSWORD"}
    assert len(passwords) == 2
    assert min(map(len, passwords)) >= 32
    await asyncio.gather(*(dev8.drop(each["id"]) for each in made))


def find(value: Any, name: str) -> list[Any]:
    """Every value of this member, at any depth."""
    if isinstance(value, list):
        return [found for each in value for found in find(each, name)]
    if isinstance(value, dict):
        own = [value[name]] if value.get(name) else []
        return own + [found for each in value.values() for found in find(each, name)]
    return []
