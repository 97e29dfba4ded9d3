"""Container groups from specification to removal, against the local Container Instances."""

import dataclasses
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from infra.emulator.processes import free_ports
from infra.local.environment import Environment
from shared import containers, shares
from shared.container_groups import (
    ContainerPhase,
    ContainerSpec,
    GroupSpec,
    GroupStatus,
    RegistryLogin,
    SecretMount,
    ShareMount,
)
from shared.container_models import group_of
from shared.settings import settings
from shared.tables.ids import new_id
from tests.support.environments import connected
from tests.support.groups import authorization
from tests.support.waiting import eventually

RUNNING, TERMINATED = ContainerPhase.RUNNING, ContainerPhase.TERMINATED
SUBSCRIPTION = "/subscriptions/00000000-0000-0000-0000-000000000000"
RESOURCES = f"{SUBSCRIPTION}/resourceGroups/runyard/providers"
IDENTITY = f"{RESOURCES}/Microsoft.ManagedIdentity/userAssignedIdentities/pull"


@pytest.fixture(scope="module", autouse=True)
async def app(stack: Environment) -> AsyncIterator[None]:
    """This process creates its groups where the running app does."""
    async with connected(**stack.app_settings):
        yield


@pytest.fixture
async def name() -> AsyncIterator[str]:
    """The name of a group that is removed after the test."""
    name = f"test-{new_id()}"
    yield name
    await containers.remove(name)


@pytest.fixture
async def arm(stack: Environment) -> AsyncIterator[httpx.AsyncClient]:
    """The management API itself."""
    url = stack.app_settings["RUNYARD_ARM_ENDPOINT"]
    version, headers = {"api-version": "2023-05-01"}, authorization(stack)
    async with httpx.AsyncClient(base_url=url, params=version, headers=headers, trust_env=False) as client:
        yield client


@pytest.fixture
async def share(arm: httpx.AsyncClient) -> ShareMount:
    """A file share of the account `files`."""
    account = f"{RESOURCES}/Microsoft.Storage/storageAccounts/files"
    assert (await arm.put(f"{account}/fileServices/default/shares/work", json={})).status_code in (200, 201)
    key = (await arm.post(f"{account}/listKeys")).json()["keys"][0]["value"]
    return ShareMount("work", "files", key, "/work")


