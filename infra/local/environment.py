"""A whole local environment: storage, Container Instances, Web PubSub and the Functions host, as child processes."""

import asyncio
import functools
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from infra.local import azurite, webpubsub
from infra.local.processes import ROOT, Child, free_ports, listening, python

PORTS = {"host": 7071, "containers": 7072, "webpubsub": 7073, "blob": 10000, "queue": 10001, "table": 10002}
"""Where `make run` serves; the sample settings name the same."""

SOCKETS = {"/gateway/ws": "gateway", "/stepflow": "stepflow", "/stepflow/ws": "stepflow"}
"""Documented socket paths, and the hub each one opens, as a front door would pass them on."""

IMAGE = "runyard/runner:1"


@dataclass
class Environment:
    """`state` holds logs and all data that outlives it.

    Storage is in memory when `keep` is false; no host is started when `serve` is false.
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

    @classmethod
    def temporary(cls, state: Path, **settings: str) -> "Environment":
        """One on free ports, that keeps nothing but its logs."""
        return cls(state, dict(zip(PORTS, free_ports(len(PORTS)), strict=True)), keep=False, settings=settings)

    @property
    def url(self) -> str:
        """Where the host serves."""
        return f"http://127.0.0.1:{self.ports['host']}"

    @property
    def app_settings(self) -> dict[str, str]:
        """The settings with which the app finds the rest of this environment."""
        ports = self.ports
        return {
            "AzureWebJobsStorage": azurite.connection_string(ports["blob"], ports["queue"], ports["table"]),
            "RUNYARD_PUBLIC_URL": self.url,
            "RUNYARD_ARM_ENDPOINT": f"http://127.0.0.1:{ports['containers']}",
            "RUNYARD_WEBPUBSUB": webpubsub.connection_string(ports["webpubsub"]),
            "RUNYARD_RUNNER_IMAGE": IMAGE,
            **self.settings,
        }

    async def start(self) -> None:
        """Start everything; `NotReady` says which part did not come up. What was started is stopped then."""
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
        """Stop everything that was started: the host first, so that it finds the others while it drains."""
        if self.host:
            await self.host.stop()
        await asyncio.gather(*(child.stop() for child in (self.storage, self.containers, self.webpubsub) if child))

    def _build_image(self) -> dict[str, object]:
        """The runner's image: what its Dockerfile copies, in a folder that containers see."""
        folder = self.state / "runner"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for path in (*(ROOT / "infra/runner").glob("*.py"), ROOT / "shared/order.py", ROOT / "shared/redaction.py"):
            shutil.copy(path, folder)
        # The command lines that the Dockerfile installs; here they are development dependencies.
        tools = ROOT / "infra/local/node_modules"
        start = f'PATH="$PATH:{tools}/.bin" exec python3 {folder}/runner.py'
        return {"entrypoint": ["sh", "-c", start], "read_only": [str(folder), str(tools)]}

    async def start_storage(self) -> None:
        """Start the storage emulator, also again after it was stopped."""
        folder = self.state / "azurite" if self.keep else None
        ports = (self.ports["blob"], self.ports["queue"], self.ports["table"])
        self.storage = await azurite.start(ports, folder=folder, log=self._log("azurite"))

    async def _start_containers(self) -> None:
        port = self.ports["containers"]
        arguments = ["--port", str(port), "--state", str(self.state / "containers")]
        self.containers = self._child("containers", *arguments, "--images", str(self.state / "images.json"))
        await self.containers.start(functools.partial(listening, port))

    async def _start_webpubsub(self, hubs: dict[str, object]) -> None:
        self.webpubsub = await webpubsub.start(self.ports["webpubsub"], hubs, folder=self.state / "webpubsub")

    async def start_host(self) -> None:
        """Start the Functions host, also again after it was killed."""
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
        await self.host.start(self._answers)

    async def _answers(self) -> bool:
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(f"{self.url}/admin/host/ping") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

    def _child(self, name: str, *arguments: str, env: dict[str, str] | None = None) -> Child:
        return Child(name, python(f"infra.local.{name}", *arguments), log=self._log(name), env=env)

    def _log(self, name: str) -> Path:
        return self.state / "logs" / f"{name}.log"

    def _write(self, name: str, value: object) -> None:
        path = self.state / name
        partial = path.with_suffix(".new")
        partial.write_text(json.dumps(value, indent=2))
        partial.replace(path)
