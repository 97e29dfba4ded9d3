"""The order that the app gives to the runner in a job's container: what to run, and where to push its output.

Standard library only: the runner's image contains this file too.
"""

import json
from dataclasses import MISSING, asdict, dataclass, field, fields
from types import UnionType
from typing import Any, cast, get_origin

VARIABLE = "RUNYARD_JOB"
"""The environment variable that holds the order as JSON; a secure value of the container group, as it has secrets."""

AGES = "X-Runyard-Ages"
"""The header of a push that says how long ago output was printed: `offset:seconds,...`, offsets ascending."""


class MalformedOrder(ValueError):
    """Raised for a text that is not an order; the message contains none of its values, which may be secret."""


@dataclass(frozen=True)
class InputFile:
    """A file that is downloaded from `url` to `path`, relative to the command's directory, before the command runs."""

    path: str
    url: str = field(repr=False)


@dataclass(frozen=True)
class Order:
    """One job for the runner.

    `url` is the address of the job in the app, `https://app/jobs/<id>`, and `token` its bearer token. `command` is a
    list of arguments; it runs in `directory`, which is created when it does not exist, for at most `timeout` seconds.
    `secrets` are the names of environment variables of the container whose values are masked in the output.
    `environment` are variables for the command, in addition to those of the container. `keep` is a folder below
    `directory` whose files are uploaded at the end. `capture` is a regular expression for lines of output; its group
    `path` names a file to upload at once. `mask_words` is whether values after words such as `key=` are masked too.
    `log_limit` is how many bytes of output are pushed, None for all of it.
    """

    url: str
    token: str = field(repr=False)
    command: list[str]
    directory: str
    timeout: int
    inputs: list[InputFile] = field(default_factory=list[InputFile])
    secrets: list[str] = field(default_factory=list[str])
    environment: dict[str, str] = field(default_factory=dict[str, str])
    keep: str | None = None
    capture: str | None = None
    mask_words: bool = True
    log_limit: int | None = None

    def to_json(self) -> str:
        """Return the order as one JSON object, in which `inputs` is a list of `{"path", "url"}`."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Order":
        """Read an order; members that it does not know are ignored. `MalformedOrder` when one is missing or wrong."""
        try:
            members = json.loads(text)
        except ValueError as error:
            raise MalformedOrder(f"not JSON: {error}") from None
        known = _known_members(cls, members, "the order")
        inputs = [_known_members(InputFile, member, "an input file") for member in known.get("inputs", [])]
        known["inputs"] = [InputFile(**each) for each in inputs]
        return cls(**known)


def _known_members(shape: type, value: Any, what: str) -> dict[str, Any]:
    """Return the members of a JSON object that are fields of `shape`. `MalformedOrder` when one has the wrong type."""
    if not isinstance(value, dict):
        raise MalformedOrder(f"{what} is not a JSON object")
    members = cast(dict[str, Any], value)
    known: dict[str, Any] = {}
    for each in fields(shape):
        if each.name in members:
            known[each.name] = members[each.name]
            if not _has_type(known[each.name], each.type):
                raise MalformedOrder(f"{what}: {each.name} has the wrong type")
        elif each.default is MISSING and each.default_factory is MISSING:
            raise MalformedOrder(f"{what}: {each.name} is missing")
    return known


def _has_type(value: Any, kind: Any) -> bool:
    """Whether a JSON value has an annotated type; the items of lists and objects are not checked."""
    return isinstance(value, kind if isinstance(kind, UnionType) else get_origin(kind) or kind)
