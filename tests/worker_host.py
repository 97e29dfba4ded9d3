"""The host's half of the worker protocol, for one pass: index the app, load every function, send one request.

Run in the app's folder with Python >= 3.13, an API key in `KEY` and the app's settings in the environment; prints what
it saw as one line of JSON.
"""

import asyncio
import json
import os
import sys
import types
import uuid
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


async def forward(url: str, invocation: str) -> dict[str, Any]:
    """Send the request itself to the worker's web server, as soon as that listens."""
    headers = {"x-ms-invocation-id": invocation, "Authorization": f"Bearer {os.environ['KEY']}"}
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(url, headers=headers) as answer:
                    return {"status": answer.status, "body": await answer.json()}
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.05)


async def main() -> None:
    """Index, load, ask for the gateway's models."""
    sys.path.insert(0, str(os.getcwd()))  # noqa: PTH109
    runtime.start_threadpool_executor()
    folder = {"function_app_directory": sys.path[0]}
    init = await ask("worker_init_request", capabilities={}, host_version="4.0.0", worker_directory="", **folder)
    functions = (await ask("functions_metadata_request", **folder)).function_metadata_results
    for function in functions:
        await ask("function_load_request", function_id=function.function_id, metadata=Message(name=function.name))
    models = next(function for function in functions if function.name == "gateway_00_list_models")
    trigger = next(b["name"] for b in map(json.loads, models.raw_bindings) if b["type"] == "httpTrigger")
    empty = Message(method="", url="", headers={}, query={}, params={}, body=protos.TypedData())
    invocation = str(uuid.uuid4())
    answer, _ = await asyncio.gather(
        forward(f"{init.capabilities['HttpUri']}/gateway/api/models", invocation),
        ask(
            "invocation_request",
            invocation_id=invocation,
            function_id=models.function_id,
            input_data=[protos.ParameterBinding(name=trigger, data=protos.TypedData(http=empty))],
            trigger_metadata={},
            trace_context=Message(trace_parent="", trace_state="", attributes={}),
            retry_context=Message(retry_count=0, max_retry_count=0),
        ),
    )
    print(json.dumps({"functions": [function.name for function in functions], **answer}), flush=True)
    os._exit(0)  # the worker's web server never ends by itself


asyncio.run(main())
