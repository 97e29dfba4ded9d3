"""A whole local environment: storage, Container Instances, Web PubSub and the Functions host, as child processes."""

import asyncio
import compileall
import functools
import importlib.util
import json
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from infra.emulator import azurite, providers, webpubsub
from infra.emulator.processes import ROOT, Child, free_ports, listening, python
from infra.local import pip_settings
from infra.local.keys import Keys, private_folder
from infra.local.workspaces import workspace_images

NODE_MODULES = ROOT / "infra/local/node_modules"
"""Where `npm ci` installs Azurite and the command lines that the runner's image holds."""

PORTS = {
    "host": 7071, "containers": 7072, "webpubsub": 7073,
    "blob": 10000, "queue": 10001, "table": 10002, "providers": 7074,
}  # fmt: skip
"""The ports of `make run`, which the sample settings name too."""

USED_IN_CONTAINERS = (8080, 8443)
"""The ports of a workspace, which could not reach the app on the same port."""


def ports_from(first: int) -> dict[str, int]:
    """This port for the Functions host, and those after it for the services. Raises ValueError with what to do."""
    ports = range(first, first + len(PORTS))
    if first < 1024 or ports[-1] > 65535:
        raise ValueError("choose one from 1024 to 65529")
    if first in USED_IN_CONTAINERS:
        raise ValueError("it is used in containers, so choose another one")
    return dict(zip(PORTS, ports, strict=True))


SOCKETS = {"/gateway/ws": "gateway", "/stepflow": "stepflow", "/stepflow/ws": "stepflow", "/ownpilot/ws": "ownpilot"}
"""The documented socket paths, and the hub to which the host forwards each of them."""

WARM = "warm"
"""The hub of warm containers, which needs a token."""

IMAGE = "runyard/runner:1"

BODY_LIMIT = 110 * 1024 * 1024
"""Bytes of a request that the host takes: an upload of 100 MiB, and the form around it."""


