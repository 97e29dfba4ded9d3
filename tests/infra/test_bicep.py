"""The Bicep files, checked without their compiler: grammar, names, versions, modules and parameters."""

import json
import re
from typing import Any

import pytest

from infra.emulator.processes import ROOT
from tests.infra.bicep import MAIN, Template, module_file, names, string, text, walk

FILES = [MAIN, *sorted((ROOT / "infra/modules").glob("*.bicep"))]

VERSIONS = {
    "Microsoft.Authorization/roleAssignments": "2022-04-01",
    "Microsoft.ContainerRegistry/registries": "2025-04-01",
    "Microsoft.Insights/components": "2020-02-02",
    "Microsoft.KeyVault/vaults": "2026-02-01",
    "Microsoft.KeyVault/vaults/secrets": "2026-02-01",
    "Microsoft.ManagedIdentity/userAssignedIdentities": "2024-11-30",
    "Microsoft.Network/natGateways": "2024-05-01",
    "Microsoft.Network/networkSecurityGroups": "2024-05-01",
    "Microsoft.Network/publicIPAddresses": "2024-05-01",
    "Microsoft.Network/virtualNetworks": "2024-05-01",
    "Microsoft.OperationalInsights/workspaces": "2025-07-01",
    "Microsoft.Resources/resourceGroups": "2025-04-01",
    "Microsoft.SignalRService/webPubSub": "2024-03-01",
    "Microsoft.SignalRService/webPubSub/hubs": "2024-03-01",
    "Microsoft.Storage/storageAccounts": "2025-06-01",
    "Microsoft.Web/serverfarms": "2025-05-01",
    "Microsoft.Web/sites": "2025-05-01",
}
"""The API version of each type, as published in the index of Bicep's types."""

CHILDREN = {
    "basicPublishingCredentialsPolicies", "blobServices", "config", "containers", "fileServices", "managementPolicies",
}  # fmt: skip
"""Types written inside the resource they belong to; its version is theirs."""

FUNCTIONS = {
    "description", "metadata", "allowed", "secure", "minLength", "maxLength", "minValue", "maxValue",
    "base64ToString", "empty", "environment", "filter", "guid", "map", "newGuid", "resourceGroup", "split",
    "subscription", "subscriptionResourceId", "tenant", "trim", "union", "uniqueString", "uriComponent",
}  # fmt: skip
"""What these files may call. No `list...`: those read keys."""


@pytest.fixture(scope="module", params=FILES, ids=lambda path: path.stem)
def file(request: pytest.FixtureRequest) -> Template:
    """Each file in turn."""
    return Template.read(request.param)


@pytest.fixture(scope="module")
def main() -> Template:
    """The main file, which uses all others."""
    return Template.read(MAIN)


class TestEachFile:
    def test_follows_the_grammar(self, file: Template):
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

    def test_outputs_no_secret(self, file: Template):
        secrets = {name for name, parameter in file.parameters.items() if parameter.secure}
        for name, value in file.outputs.items():
            read = {text(node) for node in walk(value) if node.type in ("identifier", "property_identifier")}
            assert not read & {*secrets, "value"}, name


class TestTheChecks:
    """The checks of this file, with input on which they must fail."""

    def test_a_missing_brace_is_found(self):
        assert Template.parse("var a = {\n  b: 1\n").broken

    def test_an_undeclared_name_is_found_in_any_place(self):
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

    def test_the_kind_of_a_parameter_is_recognized(self):
        template = Template.parse("@secure()\nparam a string\nparam b string = ''\n")
        assert [(p.default is None, p.secure) for p in template.parameters.values()] == [(True, True), (False, False)]

    def test_a_call_of_a_method_is_a_call(self):
        assert Template.parse("var a = b.listKeys().keys[0]\n").functions == {"listKeys"}


class TestModules:
    def test_every_file_is_used(self, main: Template):
        assert {MAIN.parent / module.path for module in main.modules.values()} == set(FILES) - {MAIN}

    def test_get_exactly_the_parameters_that_they_need(self, main: Template):
        for module in main.modules.values():
            parameters = module_file(module.path).parameters
            needed = {name for name, parameter in parameters.items() if parameter.default is None}
            assert needed <= set(module.arguments) <= set(parameters), module.path

    def test_get_a_parameter_under_its_own_name(self, main: Template):
        for module in main.modules.values():
            for name in set(module.arguments) & set(main.parameters):
                assert text(module.arguments[name]) == name, module.path

    def test_secrets_are_passed_as_secure_parameters(self, main: Template):
        # The values of parameters that are not secure are in the history of deployments, for everyone who may read it.
        secrets = {name for name, parameter in main.parameters.items() if parameter.secure}
        for module in main.modules.values():
            parameters = module_file(module.path).parameters
            for name, value in module.arguments.items():
                assert parameters[name].secure or not secrets & set(names(value)), name

    def test_have_exactly_the_outputs_that_are_read(self, main: Template):
        there = {(name, out) for name, module in main.modules.items() for out in module_file(module.path).outputs}
        assert main.reads == there


class TestParameters:
    def test_what_may_hold_secrets_is_secure(self, main: Template):
        secure = {name for name, parameter in main.parameters.items() if parameter.secure}
        assert secure == {
            "adminKey", "anthropicApiKey", "dev8RegistryPassword", "dev8TlsCertificateBase64", "eventsCode",
            "extraSettings", "ownpilotJwtSecret",
        }  # fmt: skip

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
