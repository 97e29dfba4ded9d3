"""The deployment fits the app: settings, hubs, image and roles."""

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from functions.anymind import tokens
from functions.gateway.updates import HUB as GATEWAY_HUB
from functions.stepflow.updates import HUB as STEPFLOW_HUB
from infra.emulator.processes import ROOT
from shared import deferred
from shared.http.api import Api
from shared.jobs import INPUTS
from shared.settings import Settings
from shared.sockets import SYSTEM_EVENTS
from shared.warm import HUB as WARM_HUB
from tests.infra.bicep import MAIN, Template, module_file, properties, string, text, values, walk

ROLES = {
    "acrPull": "7f951dda-4ed3-4680-a7ca-43fe172d538d",
    "containerInstancesContributor": "5d977122-f97e-4b4d-a52f-6b43003ddb4d",
    "keyVaultSecretsUser": "4633458b-17de-408a-b874-0445c86b69e6",
    "managedIdentityOperator": "f1a07417-d97a-45cb-824c-7a7467783830",
    "monitoringMetricsPublisher": "3913510d-42f4-4e42-8a64-420c390055eb",
    "storageAccountContributor": "17d1049b-9a84-46fb-8f53-869881c3d3ab",
    "storageBlobDataOwner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "storageQueueDataContributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "storageTableDataContributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
    "webPubSubServiceOwner": "12cf5a90-567b-43ae-8102-96cf46c7d9b4",
}
"""Azure's built-in roles."""

OF_THE_HOST = {
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__clientId",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT",
}
"""App settings that only the host reads."""

NOT_IN_AZURE = {"AzureWebJobsStorage", "WEBSITE_HOSTNAME", "RUNYARD_ARM_TOKEN"}
"""A connection string and a token, in whose place is the identity; and what the platform itself sets."""

REFUSED_BY_FLEX = re.compile("WEBSITE_|SCM_|ENABLE_ORYX|FUNCTIONS_(WORKER|EXTENSION)|PYTHON_ENABLE_INIT_INDEXING")
"""App settings that Flex Consumption refuses, ignores or does not need from Python 3.13 on."""


AZURE_YAML = (ROOT / "azure.yaml").read_text()


@pytest.fixture(scope="module")
def main() -> Template:
    """The main file, which uses all others."""
    return Template.read(MAIN)


@pytest.fixture(scope="module")
def app_settings(main: Template) -> dict[str, str]:
    """The app's settings as the deployment writes them: a parameter's default, the source of another expression."""
    union = main.modules["app"].arguments["appSettings"]
    settings = next(node for node in walk(union) if node.type == "object")
    defaults = {name: parameter.default for name, parameter in main.parameters.items() if parameter.default}

    def value(node: Any) -> str:
        node = defaults.get(text(node), node)
        return string(node) if node.type == "string" else text(node)

    return {name: value(node) for name, node in properties(settings).items()}


class TestAppSettings:
    def test_are_those_of_the_app_and_of_the_host(self, app_settings: dict[str, str]):
        fields = {str(field.alias) for field in Settings.model_fields.values()}
        assert set(app_settings) == (fields - NOT_IN_AZURE) | OF_THE_HOST

    def test_flex_consumption_accepts_all(self, app_settings: dict[str, str]):
        assert [name for name in app_settings if REFUSED_BY_FLEX.match(name)] == []

    def test_are_values_that_the_app_can_read(self, app_settings: dict[str, str]):
        settings = Settings.model_validate(app_settings)
        assert settings.account.key is None
        assert settings.stepflow_auth_enabled and settings.platform_cors
        assert settings.cors_origins == "*"

    def test_secrets_are_references(self, app_settings: dict[str, str]):
        vault = module_file("modules/vault.bicep")
        secrets = {str(field.alias) for field in Settings.model_fields.values() if not field.repr} - NOT_IN_AZURE
        for name in secrets:
            output = app_settings[name].removeprefix("vault.outputs.")
            assert "'@Microsoft.KeyVault(SecretUri=${" in text(vault.outputs[output])

    def test_an_empty_setting_has_the_effect_of_the_default(self, app_settings: dict[str, str]):
        # A host may drop empty values.
        for field in Settings.model_fields.values():
            if app_settings.get(str(field.alias)) == "":
                assert field.default == "", field.alias

    @pytest.mark.parametrize("deployed", [True, False])
    async def test_only_the_platform_answers_preflights(
        self, app_settings: dict[str, str], deployed: bool, monkeypatch: pytest.MonkeyPatch
    ):
        given = Settings.model_validate(app_settings if deployed else {})
        monkeypatch.setattr("shared.http.api.settings", lambda: given)
        api = Api("any", "Any", "1.0.0", [])
        async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://any.example") as client:
            answer = await client.get("/any", headers={"Origin": "http://localhost:3000"})
        assert answer.status_code == 404
        assert ("access-control-allow-origin" in answer.headers) != deployed


