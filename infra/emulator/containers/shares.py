"""File shares of storage accounts; each share is a folder."""

import json
from pathlib import Path

from infra.emulator.containers.bodies import LABEL, Json, invalid, not_found
from infra.emulator.containers.process import remove

TYPE = "Microsoft.Storage/storageAccounts/fileServices/shares"


class Shares:
    """The shares of all accounts, in `folder`/<account>/<share>; each has its properties in <share>.json beside it."""

    def __init__(self, folder: Path):
        self.root = folder

    def folder(self, account: str, share: str) -> Path:
        """The folder with the files of a share. Raises FileNotFoundError when the share does not exist."""
        folder = self.root / account.lower() / share.lower()
        if not LABEL.fullmatch(share.lower()) or not LABEL.fullmatch(account.lower()) or not folder.is_dir():
            raise FileNotFoundError(f"The share '{share}' of the storage account '{account}' does not exist.")
        return folder

    def create(self, account: str, share: str, properties: Json) -> bool:
        """Create a share or change its properties; returns whether it is new. Raises ArmError for an invalid name."""
        if not LABEL.fullmatch(share) or len(share) < 3 or not LABEL.fullmatch(account):
            raise invalid("InvalidResourceName", f"The share name '{share}' is invalid.")
        folder = self.root / account / share
        known = folder.with_name(share + ".json")
        new = not folder.is_dir()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        before = json.loads(known.read_text()) if known.exists() else {"shareQuota": 5120}
        known.write_text(json.dumps(before | properties))
        return new

    def properties(self, account: str, share: str, resource_group: str) -> Json:
        try:
            folder = self.folder(account, share)
        except FileNotFoundError:
            raise not_found(TYPE, share, resource_group) from None
        return json.loads(folder.with_name(folder.name + ".json").read_text())

    def names(self, account: str) -> list[str]:
        folder = self.root / account.lower()
        if not LABEL.fullmatch(account.lower()) or not folder.is_dir():
            return []
        return sorted(share.name for share in folder.iterdir() if share.is_dir())

    def delete(self, account: str, share: str) -> bool:
        """Remove a share with its files; returns whether it existed."""
        try:
            folder = self.folder(account, share)
        except FileNotFoundError:
            return False
        folder.with_name(folder.name + ".json").unlink(missing_ok=True)
        remove(str(folder))
        return True