@dataclass
class Environment:
    """All services with one set of ports; `state` is the folder for logs and data.

    Without `keep`, storage is in memory; without `serve`, the Functions host is not started. `settings` override the
    app settings that are made here; with `reload`, the host loads the app again when a file changes. `keys` are the
    secrets with which the services are called.
    """

    state: Path
    ports: Mapping[str, int] = field(default_factory=lambda: PORTS)
    keep: bool = True
    keys: Keys = field(default_factory=Keys)
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    reload: bool = False
    serve: bool = True
    host: Child | None = None
    storage: Child | None = None
    containers: Child | None = None
    webpubsub: Child | None = None
    providers: Child | None = None

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
                ports["blob"], ports["queue"], ports["table"], self.keys.storage
            ),
            "RUNYARD_PUBLIC_URL": self.url,
            "RUNYARD_ARM_ENDPOINT": f"http://127.0.0.1:{ports['containers']}",
            "RUNYARD_ARM_TOKEN": self.keys.containers,
            "RUNYARD_WEBPUBSUB": webpubsub.connection_string(ports["webpubsub"], self.keys.webpubsub),
            "RUNYARD_RUNNER_IMAGE": IMAGE,
            "MODELS_DEV_URL": f"http://127.0.0.1:{ports['providers']}/api.json",
            "ECB_RATES_URL": f"http://127.0.0.1:{ports['providers']}/stats/eurofxref/eurofxref-daily.xml",
            "RUNYARD_PRIVATE_HOSTS": f"127.0.0.1:{ports['providers']}",
            "OWNPILOT_PRIVATE_PROVIDERS": "true",  # the models of this machine and of its network
            "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": str(BODY_LIMIT),
            **self.settings,
        }

    async def start(self) -> None:
        """Start all services. Raises NotReady when one does not start; the others are stopped then."""
        private_folder(self.state)
        workspaces = workspace_images(self.state, self.url, self.settings)
        self._write("images.json", {IMAGE: self._build_image(), **workspaces})
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.start_storage())
                group.create_task(self.start_containers())
                group.create_task(self.start_webpubsub())
                group.create_task(self.start_providers())
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
        services = (self.storage, self.containers, self.webpubsub, self.providers)
        await asyncio.gather(*(child.stop() for child in services if child))

    def _build_image(self) -> dict[str, object]:
        """The entry of the runner's image: its Dockerfile's files are copied to a folder that containers can read."""
        folder = self.state / "runner"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for path in (*(ROOT / "infra/runner").glob("*.py"), ROOT / "shared/order.py", ROOT / "shared/redaction.py"):
            shutil.copy(path, folder)
        compileall.compile_dir(folder, quiet=1)
        # The Dockerfile installs these command lines and packages; here they are development dependencies.
        tools, runner = shlex.quote(f"{NODE_MODULES}/.bin"), shlex.quote(str(folder / "runner.py"))
        packages = self._link_packages(folder / "packages")
        pip = pip_settings.variables()
        variables = {"PYTHONPATH": str(folder / "packages"), **pip}
        values = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
        start = f'PATH="$PATH":{tools} {values} exec python3 -SEs {runner}'
        return {
            "entrypoint": ["sh", "-c", start],
            "read_only": [str(folder), str(NODE_MODULES), *packages, *pip_settings.paths(pip)],
            "internet": True,  # prompts and commands install packages
            "ways_out": self._ways_out(),
        }

    def _link_packages(self, folder: Path) -> list[str]:
        """Link the Python packages of the image in a folder; the places to which the links lead."""
        folder.mkdir()
        found = [spec for name in ("yaml", "pip") if (spec := importlib.util.find_spec(name))]
        places = {spec.name: (spec.submodule_search_locations or [""])[0] for spec in found}
        for name, place in places.items():
            (folder / name).symlink_to(place)
        return list(places.values())

    def _ways_out(self) -> list[dict[str, str]]:
        """What a job's container may call here: the app's pushes, signed links, the hub `WARM`, a model's stand-in."""
        ways = [{"url": f"{self.url}/jobs/"}]
        ways += [{"url": f"http://127.0.0.1:{self.ports['blob']}/{azurite.ACCOUNT}/", "query": "sig"}]
        ways += [{"url": f"ws://127.0.0.1:{self.ports['webpubsub']}/client/hubs/{WARM}"}]
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
            ports, node_modules=NODE_MODULES, folder=folder, log=self._log("azurite"), key=self.keys.storage
        )

    async def start_containers(self) -> None:
        """Start Container Instances, at first or after it was killed: containers that still run belong to it again."""
        port = self.ports["containers"]
        arguments = ["--port", str(port), "--state", str(self.state / "containers")]
        arguments += ["--images", str(self.state / "images.json"), *self._origins()]
        arguments += self._options({"--reachable": "RUNYARD_LOCAL_REACHABLE"})
        self.containers = self._child("containers", *arguments, env={"CONTAINERS_TOKEN": self.keys.containers})
        await self.containers.start(functools.partial(listening, port))

    async def start_webpubsub(self) -> None:
        """Start Web PubSub, at first or after it was killed."""
        handler = {
            "url": f"{self.url}/realtime/{{hub}}/{{event}}",
            "user_events": "*",
            "system_events": ["connect", "connected", "disconnected"],
        }
        self.webpubsub = await webpubsub.start(
            self.ports["webpubsub"],
            {hub: {"anonymous": hub != WARM, "handlers": [handler]} for hub in (*SOCKETS.values(), WARM)},
            folder=self.state / "webpubsub",
            key=self.keys.webpubsub,
            options=self._origins(),
        )

    async def start_providers(self) -> None:
        """Start the providers of models, at first or after they were killed."""
        port = self.ports["providers"]
        self.providers = await providers.start(port, log=self._log("providers"), options=self._origins())

    def _origins(self) -> list[str]:
        """The command line options that allow the host names and pages which the settings name."""
        return self._options({"--allow-host": "RUNYARD_LOCAL_HOSTS", "--allow-origin": "RUNYARD_CORS_ORIGINS"})

    def _options(self, named: Mapping[str, str]) -> list[str]:
        """Command line options, each repeated for every value of a setting that is a list."""
        return [
            f"{option}={value.strip()}"
            for option, setting in named.items()
            for value in self.settings.get(setting, "").split(",")
            if value.strip()
        ]

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
            *self._origins(),
            *self._options({"--allow-origin": "ANYMIND_CORS_ORIGINS"}),
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