class TestRoles:
    def test_access_keys_are_disabled(self):
        closed = {
            "storage": {"allowSharedKeyAccess": "false", "allowBlobPublicAccess": "false"},
            "webpubsub": {"disableLocalAuth": "true"},
            "monitoring": {"DisableLocalAuth": "true"},
            "registry": {"adminUserEnabled": "false"},
            "vault": {"enableRbacAuthorization": "true"},
            "app": {"allow": "false", "httpsOnly": "true"},
        }
        for name, doors in closed.items():
            template = module_file(f"modules/{name}.bicep")
            assert {door: set(values(template, door)) for door in doors} == {k: {v} for k, v in doors.items()}

    def test_only_the_account_of_the_file_shares_has_keys(self):
        shares = module_file("modules/shares.bicep")
        assert values(shares, "allowSharedKeyAccess") == ["true"]
        assert values(shares, "allowBlobPublicAccess") == ["false"]
        access = module_file("modules/access.bicep").bodies("Microsoft.Authorization/roleAssignments@")
        [given] = [body for body in access.values() if "storageAccountContributor" in body]
        assert "scope: shares" in given

    def test_every_role_has_the_id_of_its_name_and_is_assigned(self):
        access = module_file("modules/access.bicep")
        assert {name: string(node) for name, node in properties(access.variables["roles"]).items()} == ROLES
        assert set(re.findall(r"\broles\.(\w+)", text(access.root))) == set(ROLES)

    def test_every_assignment_is_named_after_its_role(self):
        assignments = module_file("modules/access.bicep").bodies("Microsoft.Authorization/roleAssignments@")
        for symbol, body in assignments.items():
            scope = re.search(r"\bscope: (\w+)", body)
            parts = re.search(r"\bname: guid\(([\w.()]+)\.id, (\w+), ([\w.]+)\)", body)
            assert parts, symbol
            assert parts[1] == (scope[1] if scope else "resourceGroup()"), symbol
            assert f"principalId: {parts[2]}\n" in body, symbol
            given = re.search(r"'Microsoft.Authorization/roleDefinitions',\s+([\w.]+)\s*\)", body)
            assert given and given[1] == parts[3], symbol

    def test_containers_can_only_pull_their_image(self):
        assignments = module_file("modules/access.bicep").bodies("Microsoft.Authorization/roleAssignments@")
        given = [body for body in assignments.values() if "runnerPrincipalId" in body]
        assert len(given) == 1
        assert set(re.findall(r"roles\.\w+", given[0])) == {"roles.acrPull"}


