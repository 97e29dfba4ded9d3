"""Everything the app reads from its environment, in one frozen model, read on first use."""

import os
from functools import cache
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

# The published account of the storage emulator; not a secret.
EMULATOR = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
    "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
    "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;"
    "QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1;"
    "TableEndpoint=http://127.0.0.1:10002/devstoreaccount1;"
)

# Published with this file, so not a secret: it is for laptops only.
LOCAL_SEALING_KEYS = "local:UnVueWFyZCBzZWFscyBsb2NhbGx5IHdpdGggdGhpcyE="


# Published too.
LOCAL_SECRET_KEYS = "this key is published: it signs tokens on laptops only"  # noqa: S105


_APIS = "gateway,stepflow,anymind,dev8,ownpilot"


_SERVICES = ("blob", "table", "queue")


_PAUSES = r"^[1-9][0-9]{0,4}(,[1-9][0-9]{0,4})*$"
"""Whole seconds, separated by commas."""

_SHORT_PAUSES = r"^(0\.[1-9]|[1-9][0-9]{0,4})(,(0\.[1-9]|[1-9][0-9]{0,4}))*$"
"""Whole seconds, or tenths of one, separated by commas."""


_REGIONS = "eastus,westus,westus2,centralus,northeurope,westeurope,eastasia,southeastasia"


class StorageAccount(NamedTuple):
    """The addresses of one storage account; `key` is None when the app's identity is the credential."""

    name: str
    key: str | None
    blobs: str
    tables: str
    queues: str


