"""Invalid requests, and many requests at once."""

import asyncio
import copy
import time
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.mgmt.containerinstance.models import IpAddress, Port

from tests.infra.emulator.containers.harness import SUBSCRIPTION, EmulatorProcess, Groups, container, eventually, group

PROVIDER = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/tests/providers/Microsoft.ContainerInstance"
RESOURCES = {"requests": {"cpu": 1, "memoryInGB": 0.5}}
GOOD: dict[str, Any] = {
    "location": "westeurope",
    "properties": {
        "osType": "Linux",
        "restartPolicy": "Never",
        "containers": [{"name": "main", "properties": {"image": "test/shell:1", "resources": RESOURCES}}],
    },
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The valid body with one value changed; `path` is a dotted path of keys and indexes."""
    body = copy.deepcopy(GOOD)
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    here: Any = body
    for step in way:
        here = here[step]
    here[last] = value
    return body


MAIN = "properties.containers.0.properties"
REFUSED = {
    "no location": ("location", None, 400, "LocationRequired"),
    "no properties": ("properties", None, 400, "InvalidRequestContent"),
    "no containers": ("properties.containers", [], 400, "MissingContainers"),
    "containers that are none": ("properties.containers", ["main"], 400, "InvalidRequestContent"),
    "a container's name": ("properties.containers.0.name", "Main_1", 400, "InvalidContainerName"),
    "a policy": ("properties.restartPolicy", "Sometimes", 400, "InvalidRestartPolicy"),
    "no image": (f"{MAIN}.image", "", 400, "InvalidImage"),
    "an unknown image": (f"{MAIN}.image", "nobody/nothing:9", 400, "InaccessibleImage"),
    "no resources": (f"{MAIN}.resources", None, 400, "InvalidResourceRequest"),
    "no memory": (f"{MAIN}.resources", {"requests": {"cpu": 1}}, 400, "InvalidResourceRequest"),
    "a variable": (f"{MAIN}.environmentVariables", [{"name": "A=B", "value": "1"}], 400, "InvalidEnvironmentVariable"),
    "a variable that no shell accepts": (
        f"{MAIN}.environmentVariables",
        [{"name": "A-B", "value": "1"}],
        400,
        "InvalidEnvironmentVariable",
    ),
    "a null in a variable": (
        f"{MAIN}.environmentVariables",
        [{"name": "A", "value": "\0"}],
        400,
        "InvalidEnvironmentVariable",
    ),
    "an unknown volume": (f"{MAIN}.volumeMounts", [{"name": "x", "mountPath": "/x"}], 400, "VolumeNotFound"),
    "a volume of two kinds": (
        "properties.volumes",
        [{"name": "x", "secret": {}, "emptyDir": {}}],
        400,
        "InvalidVolume",
    ),
    "a volume's name": ("properties.volumes", [{"name": "../x", "emptyDir": {}}], 400, "InvalidVolume"),
    "Windows": ("properties.osType", "Windows", 501, "NotImplemented"),
    "a probe": (f"{MAIN}.livenessProbe", {"httpGet": {"port": 80}}, 501, "NotImplemented"),
    "a subnet": ("properties.subnetIds", [{"id": "x"}], 501, "NotImplemented"),
    "a GPU": (
        f"{MAIN}.resources",
        {"requests": {"cpu": 1, "memoryInGB": 1, "gpu": {"count": 1, "sku": "V100"}}},
        501,
        "NotImplemented",
    ),
}


class TestRefused:
    @pytest.mark.parametrize("why", REFUSED)
    async def test_a_body_with(self, groups: Groups, why: str):
        path, value, status, code = REFUSED[why]
        body = changed(path, value)
        answer, error = await groups.call("PUT", f"{PROVIDER}/containerGroups/refused", body)
        assert (answer, error["error"]["code"]) == (status, code)
        assert error["error"]["message"]
        assert (await groups.call("GET", f"{PROVIDER}/containerGroups/refused"))[0] == 404

    async def test_a_mount_path_that_leaves_the_root(self, groups: Groups):
        body = changed("properties.volumes", [{"name": "x", "emptyDir": {}}])
        mount = {"name": "x", "mountPath": "/../../tmp"}
        body["properties"]["containers"][0]["properties"]["volumeMounts"] = [mount]
        answer, error = await groups.call("PUT", f"{PROVIDER}/containerGroups/refused", body)
        assert (answer, error["error"]["code"]) == (400, "InvalidMountPath")

    @pytest.mark.parametrize("name", ["Upper", "under_score", "-dash", "a" * 64])
    async def test_an_invalid_name(self, groups: Groups, name: str):
        answer, error = await groups.call("PUT", f"{PROVIDER}/containerGroups/{name}", GOOD)
        assert (answer, error["error"]["code"]) == (400, "InvalidContainerGroupName")

    async def test_two_containers_of_one_name_or_port(self, groups: Groups):
        body = changed("properties.containers", GOOD["properties"]["containers"] * 2)
        assert (await groups.call("PUT", f"{PROVIDER}/containerGroups/refused", body))[0] == 400
        first, second = map(copy.deepcopy, body["properties"]["containers"])
        second["name"] = "other"
        first["properties"]["ports"] = second["properties"]["ports"] = [{"port": 80}]
        body["properties"]["containers"] = [first, second]
        answer, error = await groups.call("PUT", f"{PROVIDER}/containerGroups/refused", body)
        assert (answer, error["error"]["code"]) == (400, "DuplicateContainerPorts")

    async def test_a_body_that_is_not_json(self, groups: Groups):
        url = f"{PROVIDER}/containerGroups/refused?api-version=2023-05-01"
        async with groups.http.put(url, data=b"{") as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (400, "InvalidRequestContent")

    async def test_a_request_without_an_api_version(self, groups: Groups):
        async with groups.http.get(f"{PROVIDER}/containerGroups") as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (400, "MissingApiVersionParameter")


class TestRoom:
    @pytest.fixture(autouse=True)
    async def as_before(self, groups: Groups):
        yield
        await groups.call("PUT", "/local/limits", {"groups": 1000, "full_locations": []})

    async def test_a_full_region(self, groups: Groups):
        await groups.call("PUT", "/local/limits", {"full_locations": ["westeurope"]})
        with pytest.raises(ResourceExistsError, match="not available in the location 'westeurope'") as refused:
            await groups.create(group(container("true")))
        assert refused.value.status_code == 409 and refused.value.error
        assert refused.value.error.code == "ServiceUnavailable"

    async def test_an_exhausted_quota(self, groups: Groups):
        await groups.call("PUT", "/local/limits", {"groups": 0})
        with pytest.raises(ResourceExistsError, match="ContainerGroupQuotaReached"):
            await groups.create(group(container("true")))

    async def test_an_image_that_has_been_removed(self, own_emulator: EmulatorProcess):
        async with Groups(own_emulator.port) as groups:
            own_emulator.images.write_text("{}")
            with pytest.raises(HttpResponseError, match="InaccessibleImage"):
                await groups.create(group(container("true")))

    async def test_a_dns_name_label_that_is_taken(self, groups: Groups):
        address = IpAddress(ports=[Port(port=80)], type="Public", dns_name_label="only-one")
        name = await groups.create(group(container("true"), ip_address=address))
        with pytest.raises(HttpResponseError, match="DnsNameLabelNotAvailable"):
            await groups.create(group(container("true"), ip_address=address))
        await groups.delete(name)
        await groups.delete(await groups.create(group(container("true"), ip_address=address)))


class TestConflict:
    async def test_the_same_name_again_is_an_update(self, groups: Groups):
        name = await groups.create(group(container("echo one; sleep 600")))
        await groups.said(name, "one")
        await groups.create(group(container("echo two; sleep 600")), name, resource_group="TESTS")
        assert await groups.said(name, "two") == "two\n"
        await groups.delete(name)

    async def test_an_equal_update_changes_nothing(self, groups: Groups):
        body = group(container("echo one; sleep 600"))
        name = await groups.create(body)
        await groups.said(name, "one")
        started = (await groups.last(name)).start_time
        body.tags = {"new": "tag"}
        await groups.create(body, name)
        seen = await groups.get(name)
        assert seen.tags == {"new": "tag"} and (await groups.last(name)).start_time == started
        await groups.delete(name)

    async def test_some_things_cannot_be_updated(self, groups: Groups):
        name = await groups.create(group(container("sleep 600")))
        with pytest.raises(HttpResponseError, match="InvalidContainerGroupUpdate"):
            await groups.create(group(container("sleep 600"), policy="Always"), name)
        with pytest.raises(HttpResponseError, match="InvalidContainerGroupUpdate"):
            await groups.create(group(container("sleep 600", memory=2)), name)
        await groups.delete(name)

    async def test_a_group_that_is_changing_cannot_be_changed(self, groups: Groups):
        name = await groups.create(group(container("trap '' TERM; echo up; while :; do sleep 0.1; done")))
        await groups.said(name, "up")
        deletion = await groups.sdk.begin_delete("tests", name)
        assert (await groups.get(name)).provisioning_state == "Deleting"
        for change in (
            groups.create(group(container("true")), name),
            groups.sdk.begin_start("tests", name),
            groups.sdk.begin_restart("tests", name),
            groups.sdk.stop("tests", name),
        ):
            with pytest.raises(ResourceExistsError, match="ContainerGroupTransitioning"):
                await change
        await deletion.wait()

    async def test_a_second_deletion_succeeds_too(self, groups: Groups):
        name = await groups.create(group(container("trap '' TERM; echo up; while :; do sleep 0.1; done")))
        await groups.said(name, "up")
        await asyncio.gather(groups.delete(name), groups.delete(name))
        assert (await groups.call("GET", f"{PROVIDER}/containerGroups/{name}"))[0] == 404


class TestManyAtOnce:
    async def test_twenty_groups_are_accepted_and_run(self, own_emulator: EmulatorProcess):
        async with Groups(own_emulator.port) as groups:
            wanted = [f"crowd-{number}" for number in range(20)]
            body = group(container("echo here; exec sleep 600", memory=0.1))
            began = time.monotonic()
            await asyncio.gather(
                *(groups.sdk.begin_create_or_update("crowd", name, body, polling=False) for name in wanted)
            )
            accepted = time.monotonic() - began

            async def running() -> int:
                states = [one.provisioning_state async for one in groups.sdk.list_by_resource_group("crowd")]
                return sum(state == "Succeeded" for state in states)

            await eventually(running, lambda count: count == 20, 60)
            print(f"accepted in {accepted:.2f} s, running in {time.monotonic() - began:.2f} s")
            looks: list[float] = []
            for name in wanted:
                began = time.monotonic()
                view = (await groups.get(name, "crowd")).instance_view
                looks.append(time.monotonic() - began)
                assert view and view.state == "Running"
            print(f"a get takes {sorted(looks)[10] * 1000:.1f} ms")
            assert accepted < 10  # the requests are answered before the containers have started
            assert sorted(looks)[10] < 0.2
