"""The deployment fits the app: settings, hubs, image and roles."""

import re
from pathlib import Path

import httpx
import pytest

from functions.gateway.updates import HUB as GATEWAY_HUB
from functions.stepflow.updates import HUB as STEPFLOW_HUB
from infra.emulator.processes import ROOT
from shared.http.api import Api
from shared.jobs import INPUTS
from shared.settings import Settings
from shared.sockets import SYSTEM_EVENTS
from tests.infra.bicep import MAIN, Template, module_file, properties, string, text, values, walk

ROLES = {
    "acrPull": "7f951dda-4ed3-4680-a7ca-43fe172d538d",
    "containerInstancesContributor": "5d977122-f97e-4b4d-a52f-6b43003ddb4d",
    "keyVaultSecretsUser": "4633458b-17de-408a-b874-0445c86b69e6",
    "managedIdentityOperator": "f1a07417-d97a-45cb-824c-7a7467783830",
    "monitoringMetricsPublisher": "3913510d-42f4-4e42-8a64-420c390055eb",
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
}
"""App settings that only the host reads."""

NOT_IN_AZURE = {"AzureWebJobsStorage", "WEBSITE_HOSTNAME"}
"""A connection string, which would hold a key; and what the platform itself sets."""

REFUSED_BY_FLEX = re.compile("WEBSITE_|SCM_|ENABLE_ORYX|FUNCTIONS_(WORKER|EXTENSION)|PYTHON_ENABLE_INIT_INDEXING")
"""App settings that Flex Consumption refuses, ignores or does not need from Python 3.13 on."""


@pytest.fixture(scope="module")
def main() -> Template:
    """The main file, which uses all others."""
    return Template.read(MAIN)


@pytest.fixture(scope="module")
def app_settings(main: Template) -> dict[str, str]:
    """The app's settings as the deployment writes them; expressions as their source."""
    union = main.modules["app"].arguments["appSettings"]
    settings = next(node for node in walk(union) if node.type == "object")
    return {name: string(node) if node.type == "string" else text(node) for name, node in properties(settings).items()}


class TestAppSettings:
    def test_are_those_of_the_app_and_of_the_host(self, app_settings: dict[str, str]):
        fields = {str(field.alias) for field in Settings.model_fields.values()}
        assert set(app_settings) == (fields - NOT_IN_AZURE) | OF_THE_HOST

    def test_flex_consumption_accepts_all(self, app_settings: dict[str, str]):
        assert [name for name in app_settings if REFUSED_BY_FLEX.match(name)] == []

    def test_are_values_that_the_app_can_read(self, app_settings: dict[str, str]):
        settings = Settings.model_validate(app_settings)
        assert settings.account.key is None
        assert settings.stepflow_auth_enabled

    def test_secrets_are_references(self, app_settings: dict[str, str]):
        vault = module_file("modules/vault.bicep")
        for name in ("RUNYARD_EVENTS_CODE", "ANTHROPIC_API_KEY"):
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
            answer = await client.get("/any", headers={"Origin": "https://page.example"})
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
        assert {GATEWAY_HUB, STEPFLOW_HUB} == set(string(default).split(","))

    def test_sends_its_events_to_the_route_of_the_app(self):
        hubs = module_file("modules/hubs.bicep")
        assert values(hubs, "urlTemplate") == ["'${appUrl}/realtime/{hub}/{event}?code=${uriComponent(eventsCode)}'"]
        assert values(hubs, "anonymousConnectPolicy") == ["'allow'"]
        assert values(hubs, "userEventPattern") == ["'*'"]
        assert [re.findall(r"'(\w+)'", value) for value in values(hubs, "systemEvents")] == [list(SYSTEM_EVENTS)]


class TestStorage:
    def test_deletes_the_inputs_of_jobs(self):
        storage = module_file("modules/storage.bicep")
        assert values(storage, "prefixMatch") == [f"['{INPUTS}/']"]
        assert values(storage, "daysAfterModificationGreaterThan") == ["3"]


class TestAzd:
    def test_finds_the_app_by_its_tag(self):
        service = re.search(r"^services:\n  (\w+):", (ROOT / "azure.yaml").read_text(), re.MULTILINE)
        assert service and values(module_file("modules/app.bicep"), "azd-service-name") == [f"'{service[1]}'"]

    def test_hooks_read_existing_outputs(self, main: Template):
        read = set(re.findall(r"\$(?:env:)?([A-Z_]+)", (ROOT / "azure.yaml").read_text()))
        assert read - {"AZURE_SUBSCRIPTION_ID"} <= set(main.outputs)

    def test_builds_the_image_that_the_app_starts(self, app_settings: dict[str, str]):
        built = set(re.findall(r"--image (\S+) --file (\S+) \.", (ROOT / "azure.yaml").read_text()))
        image = app_settings["RUNYARD_RUNNER_IMAGE"].rpartition("/")[2]
        assert built == {(image, "infra/runner/Dockerfile")}

    def test_the_image_can_be_built_from_what_is_sent(self):
        sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
        copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "infra/runner/Dockerfile").read_text(), re.MULTILINE)
        sources = [source for copy in copies for source in copy.split()]
        assert sources
        for source in sources:
            assert any(Path(source).is_relative_to(path) for path in sent), source
