"""File shares of storage accounts: each a folder, made and removed through the management wire."""

import json
from pathlib import Path

from infra.emulator.containers.bodies import LABEL, Json, invalid, not_found
from infra.emulator.containers.process import remove

TYPE = "Microsoft.Storage/storageAccounts/fileServices/shares"


class Shares:
    """The shares of every account, in `folder`/<account>/<share>; what is known of one stands beside it."""

    def __init__(self, folder: Path):
        self.root = folder

    def folder(self, account: str, share: str) -> Path:
        """Where the files of a share are; FileNotFoundError when there is no such share."""
        folder = self.root / account.lower() / share.lower()
        if not LABEL.fullmatch(share.lower()) or not LABEL.fullmatch(account.lower()) or not folder.is_dir():
            raise FileNotFoundError(f"The share '{share}' of the storage account '{account}' does not exist.")
        return folder

    def create(self, account: str, share: str, properties: Json) -> bool:
        """Make it, or change what is known of it; whether it is new."""
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
        """Remove it and its files; whether it was there."""
        try:
            folder = self.folder(account, share)
        except FileNotFoundError:
            return False
        folder.with_name(folder.name + ".json").unlink(missing_ok=True)
        remove(str(folder))
        return True
