"""A setting is a field, a line of the sample, and a line of README (and of Bicep: tests/infra): they never part."""

import json
import re

import pytest
from pydantic import ValidationError

from infra.emulator.processes import ROOT
from shared.settings import Settings

HOST = {"FUNCTIONS_WORKER_RUNTIME", "PYTHON_ENABLE_INIT_INDEXING", "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"}
"""Settings of the host itself."""

SET_BY_AZURE = {"WEBSITE_HOSTNAME", "AZURE_CLIENT_ID", "AzureWebJobsStorage__accountName"}
"""Settings that only a deployment has."""

FIELDS = {field.alias for field in Settings.model_fields.values()}


def test_the_sample_has_every_local_setting():
    sample = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
    assert set(sample) - HOST == FIELDS - SET_BY_AZURE


def test_the_readme_has_a_line_for_every_setting():
    section = (ROOT / "README.md").read_text().partition("\n## Settings\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == FIELDS


def test_the_defaults_name_the_local_services():
    assert Settings.model_validate({}).account.tables == "http://127.0.0.1:10002/devstoreaccount1"
    assert Settings.model_validate({}).base_url == "http://127.0.0.1:7071"


def test_an_account_named_by_a_setting_has_no_key():
    account = Settings.model_validate({"AzureWebJobsStorage__accountName": "acme"}).account
    assert (account.key, account.blobs) == (None, "https://acme.blob.core.windows.net")
    assert Settings.model_validate({"WEBSITE_HOSTNAME": "acme.azurewebsites.net"}).base_url == (
        "https://acme.azurewebsites.net"
    )


@pytest.mark.parametrize(
    ("values", "deployed"),
    [
        ({}, False), ({"WEBSITE_HOSTNAME": "localhost:7071"}, False), ({"WEBSITE_HOSTNAME": "[::1]:7071"}, False),
        ({"WEBSITE_HOSTNAME": "acme.azurewebsites.net"}, True), ({"RUNYARD_PUBLIC_URL": "https://acme.example"}, True),
        ({"AzureWebJobsStorage__accountName": "acme"}, True),
    ],
)  # fmt: skip
def test_an_app_or_records_that_others_may_reach_are_deployed(values: dict[str, str], deployed: bool):
    assert Settings.model_validate(values).is_deployed == deployed


def test_the_apis_are_those_of_the_list_without_empty_and_repeated_names():
    assert Settings.model_validate({"RUNYARD_APIS": " stepflow,gateway,, stepflow,"}).api_names == [
        "stepflow",
        "gateway",
    ]
    assert Settings.model_validate({"RUNYARD_APIS": ""}).api_names == []


def test_an_unknown_api_is_refused_with_the_names_that_there_are():
    with pytest.raises(ValidationError, match="no API gatewey; there are gateway,stepflow,anymind,dev8,ownpilot"):
        Settings.model_validate({"RUNYARD_APIS": "gatewey,stepflow"})


def test_endpoints_follow_from_a_connection_string():
    text = "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=a2V5;EndpointSuffix=core.windows.net"
    account = Settings.model_validate({"AzureWebJobsStorage": text}).account
    assert (account.name, account.key, account.tables) == ("acme", "a2V5", "https://acme.table.core.windows.net")


@pytest.mark.parametrize("text", ["", "0", "15,", "15, 30", "x", "-1", "1.5"])
def test_pauses_that_no_timer_can_wait_are_refused(text: str):
    with pytest.raises(ValidationError, match="RUNYARD_PROBE_PAUSES"):
        Settings.model_validate({"RUNYARD_PROBE_PAUSES": text})


def test_a_reference_to_a_secret_that_was_not_resolved_is_no_secret():
    reference = "@Microsoft.KeyVault(SecretUri=https://kv-token.vault.azure.net/secrets/anymind-secret-keys)"
    secrets = {str(field.alias): name for name, field in Settings.model_fields.items() if not field.repr}
    settings = Settings.model_validate(dict.fromkeys(secrets, reference))
    assert {getattr(settings, name) for name in secrets.values()} == {""}
