"""The deployment, checked without its compiler: grammar, names, modules, versions, roles and app settings."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from functions.gateway.updates import HUB as GATEWAY_HUB
from functions.stepflow.updates import HUB as STEPFLOW_HUB
from infra.local.processes import ROOT
from shared.http.api import Api
from shared.jobs import INPUTS
from shared.realtime import SYSTEM_EVENTS
from shared.settings import Settings
from tests.infra.bicep import Template, properties, string, text, walk

MAIN = ROOT / "infra/main.bicep"
FILES = [MAIN, *sorted((ROOT / "infra/modules").glob("*.bicep"))]

VERSIONS = {
    "Microsoft.Authorization/roleAssignments": "2022-04-01",
    "Microsoft.ContainerRegistry/registries": "2025-04-01",
    "Microsoft.Insights/components": "2020-02-02",
    "Microsoft.KeyVault/vaults": "2026-02-01",
    "Microsoft.KeyVault/vaults/secrets": "2026-02-01",
    "Microsoft.ManagedIdentity/userAssignedIdentities": "2024-11-30",
    "Microsoft.OperationalInsights/workspaces": "2025-07-01",
    "Microsoft.Resources/resourceGroups": "2025-04-01",
    "Microsoft.SignalRService/webPubSub": "2024-03-01",
    "Microsoft.SignalRService/webPubSub/hubs": "2024-03-01",
    "Microsoft.Storage/storageAccounts": "2025-06-01",
    "Microsoft.Web/serverfarms": "2025-05-01",
    "Microsoft.Web/sites": "2025-05-01",
}
"""The API version of each type, as published in the index of Bicep's types."""

CHILDREN = {"basicPublishingCredentialsPolicies", "blobServices", "config", "containers", "managementPolicies"}
"""Types written inside the resource they belong to; its version is theirs."""

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

FUNCTIONS = {
    "description", "metadata", "allowed", "secure", "minLength", "maxLength", "minValue", "maxValue",
    "empty", "environment", "guid", "map", "newGuid", "resourceGroup", "split", "subscription",
    "subscriptionResourceId", "tenant", "trim", "union", "uniqueString", "uriComponent",
}  # fmt: skip
"""What these files may call. No `list...`: those read keys."""

OF_THE_HOST = {
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__clientId",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
}
"""App settings that the host reads, and the app does not."""

NOT_IN_AZURE = {"AzureWebJobsStorage", "WEBSITE_HOSTNAME"}
"""A connection string, which would hold a key; and what the platform itself sets."""

REFUSED_BY_FLEX = re.compile("WEBSITE_|SCM_|ENABLE_ORYX|FUNCTIONS_(WORKER|EXTENSION)|PYTHON_ENABLE_INIT_INDEXING")
"""App settings that Flex Consumption refuses, ignores or does not need from Python 3.13 on."""


@pytest.fixture(scope="module", params=FILES, ids=lambda path: path.stem)
def file(request: pytest.FixtureRequest) -> Template:
    """Each file in turn."""
    return Template.read(request.param)


@pytest.fixture(scope="module")
def main() -> Template:
    """The file that uses all others."""
    return Template.read(MAIN)


@pytest.fixture(scope="module")
def app_settings(main: Template) -> dict[str, str]:
    """The app's settings as the deployment writes them; expressions as their source."""
    union = main.modules["app"].arguments["appSettings"]
    settings = next(node for node in walk(union) if node.type == "object")
    return {name: string(node) if node.type == "string" else text(node) for name, node in properties(settings).items()}


def module_file(path: str) -> Template:
    return Template.read(MAIN.parent / path)


def values(template: Template, name: str) -> list[str]:
    """The values that properties of this name have in a file, as written."""
    pairs = [node.named_children for node in walk(template.root) if node.type == "object_property"]
    return [text(pair[-1]) for pair in pairs if len(pair) > 1 and text(pair[0]).strip("'") == name]


