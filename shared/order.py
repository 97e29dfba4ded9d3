"""The order that the app gives to the runner in a job's container: what to run, and where to push its output.

Standard library only: the runner's image contains this file too. Named tuples, because every start of a container
imports it, and dataclasses import three times as much.
"""

import json
from types import UnionType
from typing import Any, NamedTuple, cast, get_origin

VARIABLE = "RUNYARD_JOB"
"""The environment variable that holds the order as JSON; a secure value of the container group, as it has secrets."""

AGES = "X-Runyard-Ages"
"""The header of a push that says how long ago output was printed: `offset:seconds,...`, offsets ascending."""

TREE_LIST = "tree.list"
"""The input file of an order with a tree that lists the files of the tree."""


class MalformedOrder(ValueError):
    """Raised for a text that is not an order; the message contains none of its values, which may be secret."""


class InputFile(NamedTuple):
    """A file that is written to `path`, relative to the command's directory, before the command runs.

    Its content is downloaded from `url`, or is `data` in base64.
    """

    path: str
    url: str = ""
    data: str = ""

    def __repr__(self) -> str:
        """Without the content, and the link to it."""
        return f"InputFile({self.path!r})"


class Order(NamedTuple):
    """One job for the runner.

    `url` is the address of the job in the app, `https://app/jobs/<id>`, and `token` its bearer token. `command` is a
    list of arguments; it runs in `directory`, which is created when it does not exist, for at most `timeout` seconds.
    `secrets` are the names of environment variables of the container whose values are masked in the output.
    `environment` are variables for the command, in addition to those of the container. `keep` is a folder below
    `directory` whose files are uploaded at the end. `report` is the path below `directory` of a file whose content goes
    with the exit. `capture` is a regular expression for lines of output; its group
    `path` names a file to upload at once. `mask_words` is whether values after words such as `key=` are masked too.
    `log_limit` is how many bytes of output are pushed, None for all of it. `tree` is a folder beside `directory` that a
    warm container keeps for the next job: it gets the files that the input `TREE_LIST` lists, and those that the
    command changes are uploaded at the end.
    """

    url: str
    token: str
    command: list[str]
    directory: str
    timeout: int
    inputs: list[InputFile] = []
    secrets: list[str] = []
    environment: dict[str, str] = {}
    keep: str | None = None
    report: str | None = None
    capture: str | None = None
    mask_words: bool = True
    log_limit: int | None = None
    tree: str | None = None

    def __repr__(self) -> str:
        """Without the token, and what the client has given."""
        return f"Order({self.url!r})"

    def to_json(self) -> str:
        """Return the order as one JSON object, in which `inputs` is a list of `{"path", "url", "data"}`."""
        members = {**self._asdict(), "inputs": [each._asdict() for each in self.inputs]}
        return json.dumps(members, ensure_ascii=False)

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


def _known_members(shape: type[InputFile | Order], value: Any, what: str) -> dict[str, Any]:
    """Return the members of a JSON object that are fields of `shape`. `MalformedOrder` when one has the wrong type."""
    if not isinstance(value, dict):
        raise MalformedOrder(f"{what} is not a JSON object")
    members = cast(dict[str, Any], value)
    known: dict[str, Any] = {}
    for name in shape._fields:
        if name in members:
            known[name] = members[name]
            if not _has_type(known[name], shape.__annotations__[name]):
                raise MalformedOrder(f"{what}: {name} has the wrong type")
        elif name not in shape._field_defaults:
            raise MalformedOrder(f"{what}: {name} is missing")
    return known


def _has_type(value: Any, kind: Any) -> bool:
    """Whether a JSON value has an annotated type; the items of lists and objects are not checked."""
    return isinstance(value, kind if isinstance(kind, UnionType) else get_origin(kind) or kind)
