"""One test for each row of the table of operations in `infra/emulator/README.md`."""

import inspect
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.containerinstance.models import (
    ContainerExecRequest,
    ContainerExecRequestTerminalSize,
    IpAddress,
    Port,
    Resource,
)

from infra.emulator.processes import ROOT
from tests.infra.emulator.containers.harness import SUBSCRIPTION, TOKEN, Groups, container, group, processes

TABLE = (ROOT / "infra/emulator/README.md").read_text().partition("## Container Instances")[2].partition("\n## ")[0]
ROWS = {call: here for here, call in re.findall(r"^\| .+ \| (\S+) +\| `(.+)` \|$", TABLE, re.MULTILINE)}


async def all_of(pages: Any) -> list[Any]:
    return [one async for one in pages]


async def create(groups: Groups) -> None:
    address = IpAddress(ports=[Port(port=80)], type="Public")
    body = group(container("true"), tags={"a": "b"}, ip_address=address)
    poller = await groups.sdk.begin_create_or_update("tests", "ops-create", body)
    created = await poller.result()
    assert (created.name, created.provisioning_state, created.tags) == ("ops-create", "Succeeded", {"a": "b"})


async def get(groups: Groups) -> None:
    name = await groups.create(group(container("true"), tags={"a": "b"}))
    seen = await groups.sdk.get("Tests", name)
    assert seen.id == (
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/tests/providers/Microsoft.ContainerInstance/containerGroups/{name}"
    )
    assert (seen.location, seen.os_type, seen.restart_policy, seen.sku) == ("westeurope", "Linux", "Never", "Standard")


async def update(groups: Groups) -> None:
    name = await groups.create(group(container("true"), tags={"a": "b"}))
    assert (await groups.sdk.update("tests", name, Resource(tags={"c": "d"}))).tags == {"c": "d"}
    assert (await groups.get(name)).tags == {"c": "d"}


async def delete(groups: Groups) -> None:
    name = await groups.create(group(container("exec sleep 600")))
    await (await groups.sdk.begin_delete("tests", name)).wait()
    assert name not in [one.name for one in await all_of(groups.sdk.list())]


async def list_all(groups: Groups) -> None:
    name = await groups.create(group(container("true")), resource_group="elsewhere")
    (seen,) = [one for one in await all_of(groups.sdk.list()) if one.name == name]
    assert seen.instance_view is None and seen.provisioning_state == "Succeeded"


async def list_some(groups: Groups) -> None:
    name = await groups.create(group(container("true")), resource_group="of-its-own")
    assert [one.name for one in await all_of(groups.sdk.list_by_resource_group("of-its-own"))] == [name]


async def start(groups: Groups) -> None:
    name = await groups.run("echo ran")
    await (await groups.sdk.begin_start("tests", name)).wait()
    assert await groups.ended(name) == "Succeeded"
    await groups.sdk.stop("tests", name)
    assert await groups.state(name) == "Stopped"
    await (await groups.sdk.begin_start("tests", name)).wait()
    assert await groups.ended(name) == "Succeeded"


async def stop(groups: Groups) -> None:
    name = await groups.create(group(container("exec sleep 600")))
    await groups.sdk.stop("tests", name)
    await groups.sdk.stop("tests", name)
    assert await groups.state(name) == "Stopped"
    await groups.delete(name)


async def restart(groups: Groups) -> None:
    name = await groups.run("echo ran")
    before = (await groups.last(name)).start_time
    await (await groups.sdk.begin_restart("tests", name)).wait()
    await groups.ended(name)
    after = (await groups.last(name)).start_time
    assert before and after and after > before


async def logs(groups: Groups) -> None:
    name = await groups.run("echo one")
    assert (await groups.client.containers.list_logs("tests", name, "main")).content == "one\n"
    with pytest.raises(HttpResponseError, match="ResourceNotFound"):
        await groups.client.containers.list_logs("tests", name, "other")


async def usage(groups: Groups) -> None:
    (before,) = await all_of(groups.client.location.list_usage("westeurope"))
    await groups.create(group(container("true")))
    (after,) = await all_of(groups.client.location.list_usage("westeurope"))
    assert after.current_value == before.current_value + 1 and after.name.value == "ContainerGroups"


async def create_share(groups: Groups) -> None:
    await groups.share("made", share_quota=3, metadata={"owner": "one"})
    seen = (await groups.storage.file_shares.get("tests", "files", "made")).file_share_properties
    assert (seen.share_quota, seen.metadata) == (3, {"owner": "one"})


async def get_share(groups: Groups) -> None:
    await groups.share("got")
    seen = await groups.storage.file_shares.get("tests", "files", "got")
    assert (seen.name, seen.file_share_properties.share_quota) == ("got", 5120)
    assert seen.id == (
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/tests/providers/Microsoft.Storage/storageAccounts/files"
        "/fileServices/default/shares/got"
    )


