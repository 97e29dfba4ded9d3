"""The host's half of the worker protocol, for one pass: index an app, load every function, send requests.

Run as `worker_host.py models` in the app's folder, or `worker_host.py events` in that of the sample app, with
Python >= 3.13, the app's settings and (for models) an API key as `KEY` in the environment; prints what it saw as one
line of JSON.
"""

import asyncio
import contextlib
import json
import os
import sys
import types
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import azure_functions_runtime as runtime  # pyright: ignore[reportMissingImports]

MESSAGES = (
    "WorkerInitResponse WorkerMetadata FunctionMetadataResponse FunctionLoadResponse InvocationResponse RpcException"
    " FunctionEnvironmentReloadResponse RpcRetryOptions RpcHttp NullableString NullableBool NullableDouble"
    " NullableTimestamp Timestamp RpcFunctionMetadata RpcHttpCookie"
)


class Message:
    """A protobuf message as its reader sees it: a field that is not set is None; `one_of` is its one-of group."""

    one_of: tuple[str, ...] = ()

    def __init__(self, **fields: Any):
        self.__dict__.update(fields)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name[0].isupper():
            raise AttributeError(name)

    def WhichOneof(self, group: str) -> str | None:
        return next((name for name in self.one_of if getattr(self, name) is not None), None)


def message(name: str, **members: Any) -> Any:
    """A message type; `members` are its constants."""
    return type(name, (Message,), members)


protos = types.SimpleNamespace(**{name: message(name) for name in MESSAGES.split()})
protos.TypedData = message("TypedData", one_of=("string", "json", "bytes", "http", "int", "double"))
protos.ParameterBinding = message("ParameterBinding", one_of=("data", "rpc_shared_memory"))
protos.StatusResult = message("StatusResult", Failure=0, Success=1, Cancelled=2)
protos.BindingInfo = message("BindingInfo", **{"in": 0}, out=1, inout=2, undefined=0, string=1, binary=2, stream=3)


async def ask(kind: str, **fields: Any) -> Any:
    """Send one message to the worker library; ends the program when it answers with a failure."""
    request = types.SimpleNamespace(
        request=types.SimpleNamespace(**{kind: Message(**fields)}), properties={"host": "127.0.0.1", "protos": protos}
    )
    answer = await getattr(runtime, kind)(request)
    if answer.result.status != protos.StatusResult.Success:
        raise SystemExit(f"{kind}: {answer.result.exception.message}")
    return answer


class Worker:
    """The worker library with an app, whose functions it has indexed and loaded."""

    async def start(self, folder: str) -> None:
        """Index the app in this folder and load its functions."""
        runtime.start_threadpool_executor()
        where = {"function_app_directory": folder}
        init = await ask("worker_init_request", capabilities={}, host_version="4.0.0", worker_directory="", **where)
        self.url: str = init.capabilities["HttpUri"]
        found = (await ask("functions_metadata_request", **where)).function_metadata_results
        self.functions = {function.name: function for function in found}
        for function in found:
            await ask("function_load_request", function_id=function.function_id, metadata=Message(name=function.name))

    @contextlib.asynccontextmanager
    async def request(self, function: str, method: str, path: str, **headers: str) -> AsyncIterator[Any]:
        """Invoke a function, and send the request itself to the worker's web server as soon as that listens."""
        found, invocation = self.functions[function], str(uuid.uuid4())
        trigger = next(b["name"] for b in map(json.loads, found.raw_bindings) if b["type"] == "httpTrigger")
        empty = Message(method="", url="", headers={}, query={}, params={}, body=protos.TypedData())
        invoked = asyncio.create_task(
            ask(
                "invocation_request",
                invocation_id=invocation,
                function_id=found.function_id,
                input_data=[protos.ParameterBinding(name=trigger, data=protos.TypedData(http=empty))],
                trigger_metadata={},
                trace_context=Message(trace_parent="", trace_state="", attributes={}),
                retry_context=Message(retry_count=0, max_retry_count=0),
            )
        )
        headers["x-ms-invocation-id"] = invocation
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    answer = await session.request(method, self.url + path, headers=headers)
                    break
                except aiohttp.ClientConnectorError:
                    await asyncio.sleep(0.05)
            async with answer:
                yield answer
        await invoked


async def models(worker: Worker) -> dict[str, Any]:
    """Ask the gateway for its models."""
    key = f"Bearer {os.environ['KEY']}"
    async with worker.request("gateway_000_list_models", "GET", "/gateway/api/models", Authorization=key) as answer:
        return {"status": answer.status, "body": await answer.json()}


async def events(worker: Worker) -> dict[str, Any]:
    """Read the sample's server-sent events; each is sent only after the one before it has arrived here."""
    path, numbers = "/sample/events/one", list[int]()
    async with worker.request(named(worker, "watch_events"), "GET", path) as stream:
        async for line in stream.content:
            if line.startswith(b"data: "):
                numbers.append(json.loads(line.removeprefix(b"data: "))["number"])
                async with worker.request(named(worker, "go_on"), "POST", path) as answer:
                    assert answer.status == 200, await answer.text()
    return {"numbers": numbers}


def named(worker: Worker, handler: str) -> str:
    """The Function of a handler: its name has the API and a number in front."""
    return next(name for name in worker.functions if name.endswith(f"_{handler}"))


async def main() -> None:
    """Start the worker with the app in this folder, and do what the argument names."""
    sys.path[0] = os.getcwd()  # noqa: PTH109 - in the place of this file's folder, whose packages have the app's names
    worker = Worker()
    await worker.start(sys.path[0])
    shown = await {"models": models, "events": events}[sys.argv[1]](worker)
    print(json.dumps({"functions": list(worker.functions), **shown}), flush=True)
    os._exit(0)  # the worker's web server never ends by itself


asyncio.run(main())