class Settings(BaseModel):
    """Each field is one environment variable; every default serves `make run`."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    storage: str = Field("UseDevelopmentStorage=true", alias="AzureWebJobsStorage")
    storage_account_name: str = Field("", alias="AzureWebJobsStorage__accountName")
    client_id: str = Field("", alias="AZURE_CLIENT_ID")
    apis: str = Field(_APIS, alias="RUNYARD_APIS")
    public_url: str = Field("", alias="RUNYARD_PUBLIC_URL")
    website_hostname: str = Field("127.0.0.1:7071", alias="WEBSITE_HOSTNAME")
    webpubsub: str = Field("", alias="RUNYARD_WEBPUBSUB")
    arm_endpoint: str = Field("http://127.0.0.1:7072", alias="RUNYARD_ARM_ENDPOINT")
    arm_timeout: float = Field(20, gt=0, alias="RUNYARD_ARM_TIMEOUT")
    arm_token: str = Field("", alias="RUNYARD_ARM_TOKEN", repr=False)
    subscription_id: str = Field("00000000-0000-0000-0000-000000000000", alias="RUNYARD_SUBSCRIPTION_ID")
    resource_group: str = Field("runyard", alias="RUNYARD_RESOURCE_GROUP")
    location: str = Field("westeurope", alias="RUNYARD_LOCATION")
    runner_image: str = Field("runyard/runner:1", alias="RUNYARD_RUNNER_IMAGE")
    runner_identity: str = Field("", alias="RUNYARD_RUNNER_IDENTITY")
    cors_origins: str = Field("", alias="RUNYARD_CORS_ORIGINS")
    platform_cors: bool = Field(False, alias="RUNYARD_PLATFORM_CORS")
    artifact_limit: int = Field(50_000_000, alias="RUNYARD_ARTIFACT_LIMIT")
    events_code: str = Field("", alias="RUNYARD_EVENTS_CODE", repr=False)
    stepflow_auth_enabled: bool = Field(False, alias="STEPFLOW_AUTH_ENABLED")
    anthropic_api_key: str = Field("", alias="ANTHROPIC_API_KEY", repr=False)
    anthropic_url: str = Field("", alias="RUNYARD_ANTHROPIC_URL")
    rate_minute: int = Field(100, alias="RUNYARD_RATE_MINUTE")
    rate_second: int = Field(20, alias="RUNYARD_RATE_SECOND")
    sealing_keys: str = Field(LOCAL_SEALING_KEYS, alias="RUNYARD_SEALING_KEYS", repr=False)
    private_hosts: str = Field("", alias="RUNYARD_PRIVATE_HOSTS")
    registration: Literal["open", "closed"] = Field("open", alias="RUNYARD_REGISTRATION")
    admin_key: str = Field("", alias="RUNYARD_ADMIN_KEY", repr=False)
    metrics_open: bool = Field(True, alias="RUNYARD_METRICS_OPEN")
    environment: str = Field("development", alias="RUNYARD_ENVIRONMENT")
    socket_silence: float = Field(10, gt=0, alias="RUNYARD_SOCKET_SILENCE")
    probe_pauses: str = Field("15,30,60", pattern=_PAUSES, alias="RUNYARD_PROBE_PAUSES")
    job_memory: float = Field(1.5, gt=0, le=240, alias="RUNYARD_JOB_MEMORY")
    start_pauses: str = Field("5,10,20,40,60", pattern=_PAUSES, alias="RUNYARD_START_PAUSES")
    start_deadline: int = Field(3600, ge=0, alias="RUNYARD_START_DEADLINE")
    client_jobs: int = Field(0, ge=0, alias="RUNYARD_CLIENT_JOBS")
    log_limit: int = Field(100_000_000, ge=1, alias="RUNYARD_LOG_LIMIT")
    warm: str = Field("", pattern=r"^(python=[0-9]{1,3})?$", alias="RUNYARD_WARM")
    warm_idle: int = Field(60, ge=1, alias="RUNYARD_WARM_IDLE")
    warm_age: int = Field(3600, ge=1, alias="RUNYARD_WARM_AGE")
    history_days: int = Field(30, ge=1, alias="RUNYARD_HISTORY_DAYS")
    key_cache: float = Field(5, ge=0, alias="RUNYARD_KEY_CACHE")
    anymind_upload_limit: int = Field(104_857_600, ge=1, alias="ANYMIND_UPLOAD_LIMIT")
    anymind_install: Literal["on", "off"] = Field("on", alias="ANYMIND_INSTALL")
    anymind_secret_keys: str = Field(LOCAL_SECRET_KEYS, alias="ANYMIND_SECRET_KEYS", repr=False)
    anymind_cors_origins: str = Field("http://localhost:3000,http://localhost:8000", alias="ANYMIND_CORS_ORIGINS")
    anymind_rate_minute: int = Field(600, ge=0, alias="ANYMIND_RATE_MINUTE")
    health_fresh: float = Field(5, ge=0, alias="RUNYARD_HEALTH_FRESH")
    dev8_auth_enabled: bool = Field(False, alias="DEV8_AUTH_ENABLED")
    dev8_cors_origins: str = Field("http://localhost:3000", alias="DEV8_CORS_ORIGINS")
    dev8_regions: str = Field(_REGIONS, alias="DEV8_REGIONS")
    dev8_max_cores: int = Field(4, ge=1, alias="DEV8_MAX_CORES")
    dev8_max_memory: int = Field(16, ge=1, alias="DEV8_MAX_MEMORY")
    dev8_max_storage: int = Field(100, ge=10, alias="DEV8_MAX_STORAGE")
    dev8_environments: int = Field(50, ge=1, alias="DEV8_ENVIRONMENTS")
    dev8_user_environments: int = Field(10, ge=1, alias="DEV8_USER_ENVIRONMENTS")
    dev8_image: str = Field("vaibhavsing/dev8-workspace:latest", alias="DEV8_IMAGE")
    dev8_registry_user: str = Field("", alias="DEV8_REGISTRY_USER")
    dev8_registry_password: str = Field("", alias="DEV8_REGISTRY_PASSWORD", repr=False)
    dev8_tls_image: str = Field("caddy:2", alias="DEV8_TLS_IMAGE")
    dev8_tls_certificate: str = Field("", alias="DEV8_TLS_CERTIFICATE", repr=False)
    dev8_storage_account: str = Field("dev8shares", alias="DEV8_STORAGE_ACCOUNT")
    dev8_idle_minutes: float = Field(30, ge=0, alias="DEV8_IDLE_MINUTES")
    dev8_report_seconds: int = Field(30, ge=1, alias="DEV8_REPORT_SECONDS")
    dev8_start_deadline: int = Field(900, ge=1, alias="DEV8_START_DEADLINE")
    dev8_look_pauses: str = Field("0.5,0.5,1,1,2,3,5,10", pattern=_SHORT_PAUSES, alias="DEV8_LOOK_PAUSES")
    dev8_share_days: float = Field(7, ge=0, alias="DEV8_SHARE_DAYS")
    dev8_core_price: float = Field(0, ge=0, alias="DEV8_CORE_PRICE")
    dev8_memory_price: float = Field(0, ge=0, alias="DEV8_MEMORY_PRICE")
    max_records: int = Field(10_000, ge=1, alias="RUNYARD_MAX_RECORDS")
    ownpilot_auth: Literal["none", "api-key", "jwt"] = Field("none", alias="OWNPILOT_AUTH")
    ownpilot_jwt_secret: str = Field("", alias="OWNPILOT_JWT_SECRET", repr=False)
    ownpilot_currency: str = Field("USD", pattern="^[A-Z]{3}$", alias="OWNPILOT_CURRENCY")
    ownpilot_rate_minute: int = Field(500, ge=0, alias="OWNPILOT_RATE_MINUTE")
    ownpilot_rate_burst: int = Field(750, ge=0, alias="OWNPILOT_RATE_BURST")
    models_dev_url: str = Field("https://models.dev/api.json", alias="MODELS_DEV_URL")
    ecb_rates_url: str = Field("https://www.ecb.europa.eu/stats/eurofxref/eurofxref-daily.xml", alias="ECB_RATES_URL")
    ownpilot_private_providers: bool = Field(False, alias="OWNPILOT_PRIVATE_PROVIDERS")
    ownpilot_model_silence: float = Field(120, gt=0, alias="OWNPILOT_MODEL_SILENCE")
    google_auth_url: str = Field("https://accounts.google.com/o/oauth2/v2/auth", alias="GOOGLE_AUTH_URL")
    google_token_url: str = Field("https://oauth2.googleapis.com/token", alias="GOOGLE_TOKEN_URL")
    google_userinfo_url: str = Field("https://openidconnect.googleapis.com/v1/userinfo", alias="GOOGLE_USERINFO_URL")
    google_revoke_url: str = Field("https://oauth2.googleapis.com/revoke", alias="GOOGLE_REVOKE_URL")
    telegram_api_base: str = Field("https://api.telegram.org", alias="TELEGRAM_API_BASE")
    slack_api_base: str = Field("https://slack.com/api", alias="SLACK_API_BASE")
    discord_api_base: str = Field("https://discord.com/api/v10", alias="DISCORD_API_BASE")
    ownpilot_code_subnet: str = Field("", alias="OWNPILOT_CODE_SUBNET")
    ownpilot_tools_in_container: bool = Field(False, alias="OWNPILOT_TOOLS_IN_CONTAINER")

    @field_validator("apis")
    @classmethod
    def _of_known_apis(cls, value: str) -> str:
        """Return the names without white space, empty ones and repetitions."""
        names = list(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
        if unknown := set(names) - {*_APIS.split(",")}:
            raise ValueError(f"there is no API {', '.join(sorted(unknown))}; there are {_APIS}")
        return ",".join(names)

    @model_validator(mode="before")
    @classmethod
    def _without_unresolved_references(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Replace references to Key Vault that the platform could not resolve by "": they are public, no secrets."""
        return {name: "" if str(value).startswith("@Microsoft.KeyVault(") else value for name, value in values.items()}

    @property
    def api_names(self) -> list[str]:
        """The APIs to serve, in their order."""
        return [name for name in self.apis.split(",") if name]

    @property
    def account(self) -> StorageAccount:
        """The storage account: by name (identity), or by connection string (key)."""
        if self.storage_account_name:
            name = self.storage_account_name
            return StorageAccount(name, None, *(f"https://{name}.{kind}.core.windows.net" for kind in _SERVICES))
        text = EMULATOR if "UseDevelopmentStorage=true" in self.storage else self.storage
        parts = dict(item.split("=", 1) for item in text.strip(";").split(";"))
        name, scheme = parts["AccountName"], parts.get("DefaultEndpointsProtocol", "https")
        suffix = parts.get("EndpointSuffix", "core.windows.net")

        def url(kind: str) -> str:
            return (parts.get(f"{kind.capitalize()}Endpoint") or f"{scheme}://{name}.{kind}.{suffix}").rstrip("/")

        return StorageAccount(name, parts["AccountKey"], *map(url, _SERVICES))

    @property
    def base_url(self) -> str:
        """The address at which containers, Web PubSub and clients reach this app, without a trailing slash."""
        if self.public_url:
            return self.public_url.rstrip("/")
        host = self.website_hostname
        return f"{'http' if _is_loopback(f'//{host}') else 'https'}://{host}"

    @property
    def is_deployed(self) -> bool:
        """Whether others than this machine may reach the app or its records: then no published key is good enough."""
        return bool(self.storage_account_name) or not _is_loopback(self.base_url)


def _is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


@cache
def settings() -> Settings:
    """Return the settings of this process."""
    return Settings.model_validate(dict(os.environ))
