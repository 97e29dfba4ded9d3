"""The secrets of one environment's services. Whoever has them can do what the app can do."""

import base64
import os
import secrets
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path


def _new_key() -> str:
    """64 random bytes in base64, as the keys of a storage account."""
    return base64.b64encode(secrets.token_bytes(64)).decode()


@dataclass(frozen=True)
class Keys:
    """Made anew for each environment, unless they are given."""

    storage: str = field(default_factory=_new_key, repr=False)
    webpubsub: str = field(default_factory=_new_key, repr=False)
    containers: str = field(default_factory=partial(secrets.token_urlsafe, 32), repr=False)

    @classmethod
    def kept_in(cls, state: Path) -> "Keys":
        """The keys of an environment that keeps its data in this folder; the token of Container Instances is new."""
        private_folder(state)
        return cls(storage=_kept(state / "storage-key"), webpubsub=_kept(state / "webpubsub-key"))


def private_folder(folder: Path) -> None:
    """Make a folder that only this user can open, or make an existing one so."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)


def write_private(file: Path, text: str) -> None:
    """Write a file that only this user can read; it is replaced as a whole."""
    partial_file = file.with_name(f"{file.name}.new")
    partial_file.unlink(missing_ok=True)
    with os.fdopen(os.open(partial_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as writer:
        writer.write(text)
    partial_file.replace(file)


def _kept(file: Path) -> str:
    if not file.exists():
        write_private(file, _new_key())
    return file.read_text()
