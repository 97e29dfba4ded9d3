"""A whole local environment: storage, Container Instances, Web PubSub and the Functions host, as child processes."""

import asyncio
import base64
import functools
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from infra.emulator import azurite, webpubsub
from infra.emulator.processes import ROOT, Child, free_ports, listening, python

NODE_MODULES = ROOT / "infra/local/node_modules"
"""Where `npm ci` installs Azurite and the command lines that the runner's image holds."""

PORTS = {"host": 7071, "containers": 7072, "webpubsub": 7073, "blob": 10000, "queue": 10001, "table": 10002}
"""The ports of `make run`, which the sample settings name too."""

SOCKETS = {"/gateway/ws": "gateway", "/stepflow": "stepflow", "/stepflow/ws": "stepflow"}
"""The documented socket paths, and the hub to which the host forwards each of them."""

IMAGE = "runyard/runner:1"

WEBPUBSUB_KEY = "RunyardLocalWebPubSubAccessKeyThatEverybodyKnows="
"""Access key of Web PubSub here; it is published, because the service listens on the loopback interface only."""


@dataclass
class Environment:
    """All services with one set of ports; `state` is the folder for logs and data.

    Without `keep`, storage is in memory; without `serve`, the Functions host is not started. `settings` override the
    app settings that are made here; with `reload`, the host loads the app again when a file changes.
    """

    state: Path
    ports: Mapping[str, int] = field(default_factory=lambda: PORTS)
    keep: bool = True
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    reload: bool = False
    serve: bool = True
    host: Child | None = None
    storage: Child | None = None
    containers: Child | None = None
    webpubsub: Child | None = None
    storage_key: str = ""
    """The account key of the storage. It is one of its own, because containers reach the storage by signed links."""

    def __post_init__(self) -> None:
        if not self.storage_key:
            self.storage_key = self._kept_key()

    def _kept_key(self) -> str:
        if "AzureWebJobsStorage" in self.settings or not self.serve:
            return azurite.KEY  # the user's settings name it
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.state / "storage.key"
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                file.write(base64.b64encode(secrets.token_bytes(64)).decode())
        return path.read_text()

    @classmethod
    def temporary(cls, state: Path, **settings: str) -> "Environment":
        """An environment on free ports, whose storage is in memory."""
        return cls(state, dict(zip(PORTS, free_ports(len(PORTS)), strict=True)), keep=False, settings=settings)

    @property
    def url(self) -> str:
        """The base URL of the Functions host."""
        return f"http://127.0.0.1:{self.ports['host']}"

    @property
    def app_settings(self) -> dict[str, str]:
        """The app settings that name the services of this environment."""
        ports = self.ports
        return {
            "AzureWebJobsStorage": azurite.connection_string(
                ports["blob"], ports["queue"], ports["table"], self.storage_key
            ),
            "RUNYARD_PUBLIC_URL": self.url,
            "RUNYARD_ARM_ENDPOINT": f"http://127.0.0.1:{ports['containers']}",
            "RUNYARD_WEBPUBSUB": webpubsub.connection_string(ports["webpubsub"], WEBPUBSUB_KEY),
            "RUNYARD_RUNNER_IMAGE": IMAGE,
            **self.settings,
        }

    async def start(self) -> None:
        """Start all services. Raises NotReady when one does not start; the others are stopped then."""
        self.state.mkdir(parents=True, exist_ok=True)
        self._write("images.json", {IMAGE: self._build_image()})
        handler = {
            "url": f"{self.url}/realtime/{{hub}}/{{event}}",
            "user_events": "*",
            "system_events": ["connect", "connected", "disconnected"],
        }
        hubs: dict[str, object] = {hub: {"anonymous": True, "handlers": [handler]} for hub in SOCKETS.values()}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.start_storage())
                group.create_task(self._start_containers())
                group.create_task(self._start_webpubsub(hubs))
                if self.serve:
                    group.create_task(self.start_host())
        except BaseException as error:  # Ctrl-C too
            await self.stop()
            if isinstance(error, BaseExceptionGroup):
                raise error.exceptions[0] from None
            raise

    async def stop(self) -> None:
        """Stop all services, the host first, because running functions need the others."""
        if self.host:
            await self.host.stop()
        await asyncio.gather(*(child.stop() for child in (self.storage, self.containers, self.webpubsub) if child))

    def _build_image(self) -> dict[str, object]:
        """The entry of the runner's image: its Dockerfile's files are copied to a folder that containers can read."""
        folder = self.state / "runner"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for path in (*(ROOT / "infra/runner").glob("*.py"), ROOT / "shared/order.py", ROOT / "shared/redaction.py"):
            shutil.copy(path, folder)
        # The Dockerfile installs these command lines; here they are development dependencies.
        start = f'PATH="$PATH:{NODE_MODULES}/.bin" exec python3 {folder}/runner.py'
        return {
            "entrypoint": ["sh", "-c", start],
            "read_only": [str(folder), str(NODE_MODULES)],
            "internet": True,  # prompts and commands install packages
            "ways_out": self._ways_out(),
        }

    def _ways_out(self) -> list[dict[str, str]]:
        """What a job's container may call on this machine: the app's pushes, signed links, and a model's stand-in."""
        ways = [{"url": f"{self.url}/jobs/"}]
        ways += [{"url": f"http://127.0.0.1:{self.ports['blob']}/{azurite.ACCOUNT}/", "query": "sig"}]
        model = self.settings.get("RUNYARD_ANTHROPIC_URL", "")
        return [*ways, *([{"url": f"{model.rstrip('/')}/"}] if model.startswith("http://127.0.0.1:") else [])]

    def allow(self, url: str) -> None:
        """Let containers that are started from now on call this URL of the machine, too."""
        images = json.loads((self.state / "images.json").read_text())
        images[IMAGE]["ways_out"].append({"url": url})
        self._write("images.json", images)

    async def start_storage(self) -> None:
        """Start the storage emulator, at first or after it was stopped."""
        folder = self.state / "azurite" if self.keep else None
        ports = (self.ports["blob"], self.ports["queue"], self.ports["table"])
        self.storage = await azurite.start(
            ports, node_modules=NODE_MODULES, folder=folder, log=self._log("azurite"), key=self.storage_key
        )

    async def _start_containers(self) -> None:
        port = self.ports["containers"]
        arguments = ["--port", str(port), "--state", str(self.state / "containers")]
        self.containers = self._child("containers", *arguments, "--images", str(self.state / "images.json"))
        await self.containers.start(functools.partial(listening, port))

    async def _start_webpubsub(self, hubs: dict[str, object]) -> None:
        self.webpubsub = await webpubsub.start(
            self.ports["webpubsub"], hubs, folder=self.state / "webpubsub", key=WEBPUBSUB_KEY
        )

    async def start_host(self) -> None:
        """Start the Functions host, at first or after it was killed."""
        sockets: list[str] = []
        for path, hub in SOCKETS.items():
            sockets += ["--socket", f"{path}=ws://127.0.0.1:{self.ports['webpubsub']}/client/hubs/{hub}"]
        arguments = [
            "--app",
            str(ROOT),
            "--port",
            str(self.ports["host"]),
            "--state",
            str(self.state / "host"),
            *sockets,
        ]
        self.host = self._child("host", *arguments, *(["--reload"] if self.reload else []), env=self.app_settings)
        await self.host.start(self._responds)

    async def _responds(self) -> bool:
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(f"{self.url}/admin/host/ping") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

    def _child(self, name: str, *arguments: str, env: dict[str, str] | None = None) -> Child:
        return Child(name, python(f"infra.emulator.{name}", *arguments), log=self._log(name), env=env)

    def _log(self, name: str) -> Path:
        return self.state / "logs" / f"{name}.log"

    def _write(self, name: str, value: object) -> None:
        path = self.state / name
        partial = path.with_suffix(".new")
        partial.write_text(json.dumps(value, indent=2))
        partial.replace(path)