async def shown(arm: httpx.AsyncClient, name: str) -> dict[str, Any]:
    """A group as the management API shows it."""
    answer = await arm.get(f"{RESOURCES}/Microsoft.ContainerInstance/containerGroups/{name}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def reach(name: str, state: str) -> GroupStatus:
    """The group once it is in this state."""

    async def look() -> GroupStatus:
        group = await containers.state(name)
        assert group is not None
        return group

    return await eventually(look, until=lambda group: group.state == state)


def shell(command: str, name: str = "main", **more: Any) -> ContainerSpec:
    return ContainerSpec(name, settings().runner_image, ["sh", "-c", command], **more)


class TestCreate:
    async def test_a_group_of_two_containers_with_every_option(
        self, arm: httpx.AsyncClient, name: str, share: ShareMount
    ):
        web = shell(
            'printf "%s %s" "$PLAIN" "$SECRET" > work/said; exec sleep 600',
            "web",
            environment={"PLAIN": "visible"},
            secrets={"SECRET": "hidden-value"},
            cpu=0.5,
            memory_gb=0.5,
            ports=[8443, 8080],
            mounts=[share],
        )
        reader = shell(
            "until test -s work/said; do sleep 0.05; done; cat work/said; exec sleep 600",
            "reader",
            mounts=[dataclasses.replace(share, read_only=True)],
        )
        spec = GroupSpec(
            name=name,
            containers=[web, reader],
            restart_policy="Always",
            public_ports=[8443],
            dns_label=name,
            registries=[
                RegistryLogin("private.azurecr.io", IDENTITY),
                RegistryLogin("other.example.com", user="me", password="hidden-password"),
            ],
            tags={"owner": "tests"},
        )
        assert "hidden" not in repr(spec)
        await containers.create(spec)
        group = await reach(name, "Running")
        assert (group.provisioning, group.ended, group.failure) == ("Succeeded", False, "")
        assert group.ip and group.ip.startswith("127.") and group.fqdn == f"{name}.westeurope.azurecontainer.io"
        assert {key: (each.phase, each.exit_code, each.restarts) for key, each in group.containers.items()} == {
            "web": (RUNNING, None, 0),
            "reader": (RUNNING, None, 0),
        }
        found = await shown(arm, name)
        assert "hidden" not in json.dumps(found)
        assert found["tags"] == {"owner": "tests"}
        assert found["identity"] == {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}}
        properties = found["properties"]
        assert (properties["osType"], properties["restartPolicy"]) == ("Linux", "Always")
        assert properties["ipAddress"]["type"] == "Public"
        assert properties["ipAddress"]["ports"] == [{"port": 8443, "protocol": "TCP"}]
        assert properties["imageRegistryCredentials"] == [
            {"server": "private.azurecr.io", "identity": IDENTITY},
            {"server": "other.example.com", "username": "me"},
        ]
        assert properties["volumes"] == [
            {"name": f"share-{number}", "azureFile": {"shareName": share.share, "storageAccountName": "files", **mode}}
            for number, mode in enumerate([{"readOnly": False}, {"readOnly": True}])
        ]
        first, second = (container["properties"] for container in properties["containers"])
        assert first["environmentVariables"] == [{"name": "PLAIN", "value": "visible"}, {"name": "SECRET"}]
        assert first["resources"] == {"requests": {"cpu": 0.5, "memoryInGB": 0.5}}
        assert first["ports"] == [{"port": 8443, "protocol": "TCP"}, {"port": 8080, "protocol": "TCP"}]
        assert second["volumeMounts"] == [{"name": "share-1", "mountPath": "/work", "readOnly": True}]

        async def log() -> str:
            path = f"{RESOURCES}/Microsoft.ContainerInstance/containerGroups/{name}/containers/reader/logs"
            return (await arm.get(path)).json()["content"]

        assert await eventually(log) == "visible hidden-value"

    async def test_a_group_of_one_container_without_a_public_address(self, arm: httpx.AsyncClient, name: str):
        await containers.create(GroupSpec(name, [shell("exit 7")]))
        group = await reach(name, "Failed")
        assert group.ended
        assert (group.provisioning, group.ip, group.fqdn, group.failure) == ("Succeeded", None, None, "")
        assert (group.containers["main"].phase, group.containers["main"].exit_code) == (TERMINATED, 7)
        properties = (await shown(arm, name))["properties"]
        assert properties["restartPolicy"] == "Never"
        assert not {"ipAddress", "volumes", "imageRegistryCredentials"} & set(properties)

    async def test_a_restarted_container_shows_its_last_exit(self, name: str):
        await containers.create(GroupSpec(name, [shell("exit 3")], restart_policy="OnFailure"))

        async def look() -> GroupStatus | None:
            return await containers.state(name)

        group = await eventually(look, until=lambda group: group and group.containers["main"].restarts > 0)
        assert group
        assert group.containers["main"].exit_code == 3

    async def test_a_permanent_refusal_is_raised_with_the_message_of_the_service(self, name: str):
        spec = GroupSpec(name, [ContainerSpec("main", "no/image:1")])
        with pytest.raises(containers.ContainerRefused) as refused:
            await containers.create(spec)
        assert str(refused.value) == (
            f"The image 'no/image:1' in container group '{name}' is not accessible. "
            "Please check the image and registry credential."
        )
        assert await containers.state(name) is None

    @pytest.mark.parametrize(
        ("limit", "message", "retry_after"),
        [
            ({"full_locations": ["westeurope"]}, "is not available in the location 'westeurope' at this moment", 0),
            ({"groups": 0}, "quota 'ContainerGroups' exceeded", 0),
            ({"cores": 0.5}, "quota 'StandardCores' exceeded", 0),
            ({"creates": 0, "window": 77}, "The limit of 0 container group creations in 77 seconds", 77),
        ],
    )
    async def test_a_full_region_is_busy_at_once_in_the_words_of_the_service(
        self, arm: httpx.AsyncClient, name: str, limit: dict[str, Any], message: str, retry_after: float
    ):
        before = (await arm.put("/local/limits", json={})).json()
        await arm.put("/local/limits", json=limit)
        try:
            with pytest.raises(containers.ContainersBusy, match=message) as raised:
                await containers.create(GroupSpec(name, [shell("true")]))
        finally:
            await arm.put("/local/limits", json=before)
        assert raised.value.retry_after == retry_after

    async def test_a_service_that_does_not_answer_is_busy(self, name: str):
        async with connected(RUNYARD_ARM_ENDPOINT=f"http://127.0.0.1:{free_ports(1)[0]}"):
            with pytest.raises(containers.ContainersUnavailable, match="does not answer: ServiceRequestError"):
                await containers.create(GroupSpec(name, [shell("true")]))

    @pytest.mark.parametrize(("asked", "calls", "retry_after"), [("3000", 1, 300.0), ("0", 3, 0.0)])
    async def test_a_call_repeats_itself_twice_but_waits_for_no_long_pause(
        self, asked: str, calls: int, retry_after: float
    ):
        made: list[str] = []

        async def refuse(request: web.Request) -> web.Response:
            made.append(request.path)
            return web.json_response({}, status=429, headers={"Retry-After": asked})

        served = web.Application()
        served.router.add_route("*", "/{path:.*}", refuse)
        async with TestServer(served) as server, connected(RUNYARD_ARM_ENDPOINT=str(server.make_url(""))):
            with pytest.raises(containers.ContainersBusy) as raised:
                await containers.state("some")
        assert (len(made), raised.value.retry_after) == (calls, retry_after)

    @pytest.mark.parametrize("missing", ["ResourceGroupNotFound", "SubscriptionNotFound"])
    async def test_a_missing_resource_group_does_not_mean_that_its_resources_were_deleted(self, missing: str):
        async def refuse(request: web.Request) -> web.Response:
            return web.json_response({"error": {"code": missing, "message": "could not be found"}}, status=404)

        served = web.Application()
        served.router.add_route("*", "/{path:.*}", refuse)
        async with TestServer(served) as server, connected(RUNYARD_ARM_ENDPOINT=str(server.make_url(""))):
            for call in (
                containers.state("some"), containers.remove("some"), shares.metadata("account", "some"),
                shares.delete("account", "some"),
            ):  # fmt: skip
                with pytest.raises(containers.ContainersUnavailable, match="could not be found"):
                    await call

    async def test_a_group_may_be_in_another_region_and_have_small_secret_files(
        self, arm: httpx.AsyncClient, name: str
    ):
        files = SecretMount("settings", "/etc/settings", {"a.conf": "hidden = 1\n"})
        reading = shell("cat etc/settings/a.conf; exec sleep 600", secret_files=[files])
        assert "hidden" not in repr(files)
        await containers.create(GroupSpec(name, [reading], location="eastus"))
        await reach(name, "Running")
        group = await shown(arm, name)
        assert group["location"] == "eastus"
        assert (group["properties"]["volumes"], "hidden" in str(group)) == ([{"name": "settings", "secret": {}}], False)
        logs = f"{RESOURCES}/Microsoft.ContainerInstance/containerGroups/{name}/containers/main/logs"

        async def printed() -> str:
            return (await arm.get(logs)).json()["content"]

        assert await eventually(printed) == "hidden = 1\n"

    async def test_a_missing_share_is_the_reason_of_the_failure(self, name: str):
        missing = ShareMount("missing", "files", "hidden-key", "/work")
        await containers.create(GroupSpec(name, [shell("true", mounts=[missing])]))
        group = await reach(name, "Failed")
        assert group.ended
        assert (group.provisioning, group.containers["main"].phase) == ("Failed", ContainerPhase.WAITING)
        assert group.failure == "The share 'missing' of the storage account 'files' does not exist."