class TestEachFile:
    def test_is_in_the_grammar(self, file: Template):
        assert file.broken == []

    def test_declares_every_name_that_it_uses(self, file: Template):
        assert file.used - file.declared == set()

    def test_uses_every_parameter_variable_and_existing_resource(self, file: Template):
        existing = {name for name, resource in file.resources.items() if resource.existing}
        assert {*file.parameters, *file.variables, *existing} - file.used == set()

    def test_calls_only_functions_that_exist_and_read_no_key(self, file: Template):
        assert file.functions - FUNCTIONS == set()

    def test_names_the_agreed_version_of_every_type(self, file: Template):
        for resource in file.resources.values():
            kind, _, version = resource.type.partition("@")
            assert VERSIONS[kind] == version if version else kind in CHILDREN, resource

    def test_gives_no_secret_away(self, file: Template):
        secrets = {name for name, parameter in file.parameters.items() if parameter.secure}
        for name, value in file.outputs.items():
            read = {text(node) for node in walk(value) if node.type in ("identifier", "property_identifier")}
            assert not read & {*secrets, "value"}, name

    def test_names_only_known_roles(self, file: Template):
        ids = set(re.findall(r"'([0-9a-f]{8}-[0-9a-f-]{27})'", text(file.root)))
        assert ids <= set(ROLES.values())


class TestTheChecks:
    """They would be worth nothing if they could not fail."""

    def test_a_missing_brace_is_seen(self):
        assert Template.parse("var a = {\n  b: 1\n").broken

    def test_an_undeclared_name_is_seen_wherever_it_stands(self):
        template = Template.parse("""
            param a string
            var b = map([a], x => '${x}${inLambda}')
            resource c 'T@1' = [for i in inLoop: if (inCondition) { name: i.name, tags: { a: inObject } }]
            resource d 'T@1' = { name: c::inType.name
              resource e 'U' = { name: inChild } }
            output f string = empty(b) ? d.id : inOutput""")
        missing = {"inLambda", "inLoop", "inCondition", "inObject", "inChild", "inOutput", "inType"}
        assert (template.broken, template.used - template.declared) == ([], missing)

    def test_a_declaration_is_not_a_use(self):
        assert Template.parse("param a string\nvar b = { a: 1 }\n").used == set()

    def test_what_a_parameter_is_shows(self):
        template = Template.parse("@secure()\nparam a string\nparam b string = ''\n")
        assert [(p.default is None, p.secure) for p in template.parameters.values()] == [(True, True), (False, False)]

    def test_a_call_of_a_method_is_a_call(self):
        assert Template.parse("var a = b.listKeys().keys[0]\n").functions == {"listKeys"}


class TestModules:
    def test_every_file_is_used(self, main: Template):
        assert {MAIN.parent / module.path for module in main.modules.values()} == set(FILES) - {MAIN}

    def test_get_what_they_need_and_nothing_else(self, main: Template):
        for module in main.modules.values():
            parameters = module_file(module.path).parameters
            needed = {name for name, parameter in parameters.items() if parameter.default is None}
            assert needed <= set(module.arguments) <= set(parameters), module.path

    def test_get_a_parameter_under_its_own_name(self, main: Template):
        for module in main.modules.values():
            for name in set(module.arguments) & set(main.parameters):
                assert text(module.arguments[name]) == name, module.path

    def test_secrets_stay_secret_on_their_way(self, main: Template):
        secrets = {name for name, parameter in main.parameters.items() if parameter.secure}
        for module in main.modules.values():
            parameters = module_file(module.path).parameters
            for name, value in module.arguments.items():
                assert text(value) not in secrets or parameters[name].secure, name

    def test_have_exactly_the_outputs_that_are_read(self, main: Template):
        there = {(name, out) for name, module in main.modules.items() for out in module_file(module.path).outputs}
        assert main.reads == there


class TestParameters:
    def test_the_file_gives_every_parameter_that_has_no_default(self, main: Template):
        given = json.loads((MAIN.parent / "main.parameters.json").read_text())["parameters"]
        needed = {name for name, parameter in main.parameters.items() if parameter.default is None}
        assert needed <= set(given) <= set(main.parameters)

    def test_a_default_in_the_file_is_that_of_the_parameter(self, main: Template):
        given: dict[str, Any] = json.loads((MAIN.parent / "main.parameters.json").read_text())["parameters"]
        for name, parameter in main.parameters.items():
            match = re.fullmatch(r"\$\{\w+(?:=(.*))?\}", str(given.get(name, {}).get("value")))
            if match and parameter.default:
                assert string(parameter.default) == (match[1] or ""), name

    def test_readme_has_a_line_for_each(self, main: Template):
        section = (ROOT / "README.md").read_text().partition("\n## Deploy\n")[2].partition("\n## ")[0]
        assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(main.parameters)

    def test_all_apis_are_served_and_have_the_hubs_they_publish_on(self, main: Template):
        default = main.parameters["apis"].default
        assert default and string(default) == Settings.model_validate({}).apis
        assert {GATEWAY_HUB, STEPFLOW_HUB} == set(string(default).split(","))