class TestWebPubSub:
    def test_all_apis_are_served_and_have_the_hubs_they_publish_on(self, main: Template):
        default = main.parameters["apis"].default
        assert default and string(default) == Settings.model_validate({}).apis
        assert {GATEWAY_HUB, STEPFLOW_HUB} < set(string(default).split(","))

    def test_sends_its_events_to_the_route_of_the_app(self):
        hubs = module_file("modules/hubs.bicep")
        assert values(hubs, "urlTemplate") == ["'${appUrl}/realtime/{hub}/{event}?code=${uriComponent(eventsCode)}'"]
        assert values(hubs, "anonymousConnectPolicy") == [f"name == '{WARM_HUB}' ? 'deny' : 'allow'"]
        assert f"for name in union(hubs, ['{WARM_HUB}'])" in text(hubs.root)
        assert values(hubs, "userEventPattern") == ["'*'"]
        assert [re.findall(r"'(\w+)'", value) for value in values(hubs, "systemEvents")] == [list(SYSTEM_EVENTS)]


class TestStorage:
    def test_deletes_the_inputs_of_jobs_and_the_values_of_deferred_work(self):
        storage = module_file("modules/storage.bicep")
        assert values(storage, "prefixMatch") == [f"['{INPUTS}/']", f"['{deferred.CONTAINER}/']"]
        assert values(storage, "daysAfterModificationGreaterThan") == ["3", "30"]


class TestCodeNetwork:
    def test_has_a_way_out_to_what_the_runner_needs_and_no_other(self):
        network = module_file("modules/network.bicep")
        assert values(network, "natGateway") == ["{ id: gateway.id }"]
        assert values(network, "publicIpAddresses") == ["[{ id: outgoing.id }]"]
        assert values(network, "serviceEndpoints") == ["[{ service: 'Microsoft.Storage' }]"]
        reached = set(re.findall(r"'(\w+)'", text(network.variables["reached"])))
        pulled_from = {"AzureContainerRegistry", "AzureActiveDirectory"}
        assert reached == {"AppService", "Storage", "AzureWebPubSub", *pulled_from}
        assert values(network, "access") == ["'Allow'", "'Deny'"]


class TestAzd:
    def test_finds_the_app_by_its_tag(self):
        service = re.search(r"^services:\n  (\w+):", AZURE_YAML, re.MULTILINE)
        assert service and values(module_file("modules/app.bicep"), "azd-service-name") == [f"'{service[1]}'"]

    def test_hooks_read_existing_outputs(self, main: Template):
        read = set(re.findall(r"\$\{?(?:env:)?([A-Z][A-Z0-9_]+)", AZURE_YAML))
        assert read - {"AZURE_SUBSCRIPTION_ID"} <= set(main.outputs)

    def test_builds_the_image_that_the_app_starts(self, app_settings: dict[str, str]):
        built = set(re.findall(r"^ +build (\S+:\d+) (\S+)$", AZURE_YAML, re.MULTILINE))
        image = app_settings["RUNYARD_RUNNER_IMAGE"].rpartition("/")[2]
        own = re.search(r"/(workspace:\d+)'", app_settings["DEV8_IMAGE"])
        assert own
        assert built == {(image, "infra/runner/Dockerfile"), (own[1], "infra/workspace/Dockerfile")}

    def test_copies_the_image_of_the_proxy_that_the_app_starts(self, app_settings: dict[str, str]):
        copied = set(re.findall(r"--source docker.io/library/(\S+) --image (\S+)", AZURE_YAML))
        registry, _, image = app_settings["DEV8_TLS_IMAGE"].rpartition("/")
        assert (registry, copied) == ("${registry.outputs.loginServer}", {(image, image)})

    @pytest.mark.parametrize("image", ["runner", "workspace"])
    def test_the_image_can_be_built_from_what_is_sent(self, image: str):
        sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
        copies = re.findall(
            r"^COPY (?!--from)(.+) \S+$", (ROOT / f"infra/{image}/Dockerfile").read_text(), re.MULTILINE
        )
        sources = [source for copy in copies for source in copy.split()]
        assert sources
        for source in sources:
            assert any(Path(source).is_relative_to(path) for path in sent), source


AZ = """#!/bin/sh
# A stand-in of the Azure CLI: it writes down its calls, lists secrets, and fails in those that the test names.
echo "$*" >> "$CALLS/calls"
case "$*" in
  $REFUSED) exit 1 ;;
  *"--method get"*) echo "$FOUND"; exit "$LIST_STATUS" ;;
  *"--method put"*) cat >> "$CALLS/bodies"; echo >> "$CALLS/bodies" ;;
esac
"""