class TestSpec:
    def test_a_dns_label_needs_a_public_port(self):
        with pytest.raises(ValueError, match="needs a public port"):
            GroupSpec("x", [], dns_label="x")

    @pytest.mark.parametrize("login", [{}, {"user": "me"}, {"identity": IDENTITY, "user": "me", "password": "x"}])
    def test_a_registry_needs_an_identity_or_a_user_and_a_password(self, login: dict[str, str]):
        with pytest.raises(ValueError, match="either an identity or a user"):
            RegistryLogin("private.azurecr.io", **login)

    def test_a_specification_cannot_be_changed(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            GroupSpec("x", []).name = "y"  # type: ignore[misc]


class TestLife:
    async def test_a_group_can_be_stopped_started_restarted_and_removed(self, name: str):
        await containers.create(GroupSpec(name, [shell("exec sleep 600")], restart_policy="Always"))
        await reach(name, "Running")
        await containers.stop(name)
        group = await reach(name, "Stopped")
        assert group.containers["main"].phase is TERMINATED
        await containers.start(name)
        assert (await reach(name, "Running")).containers["main"].phase is RUNNING
        await containers.restart(name)
        assert (await reach(name, "Running")).containers["main"].phase is RUNNING
        assert name in [found async for found, _ in containers.groups()]
        await containers.remove(name)
        await eventually(lambda: containers.state(name), until=lambda group: group is None)
        assert name not in [found async for found, _ in containers.groups()]
        await containers.remove(name)  # a repeat is no error

    @pytest.mark.parametrize("operation", [containers.start, containers.stop, containers.restart])
    async def test_an_operation_on_a_group_that_does_not_exist_is_refused(self, operation: Any):
        with pytest.raises(containers.ContainerRefused, match="was not found"):
            await operation("test-absent")


def test_a_group_in_a_subnet_names_it():
    subnet = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/code"
    found = [group_of(GroupSpec("x", [], subnet=named), "westeurope").subnet_ids for named in (subnet, None)]
    assert [each and each[0].id for each in found] == [subnet, None]
