"""Services that a person configures, and their entries: checked by the schema of the service, secrets sealed."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, cast

from pydantic import HttpUrl, StringConstraints, TypeAdapter, ValidationError

from functions.ownpilot.core.entry import Entry, Given
from shared import sealing
from shared.http.errors import InvalidRequest
from shared.sealing import Context, SealBroken
from shared.tables import Collection

FieldType = Literal["string", "secret", "url", "number", "boolean", "select", "json"]
Short = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class ConfigOption(Given):
    """One choice of a field."""

    value: str
    label: str = ""


class ConfigField(Given):
    """One field of an entry."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,99}$")]
    label: str = ""
    type: FieldType
    required: bool = False
    default_value: Any = None
    env_var: str | None = None
    placeholder: str | None = None
    description: str | None = None
    options: list[ConfigOption] | None = None
    order: int | None = None


class Requirer(Given):
    """Who needs a service: a tool, a plugin."""

    type: Short
    name: Short
    id: Short


class ConfigService(Entry):
    """A service and the schema of its entries. `is_deleted`: one of the services of the start that was deleted.

    `default_entry` is the id of its default entry; while there is no such entry, the oldest one is the default.
    """

    name: str
    display_name: str
    category: str
    description: str | None = None
    docs_url: str | None = None
    config_schema: list[ConfigField] = []
    multi_entry: bool = False
    is_active: bool = True
    required_by: list[Requirer] = []
    default_entry: str | None = None
    is_deleted: bool = False

    @property
    def secret_names(self) -> set[str]:
        """The names of the fields whose values are sealed."""
        return {each.name for each in self.config_schema if each.type == "secret"}


class ConfigEntry(Entry):
    """Values for a service: `data` in clear, the secret ones as sealed JSON.

    `only_of` names the service of the single entry of a service that has one at most.
    """

    service_name: str
    label: str = "Default"
    data: dict[str, Any] = {}
    sealed: str | None = None
    is_active: bool = True
    only_of: str | None = None

    @property
    def has_values(self) -> bool:
        """Whether it has a value, secret or not."""
        return bool(self.sealed) or any(value not in (None, "") for value in self.data.values())

    def secrets(self) -> dict[str, Any]:
        """Return the secret values. `SealBroken`."""
        if self.sealed is None:
            return {}
        return cast("dict[str, Any]", json.loads(sealing.unseal(self.sealed, self._context)))

    def readable_secrets(self) -> dict[str, Any]:
        """Return the secret values, none when they do not open: they must be entered again then."""
        try:
            return self.secrets()
        except SealBroken:
            return {}

    def fill(self, service: ConfigService, values: Mapping[str, Any]) -> None:
        """Take over values, which `checked` has returned: null removes one; a secret's own mask leaves it as it is.

        `InvalidRequest` when a required value is missing then.
        """
        secrets = self.readable_secrets()
        after = {**self.data, **secrets}
        for name, value in values.items():
            is_secret = name in service.secret_names or name in secrets
            if value is None:
                after.pop(name, None)
            elif not (is_secret and name in after and value == mask(after[name])):
                after[name] = value
        for field in service.config_schema:
            if field.required and field.default_value in (None, "") and after.get(field.name) in (None, ""):
                raise InvalidRequest(f"data.{field.name}: must be given")
        self._store(after, service.secret_names | secrets.keys())

    def arrange(self, service: ConfigService) -> None:
        """Seal the values that the service calls secret."""
        secrets = self.readable_secrets()
        self._store({**self.data, **secrets}, service.secret_names | secrets.keys())

    def _store(self, values: Mapping[str, Any], secret: set[str]) -> None:
        # An empty secret is not kept: sealed, it would count as a value.
        secrets = {name: value for name, value in values.items() if name in secret and value != ""}
        self.data = {name: value for name, value in values.items() if name not in secret}
        if secrets:
            self.sealed = sealing.seal(json.dumps(secrets), self._context)
        elif self.readable_secrets():  # what does not open stays until it is entered again: its key may come back
            self.sealed = None

    @property
    def _context(self) -> Context:
        return Context(config_entries.table, self.id, "sealed")


config_services = Collection("OwnpilotConfigServices", ConfigService, plain=True, unique=["name"])
config_entries = Collection("OwnpilotConfigEntries", ConfigEntry, plain=True, unique=["only_of"])
sealing.declare(config_entries, "sealed")


def mask(secret: Any) -> Any:
    """Return a secret as it is shown: the first and the last four characters of a long text, of others nothing."""
    if secret == "":
        return ""
    return f"{secret[:4]}...{secret[-4:]}" if isinstance(secret, str) and len(secret) >= 8 else "****"


@cache
def _url() -> TypeAdapter[Any]:
    return TypeAdapter(HttpUrl)


def _is_url(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(_url().validate_python(value))
    except ValidationError:
        return False


_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "string": (lambda value: isinstance(value, str), "must be a text"),
    "secret": (lambda value: isinstance(value, str), "must be a text"),
    "url": (_is_url, "must be an address that begins with http:// or https://"),
    "number": (lambda value: isinstance(value, int | float) and not isinstance(value, bool), "must be a number"),
    "boolean": (lambda value: isinstance(value, bool), "must be true or false"),
    "json": (lambda value: True, ""),
}


def checked(service: ConfigService, data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return values that suit the schema of a service. `InvalidRequest` names the first that does not.

    Null and an empty text remove a value, so every field may have them. A service without a schema takes any values.
    """
    schema = service.config_schema
    return checked_values(service.name, schema, data, "data", is_closed=bool(schema))


def checked_values(
    owner: str, schema: Sequence[ConfigField], data: Mapping[str, Any], place: str, *, is_closed: bool
) -> Mapping[str, Any]:
    """Return values that suit the fields of `owner`, a name; `place` is the member of the request that holds them.

    `InvalidRequest` names the first value that does not suit; `is_closed`: or that has no field.
    """
    fields = {each.name: each for each in schema}
    for name, value in data.items():
        field = fields.get(name)
        if field is None:
            if is_closed:
                raise InvalidRequest(f"{place}.{name[:100]}: {owner} has no such field")
            continue
        if value is None or value == "":
            continue
        if field.type == "select":
            choices = [option.value for option in field.options or []]
            if choices and value not in choices:
                raise InvalidRequest(f"{place}.{name}: must be one of {', '.join(choices)}")
        else:
            suits, why = _CHECKS[field.type]
            if not suits(value):
                raise InvalidRequest(f"{place}.{name}: {why}")
    return data