async def list_shares(groups: Groups) -> None:
    await groups.share("listed", metadata={"owner": "one"})
    (seen,) = [one async for one in groups.storage.file_shares.list("tests", "files") if one.name == "listed"]
    assert seen.properties.metadata == {"owner": "one"} and seen.properties.last_modified_time and seen.etag


async def delete_share(groups: Groups) -> None:
    await groups.share("gone")
    await groups.storage.file_shares.delete("tests", "files", "gone")
    await groups.storage.file_shares.delete("tests", "files", "gone")
    with pytest.raises(ResourceNotFoundError):
        await groups.storage.file_shares.get("tests", "files", "gone")


async def list_keys(groups: Groups) -> None:
    first, second = [await groups.storage.storage_accounts.list_keys("tests", name) for name in ("files", "others")]
    assert [one.key_name for one in first.keys_property] == ["key1", "key2"]
    assert len({one.value for one in (*first.keys_property, *second.keys_property)}) == 4
    assert first == await groups.storage.storage_accounts.list_keys("tests", "files")


COMMAND = ContainerExecRequest(command="/bin/sh", terminal_size=ContainerExecRequestTerminalSize(rows=24, cols=80))

CALLS: dict[str, Callable[[Groups], Awaitable[Any]]] = {
    "container_groups.begin_create_or_update": create,
    "container_groups.get": get,
    "container_groups.update": update,
    "container_groups.begin_delete": delete,
    "container_groups.list": list_all,
    "container_groups.list_by_resource_group": list_some,
    "container_groups.begin_start": start,
    "container_groups.stop": stop,
    "container_groups.begin_restart": restart,
    "container_groups.get_outbound_network_dependencies_endpoints": lambda groups: (
        groups.sdk.get_outbound_network_dependencies_endpoints("tests", "any")
    ),
    "containers.list_logs": logs,
    "containers.execute_command": lambda groups: groups.client.containers.execute_command(
        "tests", "any", "main", COMMAND
    ),
    "containers.attach": lambda groups: groups.client.containers.attach("tests", "any", "main"),
    "location.list_usage": usage,
    "location.list_cached_images": lambda groups: all_of(groups.client.location.list_cached_images("westeurope")),
    "location.list_capabilities": lambda groups: all_of(groups.client.location.list_capabilities("westeurope")),
    "operations.list": lambda groups: all_of(groups.client.operations.list()),
    "subnet_service_association_link.begin_delete": lambda groups: (
        groups.client.subnet_service_association_link.begin_delete("tests", "network", "subnet")
    ),
    "storage.file_shares.create": create_share,
    "storage.file_shares.get": get_share,
    "storage.file_shares.list": list_shares,
    "storage.file_shares.delete": delete_share,
    "storage.storage_accounts.list_keys": list_keys,
}


@pytest.mark.parametrize("call", [call for call, here in ROWS.items() if here == "supported"])
async def test_is_supported(groups: Groups, call: str):
    await CALLS[call](groups)


@pytest.mark.parametrize("call", [call for call, here in ROWS.items() if here == "501"])
async def test_is_answered_with_501(groups: Groups, call: str):
    with pytest.raises(HttpResponseError) as refused:
        await CALLS[call](groups)
    assert refused.value.status_code == 501 and refused.value.error and refused.value.error.code == "NotImplemented"


def test_every_operation_of_the_sdk_has_a_row(groups: Groups):
    operations = {
        f"{name}.{operation}"
        for name, part in vars(groups.client).items()
        if hasattr(part, "models")
        for operation, _ in inspect.getmembers(part, inspect.ismethod)
        if not operation.startswith("_")
    }
    assert operations == {call for call in ROWS if not call.startswith("storage.")}
    assert CALLS.keys() == ROWS.keys()


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer another", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xfc"])
@pytest.mark.parametrize("path", ["/subscriptions/s/providers/Microsoft.ContainerInstance/containerGroups",
                                  "/local/limits", "/unknown"])  # fmt: skip
async def test_a_request_without_the_token_is_refused(groups: Groups, path: str, given: str):
    async with groups.http.put(path, json={"groups": 0}, headers={"Authorization": given}) as answer:
        assert answer.status == 401
        assert (await answer.json())["error"]["code"] == "AuthenticationFailed"


async def test_the_token_is_in_no_command_line_and_not_inherited(groups: Groups):
    name = await groups.create(group(container("sleep 600")))
    folder = Path("/proc")
    shown = [one.read_bytes() for one in folder.glob("[0-9]*/cmdline") if one.exists()]
    assert not any(TOKEN.encode() in line for line in shown)
    inherited = [each for each in await processes("sleep 600") if TOKEN.encode() in (each / "environ").read_bytes()]
    assert inherited == []
    await groups.delete(name)


async def test_any_other_operation_is_a_501_and_is_logged(groups: Groups, emulator: Any):
    path = "/subscriptions/s/resourceGroups/r/providers/Microsoft.Compute/virtualMachines/one"
    status, error = await groups.call("PUT", path, {})
    assert (status, error["error"]["code"]) == (501, "NotImplemented")
    assert f"501 PUT {path}" in emulator.log.read_text()
