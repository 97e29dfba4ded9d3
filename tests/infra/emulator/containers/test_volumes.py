"""Volumes of container groups, and file shares."""

import pytest
from azure.core.exceptions import HttpResponseError
from azure.mgmt.containerinstance.models import AzureFileVolume, GitRepoVolume, Volume, VolumeMount

from tests.infra.emulator.containers.harness import SUBSCRIPTION, EmulatorProcess, Groups, container, group, sandboxed

ACCOUNT = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/tests/providers/Microsoft.Storage/storageAccounts/files"
SHARES = f"{ACCOUNT}/fileServices/default/shares"

# Paths are relative, because without a sandbox volumes are in the working directory of the command.


def mounted(command: str, volume: Volume, *, read_only: bool = False, name: str = "main"):
    return container(
        command, name=name, volume_mounts=[VolumeMount(name=volume.name, mount_path="/mnt/it", read_only=read_only)]
    )


class TestEmptyDir:
    async def test_the_containers_of_a_group_share_it(self, groups: Groups):
        volume = Volume(name="scratch", empty_dir={})
        write = mounted("echo shared > mnt/it/file", volume, name="writer")
        read = mounted("until test -s mnt/it/file; do sleep 0.02; done; cat mnt/it/file", volume, name="reader")
        name = await groups.create(group(read, write, volumes=[volume]))
        await groups.ended(name)
        assert await groups.logs(name, "reader") == "shared\n"


class TestSecret:
    async def test_its_files_can_be_read_but_are_not_in_answers(self, groups: Groups):
        volume = Volume(name="keys", secret={"token": "aGlkZGVu"})
        name = await groups.create(group(mounted("cat mnt/it/token", volume), volumes=[volume]))
        await groups.ended(name)
        assert await groups.logs(name) == "hidden"
        assert (await groups.get(name)).as_dict()["volumes"] == [{"name": "keys", "secret": {}}]

    @pytest.mark.parametrize("secret", [{"../token": "aGlkZGVu"}, {"token": "no base64!"}])
    async def test_an_invalid_name_or_value_is_an_error(self, groups: Groups, secret: dict[str, str]):
        with pytest.raises(HttpResponseError, match="InvalidSecret"):
            await groups.create(group(container("true"), volumes=[Volume(name="keys", secret=secret)]))


class TestAzureFile:
    async def test_a_share_outlives_the_groups_that_use_it(self, groups: Groups, emulator: EmulatorProcess):
        await groups.call("PUT", f"{SHARES}/kept", {"properties": {"shareQuota": 1}})
        share = AzureFileVolume(share_name="kept", storage_account_name="files", storage_account_key="hidden-key")
        volume = Volume(name="work", azure_file=share)
        first = await groups.create(group(mounted("echo data > mnt/it/file", volume), volumes=[volume]))
        await groups.ended(first)
        shown = (await groups.get(first)).as_dict()["volumes"]
        assert shown == [{"name": "work", "azure_file": {"share_name": "kept", "storage_account_name": "files"}}]
        await groups.delete(first)
        second = await groups.create(group(mounted("cat mnt/it/file", volume), volumes=[volume]))
        await groups.ended(second)
        assert await groups.logs(second) == "data\n"
        assert (emulator.state / "shares/files/kept/file").read_text() == "data\n"

    @sandboxed
    async def test_read_only_is_kept(self, groups: Groups):
        await groups.call("PUT", f"{SHARES}/fixed", {})
        volume = Volume(name="work", azure_file=AzureFileVolume(share_name="fixed", storage_account_name="files"))
        name = await groups.create(group(mounted("touch mnt/it/file", volume, read_only=True), volumes=[volume]))
        assert await groups.ended(name) == "Failed"
        assert "Read-only file system" in await groups.logs(name)

    async def test_a_missing_share_fails_the_deployment(self, groups: Groups):
        volume = Volume(name="work", azure_file=AzureFileVolume(share_name="missing", storage_account_name="files"))
        with pytest.raises(HttpResponseError, match="The share 'missing'"):
            await groups.create(group(mounted("true", volume), volumes=[volume]), "without-share")
        seen = (await groups.get("without-share")).as_dict()
        assert (seen["provisioning_state"], seen["instance_view"]["state"]) == ("Failed", "Failed")
        assert [one["name"] for one in seen["instance_view"]["events"]] == ["Failed"]
        await groups.call("PUT", f"{SHARES}/missing", {})
        await groups.create(group(mounted("true", volume), volumes=[volume]), "without-share")
        assert await groups.ended("without-share") == "Succeeded"
        await groups.delete("without-share")


async def test_a_git_repository_is_not_supported(groups: Groups):
    volume = Volume(name="code", git_repo=GitRepoVolume(repository="https://example.com/code.git"))
    with pytest.raises(HttpResponseError, match="NotImplemented") as refused:
        await groups.create(group(container("true"), volumes=[volume]))
    assert refused.value.status_code == 501


class TestShares:
    async def test_from_its_creation_to_its_deletion(self, groups: Groups):
        status, share = await groups.call("PUT", f"{SHARES}/one", {"properties": {"shareQuota": 7}})
        assert (status, share["name"], share["properties"]) == (201, "one", {"shareQuota": 7})
        assert share["id"] == f"{SHARES}/one"
        assert (await groups.call("PUT", f"{SHARES}/one", {"properties": {"shareQuota": 8}}))[0] == 200
        assert (await groups.call("GET", f"{SHARES}/one"))[1]["properties"] == {"shareQuota": 8}
        assert "one" in [one["name"] for one in (await groups.call("GET", SHARES))[1]["value"]]
        assert (await groups.call("DELETE", f"{SHARES}/one"))[0] == 200
        assert (await groups.call("DELETE", f"{SHARES}/one"))[0] == 204
        status, error = await groups.call("GET", f"{SHARES}/one")
        assert (status, error["error"]["code"]) == (404, "ResourceNotFound")

    @pytest.mark.parametrize("name", ["Upper", "a..b", "a"])
    async def test_invalid_names_are_errors(self, groups: Groups, name: str):
        status, error = await groups.call("PUT", f"{SHARES}/{name}", {})
        assert (status, error["error"]["code"]) == (400, "InvalidResourceName")
