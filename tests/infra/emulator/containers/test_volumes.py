"""Volumes of container groups, and file shares."""

from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.mgmt.containerinstance.models import GitRepoVolume, Volume, VolumeMount

from tests.infra.emulator.containers.harness import EmulatorProcess, Groups, container, group, sandboxed

# Paths are relative, because without a sandbox volumes are in the working directory of the command.


def mounted(command: str, volume: Volume, *, read_only: bool = False, **more: Any):
    return container(
        command, volume_mounts=[VolumeMount(name=volume.name, mount_path="/mnt/it", read_only=read_only)], **more
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
        volume = Volume(name="work", azure_file=await groups.share("kept"))
        first = await groups.create(group(mounted("echo data > mnt/it/file", volume), volumes=[volume]))
        await groups.ended(first)
        shown = (await groups.get(first)).as_dict()["volumes"]
        assert shown == [{"name": "work", "azure_file": {"share_name": "kept", "storage_account_name": "files"}}]
        await groups.delete(first)
        second = await groups.create(group(mounted("cat mnt/it/file", volume), volumes=[volume]))
        await groups.ended(second)
        assert await groups.logs(second) == "data\n"
        assert (emulator.state / "shares/files/kept/file").read_text() == "data\n"

    async def test_its_files_and_the_secure_values_survive_stop_start_and_restart(self, groups: Groups):
        volume = Volume(name="work", azure_file=await groups.share("lasting"))
        append = mounted("echo $SECRET >> mnt/it/file; cat mnt/it/file; exec sleep 600", volume, secure={"SECRET": "x"})
        name = await groups.create(group(append, volumes=[volume]))
        assert await groups.said(name, "x") == "x\n"
        await groups.sdk.stop("tests", name)
        await (await groups.sdk.begin_start("tests", name)).wait()
        assert await groups.said(name, "x\nx") == "x\nx\n"
        await (await groups.sdk.begin_restart("tests", name)).wait()
        assert await groups.said(name, "x\nx\nx") == "x\nx\nx\n"
        await groups.delete(name)

    @sandboxed
    async def test_read_only_is_kept(self, groups: Groups):
        volume = Volume(name="work", azure_file=await groups.share("fixed"))
        name = await groups.create(group(mounted("touch mnt/it/file", volume, read_only=True), volumes=[volume]))
        assert await groups.ended(name) == "Failed"
        assert "Read-only file system" in await groups.logs(name)

    async def test_a_missing_share_fails_the_deployment(self, groups: Groups):
        share = await groups.share("missing")
        await groups.storage.file_shares.delete("tests", "files", "missing")
        volume = Volume(name="work", azure_file=share)
        with pytest.raises(HttpResponseError, match="The share 'missing'"):
            await groups.create(group(mounted("true", volume), volumes=[volume]), "without-share")
        seen = (await groups.get("without-share")).as_dict()
        assert (seen["provisioning_state"], seen["instance_view"]["state"]) == ("Failed", "Failed")
        assert [one["name"] for one in seen["instance_view"]["events"]] == ["Failed"]
        await groups.share("missing")
        await groups.create(group(mounted("true", volume), volumes=[volume]), "without-share")
        assert await groups.ended("without-share") == "Succeeded"
        await groups.delete("without-share")

    @pytest.mark.parametrize("wrong", [None, "", "bm90IHRoZSBrZXk=", "größer", "of-another"])
    async def test_a_wrong_key_fails_the_deployment(self, groups: Groups, wrong: str | None):
        share = await groups.share("locked")
        share.storage_account_key = (
            (await groups.share("locked", "others")).storage_account_key if wrong == "of-another" else wrong
        )
        volume = Volume(name="work", azure_file=share)
        with pytest.raises(HttpResponseError, match="The key of the storage account 'files' is wrong"):
            await groups.create(group(mounted("true", volume), volumes=[volume]), "locked-out")
        await groups.delete("locked-out")


async def test_a_git_repository_is_not_supported(groups: Groups):
    volume = Volume(name="code", git_repo=GitRepoVolume(repository="https://example.com/code.git"))
    with pytest.raises(HttpResponseError, match="NotImplemented") as refused:
        await groups.create(group(container("true"), volumes=[volume]))
    assert refused.value.status_code == 501


class TestShares:
    async def test_a_change_keeps_what_it_does_not_name(self, groups: Groups):
        await groups.share("changed", share_quota=7)
        before = await groups.storage.file_shares.get("tests", "files", "changed")
        await groups.share("changed", metadata={"owner": "one"})
        after = await groups.storage.file_shares.get("tests", "files", "changed")
        assert after.file_share_properties.share_quota == 7 and after.file_share_properties.metadata == {"owner": "one"}
        assert after.etag != before.etag

    async def test_nothing_is_left_of_a_deleted_one(self, groups: Groups, emulator: EmulatorProcess):
        await groups.share("short")
        (emulator.state / "shares/files/short/file").write_text("data")
        await groups.storage.file_shares.delete("tests", "files", "short")
        assert not [one for one in (emulator.state / "shares/files").iterdir() if one.name.startswith("short")]

    @pytest.mark.parametrize(
        ("name", "properties", "code"),
        [
            ("Upper", {}, "InvalidResourceName"),
            ("two--hyphens", {}, "InvalidResourceName"),
            ("a", {}, "InvalidResourceName"),
            ("good", {"share_quota": 0}, "InvalidValue"),
            ("good", {"share_quota": 102_401}, "InvalidValue"),
            ("good", {"metadata": {"a-b": "c"}}, "InvalidMetadata"),
        ],
    )
    async def test_an_invalid_one_is_an_error(self, groups: Groups, name: str, properties: dict[str, Any], code: str):
        with pytest.raises(HttpResponseError) as refused:
            await groups.share(name, **properties)
        assert refused.value.status_code == 400 and refused.value.error and refused.value.error.code == code

    async def test_a_filter_of_the_list_is_not_supported(self, groups: Groups):
        with pytest.raises(HttpResponseError, match="NotImplemented"):
            [one async for one in groups.storage.file_shares.list("tests", "files", filter="startswith(name, a)")]

    async def test_an_account_without_a_valid_name_has_no_keys(self, groups: Groups):
        with pytest.raises(HttpResponseError, match="AccountNameInvalid"):
            await groups.storage.storage_accounts.list_keys("tests", "no_account")

    async def test_only_the_owner_can_read_what_the_keys_are_made_from(self, groups: Groups, emulator: EmulatorProcess):
        await groups.share("any")
        assert (emulator.state / "shares/secret").stat().st_mode & 0o777 == 0o600
