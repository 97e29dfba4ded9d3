"""What a request or a trigger does: run one function once, with its context, in a task or thread, and log it."""

import asyncio
import contextlib
import contextvars
import functools
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.emulator.host.index import Function

MOST_TURNS = 1000
log = logging.getLogger("host")


@dataclass
class TraceContext:
    """W3C trace context."""

    trace_parent: str
    trace_state: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass
class RetryContext:
    """The retries of an invocation; always 0, because the host does not retry invocations."""

    retry_count: int = 0
    max_retry_count: int = 0
    exception: Any = None


@dataclass
class Invocation:
    """One run of a function; it has the attributes of `azure.functions.Context` and is passed as the context."""

    function_name: str
    function_directory: str
    trace_context: TraceContext
    invocation_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    retry_context: RetryContext = field(default_factory=RetryContext)
    thread_local_storage: threading.local = field(default_factory=threading.local)
    outcome: str = "succeeded"


current: contextvars.ContextVar[Invocation | None] = contextvars.ContextVar("invocation", default=None)


class InvocationFailed(Exception):
    """An invocation failed; the error is logged."""


class InvocationFormatter(logging.Formatter):
    """Formats log records with the function and invocation that wrote them."""

    def __init__(self) -> None:
        super().__init__("[%(asctime)s.%(msecs)03dZ] %(levelname)s %(where)s%(message)s", "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        invocation = current.get()
        record.where = f"{invocation.function_name} {invocation.invocation_id}: " if invocation else ""
        return super().format(record)


class Invoker:
    """Calls functions: `async` functions on the event loop, others in a pool of threads."""

    def __init__(self, app: Path, *, timeout: float | None, threads: int | None):
        self.app, self.timeout = app, timeout
        self.client_binding: str | None = None
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="function")
        # An orchestrator that never yields keeps its thread after its time limit, so it must not take a shared thread.
        self._turns = ThreadPoolExecutor(MOST_TURNS, thread_name_prefix="orchestrator")

    @contextlib.contextmanager
    def invocation(self, function: Function, trace: TraceContext | None = None) -> Iterator[Invocation]:
        """A context for one invocation: log records inside it carry its id, and its end is logged.

        Raises:
            InvocationFailed: an exception was raised inside; it is logged, and the cause of this one.
        """
        invocation = Invocation(
            function_name=function.name,
            function_directory=str(self.app),
            trace_context=trace or TraceContext(f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-00"),
        )
        token, started = current.set(invocation), time.perf_counter()
        try:
            yield invocation
        except asyncio.CancelledError:
            log.warning("cancelled after %.0f ms", (time.perf_counter() - started) * 1000)
            raise
        except Exception as error:
            log.error("failed after %.0f ms: %s", (time.perf_counter() - started) * 1000, error, exc_info=True)
            raise InvocationFailed from error
        else:
            log.info("%s in %.0f ms", invocation.outcome, (time.perf_counter() - started) * 1000)
        finally:
            current.reset(token)

    async def run(self, function: Function, invocation: Invocation, *values: Any, **inputs: Any) -> Any:
        """Call the function with these inputs, its durable client bindings and its context.

        Raises:
            TimeoutError: it took longer than `functionTimeout`; a function that is not `async` continues in its thread.
        """
        if function.wants_context:
            inputs["context"] = invocation
        inputs |= dict.fromkeys(function.clients, self.client_binding)
        async with asyncio.timeout(self.timeout):
            if function.is_async:
                return await function.call(*values, **inputs)
            call = functools.partial(contextvars.copy_context().run, function.call, *values, **inputs)
            threads = self._turns if function.kind in ("orchestrationTrigger", "entityTrigger") else self._threads
            return await asyncio.get_running_loop().run_in_executor(threads, call)

    def close(self) -> None:
        """Let the threads go; those still busy end with the process."""
        for threads in (self._threads, self._turns):
            threads.shutdown(wait=False, cancel_futures=True)