def run_hook(
    folder: Path,
    found: str = "1",
    list_status: int = 0,
    image: str = "vendor/image:1",
    refused: str = "nothing",
    docker: bool = False,
) -> tuple[int, list[str]]:
    """The exit status of the hook and the calls it made, with this answer to its list; `refused` is a pattern."""
    (folder / "az").write_text(AZ)
    (folder / "az").chmod(0o755)
    if docker:
        (folder / "docker").write_text('#!/bin/sh\necho "docker $*" >> "$CALLS/calls"\n')
        (folder / "docker").chmod(0o755)
    for tool in ("sh", "cat", "head", "base64"):  # no others, as the machine may have the real ones of these names
        (folder / tool).symlink_to(shutil.which(tool) or tool)
    hook = yaml.safe_load(AZURE_YAML)["hooks"]["postprovision"]["posix"]
    environment = {
        "PATH": str(folder), "CALLS": str(folder), "FOUND": found, "LIST_STATUS": str(list_status),
        "RUNYARD_VAULT_ID": "/vaults/kv", "RUNYARD_APP_ID": "/sites/func", "AZURE_SUBSCRIPTION_ID": "s",
        "AZURE_CONTAINER_REGISTRY_NAME": "r", "DEV8_IMAGE": image, "REFUSED": refused,
    }  # fmt: skip
    done = subprocess.run([hook["shell"], "-c", hook["run"]], env=environment, cwd=folder, check=False)
    return done.returncode, (folder / "calls").read_text().splitlines()


class TestWorkflow:
    def test_deploys_with_every_variable_that_the_parameters_read(self, main: Template):
        # A variable that is missing here would take its default at the next deployment: no administrator, for example.
        given: dict[str, Any] = json.loads((MAIN.parent / "main.parameters.json").read_text())["parameters"]
        read = {name: re.match(r"\$\{(\w+)", str(entry["value"])) for name, entry in given.items()}
        of_azd = {"AZURE_ENV_NAME", "AZURE_LOCATION", "AZURE_PRINCIPAL_ID"}
        variables = {match[1]: main.parameters[name].secure for name, match in read.items() if match}
        own = {name: "secrets" if secure else "variables" for name, secure in variables.items() if name not in of_azd}
        pipeline = yaml.safe_load(AZURE_YAML)["pipeline"]
        assert {name: kind for kind, names in pipeline.items() for name in names} == own
        workflow = yaml.safe_load((ROOT / ".github/workflows/deploy.yml").read_text())
        environment = workflow["jobs"]["deploy"]["env"]
        for name, kind in own.items():
            assert environment[name] == f"${{{{ {kind.replace('variables', 'vars')}.{name} }}}}"


