"""How the images of an environment are pulled."""

import pytest

from functions.dev8 import layout
from functions.dev8.records import CloudProvider, DevEnvironment
from shared.container_groups import RegistryLogin
from shared.settings import Settings

OURS = {"RUNYARD_RUNNER_IMAGE": "ours.azurecr.io/runner:1", "RUNYARD_RUNNER_IDENTITY": "/identities/runner"}
USER = {"DEV8_REGISTRY_USER": "me", "DEV8_REGISTRY_PASSWORD": "secret"}
OURS_LOGIN = RegistryLogin("ours.azurecr.io", identity="/identities/runner")


@pytest.mark.parametrize(
    ("workspace", "proxy", "values", "logins"),
    [
        ("vendor/workspace:1", "caddy:2.8", OURS, []),
        ("vendor/workspace:1", "ours.azurecr.io/caddy:2", OURS, [OURS_LOGIN]),
        ("ours.azurecr.io/workspace:1", "ours.azurecr.io/caddy:2", OURS, [OURS_LOGIN]),
        ("ours.azurecr.io/workspace:1", "ours.azurecr.io/caddy:2", {}, []),
        (
            "private.example:5000/workspace:1",
            "ours.azurecr.io/caddy:2",
            {**OURS, **USER},
            [RegistryLogin("private.example:5000", user="me", password="secret"), OURS_LOGIN],
        ),
        (
            "vendor/workspace:1",
            "caddy:2.8",
            {**OURS, **USER},
            [RegistryLogin("index.docker.io", user="me", password="secret")],
        ),
    ],
)
def test_each_registry_of_an_image_gets_its_login_once(
    workspace: str, proxy: str, values: dict[str, str], logins: list[RegistryLogin], monkeypatch: pytest.MonkeyPatch
):
    given = Settings.model_validate({**values, "DEV8_IMAGE": workspace, "DEV8_TLS_IMAGE": proxy})
    monkeypatch.setattr(layout, "settings", lambda: given)
    environment = DevEnvironment(
        id="0190f7a2-0000-7000-8000-000000000000", user_id="u", name="n", cloud_provider=CloudProvider.AZURE,
        cloud_region="eastus", cpu_cores=1, memory_gb=2, storage_gb=10, base_image="node",
    )  # fmt: skip
    assert layout.group_of(environment, {}, "token", "key").registries == logins
