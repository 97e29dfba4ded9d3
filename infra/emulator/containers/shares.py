"""File shares of storage accounts, and the keys of the accounts; each share is a folder."""

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path

from infra.emulator.containers.bodies import LABEL, Json, invalid, not_found
from infra.emulator.containers.process import remove

TYPE = "Microsoft.Storage/storageAccounts/fileServices/shares"
LARGEST = 102_400
"""The largest quota in GiB."""
DEFAULT = 5120
"""The quota of a share that is created without one."""
KEYS = ("key1", "key2")
ACCOUNT = re.compile(r"[a-z0-9]{3,24}")


class Shares:
    """The shares of all accounts, in `folder`/<account>/<share>; each has its properties in <share>.json beside it.

    Every account whose name is valid exists.
    """

    def __init__(self, folder: Path):
        self.root = folder

    def keys(self, account: str) -> list[Json]:
        """The two keys of an account; they stay the same. Raises ArmError for a name that no account can have."""
        if not ACCOUNT.fullmatch(account.lower()):
            raise invalid("AccountNameInvalid", f"'{account}' is not a valid storage account name.")
        made = [hmac.digest(self._secret(), f"{account.lower()} {name}".encode(), "sha512") for name in KEYS]
        return [
            {"keyName": name, "value": base64.b64encode(key).decode(), "permissions": "FULL"}
            for name, key in zip(KEYS, made, strict=True)
        ]

    def _secret(self) -> bytes:
        """What the keys of all accounts are made from."""
        path = self.root / "secret"
        if not path.exists():
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(secrets.token_bytes(64))
        return path.read_bytes()

    def mounted(self, account: str, share: str, key: str) -> Path:
        """The folder of a share for a container group that has the account's key.

        Raises:
            PermissionError: the key is not one of the account's.
            FileNotFoundError: the share does not exist.
        """
        folder = self.folder(account, share)  # so the name of the account is valid
        if not any(hmac.compare_digest(one["value"].encode(), key.encode()) for one in self.keys(account)):
            raise PermissionError(f"The key of the storage account '{account}' is wrong.")
        return folder

    def folder(self, account: str, share: str) -> Path:
        """The folder with the files of a share. Raises FileNotFoundError when the share does not exist."""
        folder = self.root / account.lower() / share.lower()
        if not ACCOUNT.fullmatch(account.lower()) or not LABEL.fullmatch(share.lower()) or not folder.is_dir():
            raise FileNotFoundError(f"The share '{share}' of the storage account '{account}' does not exist.")
        return folder

    def create(self, account: str, share: str, properties: Json) -> bool:
        """Create a share or change its quota and metadata; returns whether it is new.

        Raises:
            ArmError: a name, the quota or the metadata is invalid.
        """
        if not LABEL.fullmatch(share) or len(share) < 3 or "--" in share or not ACCOUNT.fullmatch(account):
            raise invalid("InvalidResourceName", f"The share name '{share}' is invalid.")
        given = {name: properties[name] for name in ("shareQuota", "metadata") if properties.get(name) is not None}
        quota, metadata = given.get("shareQuota", DEFAULT), given.get("metadata", {})
        if type(quota) is not int or not 1 <= quota <= LARGEST:
            raise invalid("InvalidValue", f"The share quota {quota!r} is not a number of GiB from 1 to {LARGEST}.")
        if not isinstance(metadata, dict) or not all(
            re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) and isinstance(value, str) for name, value in metadata.items()
        ):
            raise invalid("InvalidMetadata", "The names of metadata are identifiers, and their values are texts.")
        folder = self.root / account / share
        known = folder.with_name(share + ".json")
        new = not folder.is_dir()
        before = json.loads(known.read_text()) if known.exists() and not new else {"shareQuota": DEFAULT}
        kept = {**before, **given, "lastModifiedTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        known.write_text(json.dumps(kept))
        folder.mkdir(mode=0o700, exist_ok=True)  # last, because it is the folder that makes a share exist
        return new

    def properties(self, account: str, share: str, resource_group: str) -> Json:
        try:
            folder = self.folder(account, share)
        except FileNotFoundError:
            raise not_found(TYPE, share, resource_group) from None
        return json.loads(folder.with_name(folder.name + ".json").read_text())

    def names(self, account: str) -> list[str]:
        folder = self.root / account.lower()
        if not ACCOUNT.fullmatch(account.lower()) or not folder.is_dir():
            return []
        return sorted(share.name for share in folder.iterdir() if share.is_dir() and LABEL.fullmatch(share.name))

    def delete(self, account: str, share: str) -> bool:
        """Remove a share with its files; returns whether it existed."""
        try:
            folder = self.folder(account, share)
        except FileNotFoundError:
            return False
        # A name that no share can have, so that it is gone at once and an interrupted removal is no share.
        gone = self.root / account.lower() / f"{folder.name}.json.gone"
        remove(str(gone))
        folder.rename(gone)
        folder.with_name(folder.name + ".json").unlink(missing_ok=True)
        remove(str(gone))
        return True


def etag(properties: Json) -> str:
    """The version of a share with these properties."""
    return f'"0x{hashlib.sha256(json.dumps(properties).encode()).hexdigest()[:16].upper()}"'