class TestImages:
    """The hook puts the images of containers into the registry."""

    @pytest.mark.parametrize(
        ("image", "images"), [("vendor/image:1", ["runner:1"]), ("own", ["runner:1", "workspace:1"])]
    )
    def test_the_workspace_is_built_when_it_is_chosen(self, tmp_path: Path, image: str, images: list[str]):
        status, calls = run_hook(tmp_path, "1", image=image)
        assert status == 0
        assert re.findall(r"--image (\S+)", "".join(call for call in calls if "build" in call)) == images

    def test_docker_builds_the_image_where_the_registry_may_not(self, tmp_path: Path):
        status, calls = run_hook(tmp_path, refused="*acr?build*", docker=True)
        assert status == 0
        assert calls[-3:] == [
            "acr login --subscription s --name r",
            "docker build --platform linux/amd64 --tag r.azurecr.io/runner:1 --file infra/runner/Dockerfile .",
            "docker push r.azurecr.io/runner:1",
        ]

    def test_without_docker_it_ends_and_says_why(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
        status, calls = run_hook(tmp_path, refused="*acr?build*")
        assert status != 0 and calls[-1].startswith("acr build")
        assert "did not build runner:1" in capfd.readouterr().err

    @pytest.mark.parametrize(("refused", "passes"), [("*acr?import*", True), ("*caddy*", False)])
    def test_the_copy_of_an_earlier_run_will_do(self, tmp_path: Path, refused: str, passes: bool):
        status, _ = run_hook(tmp_path, refused=refused)
        assert (status == 0) == passes


class TestKeysMadeOnce:
    """The hook makes the keys that seal and sign once: new ones would lose what the old ones sealed and signed."""

    def test_are_made_when_there_are_none_and_then_read_by_the_app(self, tmp_path: Path):
        status, calls = run_hook(tmp_path, "0")
        assert status == 0
        assert [" ".join(call.split()[:3]) for call in calls] == [
            "rest --method get", "rest --method put", "rest --method get", "rest --method put", "rest --method post",
            "provider register --subscription", "acr import --subscription", "acr build --subscription",
        ]  # fmt: skip
        assert "--url /vaults/kv/secrets/sealing-keys?" in calls[1]
        assert "--url /vaults/kv/secrets/anymind-secret-keys?" in calls[3]
        assert "--url /sites/func/config/configreferences/appsettings/refresh?" in calls[4]
        bodies = (tmp_path / "bodies").read_text().splitlines()
        sealing, signing = (json.loads(body)["properties"]["value"] for body in bodies)
        key_id, _, key = sealing.partition(":")
        assert (key_id, len(base64.b64decode(key, validate=True))) == ("k1", 32)
        assert len(base64.b64decode(signing, validate=True)) == 32 and len(signing) >= tokens.MIN_KEY
        assert key != signing
        assert key not in "".join(calls) and signing not in "".join(calls)

    def test_are_left_alone_when_they_exist(self, tmp_path: Path):
        status, calls = run_hook(tmp_path, "1")
        assert status == 0
        assert not [call for call in calls if "put" in call.split()]
        assert calls[-1].startswith("acr build")

    def test_are_read_anew_in_each_run(self, tmp_path: Path):
        # An earlier run may have made them and then failed.
        _, calls = run_hook(tmp_path, "1")
        assert [call for call in calls if "/config/configreferences/appsettings/refresh?" in call]

    @pytest.mark.parametrize(("found", "list_status"), [("", 1), ("0", 3), ("", 0), ("2", 0)])
    def test_are_not_made_when_it_is_unknown_whether_they_exist(self, tmp_path: Path, found: str, list_status: int):
        status, calls = run_hook(tmp_path, found, list_status)
        assert status != 0
        assert [call.split()[2] for call in calls] == ["get"]

    def test_are_a_secret_that_the_app_reads_and_no_deployment_writes(self):
        vault = module_file("modules/vault.bicep")
        written = "".join(vault.bodies("Microsoft.KeyVault/vaults/secrets@").values())
        for output, name in (("sealingKeys", "sealing-keys"), ("anymindSecretKeys", "anymind-secret-keys")):
            assert len(re.findall(rf"[ ']{name}=", AZURE_YAML)) == 2  # in both shells
            assert text(vault.outputs[f"{output}Reference"]).endswith(f"secrets/{name})'")
            assert name not in written

    def test_both_shells_do_the_same(self):
        posix, _, windows = AZURE_YAML.partition("    windows:")
        for pattern in (
            r"--method \w+",
            r"--query \S+",
            r"[\w-]+-keys=(?:k1:)?",
            r"name=='\$\w+'",
            r"api-version=[\d-]+",
            r"/config/\S+\?",
            r"\baz acr \w+",
            r"\bdocker (?:build|push) [-\w/ ]+",
            r"^ +build \S+ \S+$",
            r"Install Docker [^\"]+",
        ):
            both = [re.findall(pattern, shell, re.MULTILINE) for shell in (posix, windows)]
            assert both[0] == both[1], pattern
