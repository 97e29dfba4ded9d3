"""Azurite, the storage emulator of Microsoft, as a child process on loopback ports."""

import functools
import json
import shutil
from pathlib import Path

from infra.emulator.processes import Child, NotReady, listening

ACCOUNT = "devstoreaccount1"
WITHOUT_TELEMETRY = Path(__file__).with_name("without_telemetry.cjs")
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # published


def connection_string(blob: int, queue: int, table: int, key: str = KEY) -> str:
    """The connection string for these ports. Its host is not `localhost`, which the tables SDK takes for Cosmos DB."""
    account = f"http://127.0.0.1:{{}}/{ACCOUNT}"
    return (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};"
        f"BlobEndpoint={account.format(blob)};QueueEndpoint={account.format(queue)};TableEndpoint={account.format(table)};"
    )


async def start(
    ports: tuple[int, int, int], *, node_modules: Path, folder: Path | None, log: Path, key: str = KEY
) -> Child:
    """Start the Azurite that is installed in `node_modules` on (blob, queue, table) ports.

    `folder` keeps the data; None keeps it in memory. Its output is appended to the file `log`. `key` is the key of its
    account, 64 bytes in base64.

    Raises:
        NotReady: Node.js is not installed, or Azurite does not start.
    """
    if shutil.which("node") is None:
        raise NotReady("Node.js is missing: install Node.js 20 or newer, with npm")
    blob, queue, table = ports
    package = node_modules / "azurite"
    script = package / json.loads((package / "package.json").read_text())["bin"]["azurite"]
    where = ["--location", str(folder)] if folder else ["--inMemoryPersistence"]
    child = Child(
        "azurite",
        ["node", "--require", str(WITHOUT_TELEMETRY), str(script),
         "--silent", "--skipApiVersionCheck", "--disableTelemetry",
         "--blobHost", "127.0.0.1", "--queueHost", "127.0.0.1", "--tableHost", "127.0.0.1",
         "--blobPort", str(blob), "--queuePort", str(queue), "--tablePort", str(table), *where],
        log=log,
        env={"AZURITE_ACCOUNTS": f"{ACCOUNT}:{key}"},
    )  # fmt: skip
    await child.start(functools.partial(listening, table))
    return child