class TestAppSettings:
    def test_are_those_of_the_app_and_of_the_host(self, app_settings: dict[str, str]):
        fields = {str(field.alias) for field in Settings.model_fields.values()}
        assert set(app_settings) == (fields - NOT_IN_AZURE) | OF_THE_HOST

    def test_none_is_refused_by_flex_consumption(self, app_settings: dict[str, str]):
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

    def test_one_that_is_empty_is_what_the_app_has_without_it(self, app_settings: dict[str, str]):
        # A host may drop empty values.
        for field in Settings.model_fields.values():
            if app_settings.get(str(field.alias)) == "":
                assert field.default == "", field.alias

    @pytest.mark.parametrize("deployed", [True, False])
    async def test_browsers_get_one_answer_the_platforms(
        self, app_settings: dict[str, str], deployed: bool, monkeypatch: pytest.MonkeyPatch
    ):
        given = Settings.model_validate(app_settings if deployed else {})
        monkeypatch.setattr("shared.http.api.settings", lambda: given)
        api = Api("any", "Any", "1.0.0", [], render=lambda status, message: {"error": message})
        async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://any.example") as client:
            answer = await client.get("/openapi.json", headers={"Origin": "https://page.example"})
        assert answer.status_code == 200
        assert ("access-control-allow-origin" in answer.headers) != deployed


class TestDoors:
    def test_no_key_opens_a_service(self):
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

    def test_every_role_is_the_one_of_its_name_and_is_given_to_somebody(self):
        access = module_file("modules/access.bicep")
        assert {name: string(node) for name, node in properties(access.variables["roles"]).items()} == ROLES
        assert set(re.findall(r"\broles\.(\w+)", text(access.root))) == set(ROLES)

    def test_every_assignment_is_named_after_what_it_gives(self):
        assignments = module_file("modules/access.bicep").bodies("Microsoft.Authorization/roleAssignments@")
        for symbol, body in assignments.items():
            scope = re.search(r"\bscope: (\w+)", body)
            parts = re.search(r"\bname: guid\(([\w.()]+)\.id, (\w+), ([\w.]+)\)", body)
            assert parts, symbol
            assert parts[1] == (scope[1] if scope else "resourceGroup()"), symbol
            assert f"principalId: {parts[2]}\n" in body, symbol
            given = re.search(r"'Microsoft.Authorization/roleDefinitions',\s+([\w.]+)\s*\)", body)
            assert given and given[1] == parts[3], symbol

    def test_containers_can_do_nothing_but_pull_their_image(self):
        assignments = module_file("modules/access.bicep").bodies("Microsoft.Authorization/roleAssignments@")
        given = [body for body in assignments.values() if "runnerPrincipalId" in body]
        assert len(given) == 1
        assert set(re.findall(r"roles\.\w+", given[0])) == {"roles.acrPull"}


class TestWebPubSub:
    def test_sends_its_events_where_the_app_takes_them(self):
        hubs = module_file("modules/hubs.bicep")
        assert values(hubs, "urlTemplate") == ["'${appUrl}/realtime/{hub}/{event}?code=${uriComponent(eventsCode)}'"]
        assert values(hubs, "anonymousConnectPolicy") == ["'allow'"]
        assert values(hubs, "userEventPattern") == ["'*'"]
        assert [re.findall(r"'(\w+)'", value) for value in values(hubs, "systemEvents")] == [list(SYSTEM_EVENTS)]


class TestStorage:
    def test_forgets_the_inputs_of_jobs(self):
        storage = module_file("modules/storage.bicep")
        assert values(storage, "prefixMatch") == [f"['{INPUTS}/']"]
        assert values(storage, "daysAfterModificationGreaterThan") == ["3"]


class TestAzd:
    def test_finds_the_app_by_its_tag(self):
        service = re.search(r"^services:\n  (\w+):", (ROOT / "azure.yaml").read_text(), re.MULTILINE)
        assert service and values(module_file("modules/app.bicep"), "azd-service-name") == [f"'{service[1]}'"]

    def test_hooks_read_outputs_that_are_there(self, main: Template):
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
