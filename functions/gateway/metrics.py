"""Metrics in the text format of Prometheus."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime

from fastapi import Request
from starlette.responses import Response

from functions.gateway.auth import OPTIONAL_KEY
from functions.gateway.health import uptime
from functions.gateway.job import KIND
from functions.gateway.records import RunStatus
from functions.gateway.store import runs
from shared.api_keys import current_client, require_administrator
from shared.http.api import Api
from shared.http.routes import options, router
from shared.jobs import waiting_jobs
from shared.settings import settings

routes = router("/metrics", "metrics")

Sample = tuple[dict[str, str], float]


@routes.get(
    "",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}, 401: {"description": "The metrics need an API key"}},
    openapi_extra=OPTIONAL_KEY,
)
@options(counted=False)
async def get_prometheus_metrics(request: Request) -> Response:
    """Metrics of the runs of the whole app and of the requests that this instance served."""
    if not settings().metrics_open:
        require_administrator(await current_client(request))
    of_runs, oldest, waiting = await asyncio.gather(
        runs.totals({}),
        runs.page({"status": RunStatus.PENDING}, limit=1, descending=False),
        waiting_jobs.count({"kind": KIND}),
    )
    by_status = of_runs.by("status")
    age = (datetime.now(UTC) - oldest.items[0].created_at).total_seconds() if oldest.items else 0.0
    app = request.app
    assert isinstance(app, Api)
    lines = [
        *_metric("runyard_runs", "gauge", "Runs by status.", [({"status": s}, by_status[s]) for s in RunStatus]),
        *_metric("runyard_runs_waiting", "gauge", "Pending runs that cannot start yet.", [({}, waiting)]),
        *_metric("runyard_run_seconds", "counter", "Execution time.", [({}, of_runs.sum("seconds"))]),
        *_metric("runyard_tokens", "counter", "Tokens used by models.", [({}, of_runs.sum("tokens"))]),
        *_metric("runyard_cost_usd", "counter", "What models cost, in USD.", [({}, of_runs.sum("cost"))]),
        *_metric("runyard_queue_age_seconds", "gauge", "Age of the oldest pending run.", [({}, age)]),
        *_metric("runyard_uptime_seconds", "gauge", "Age of this instance.", [({}, uptime())]),
        *_metric(
            "runyard_http_requests",
            "counter",
            "Requests that this instance served.",
            [
                ({"method": method, "route": path, "status": str(status)}, count)
                for (method, path, status), count in sorted(app.response_counts.items())
            ],
        ),
    ]
    return Response("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4; charset=utf-8")


def _metric(name: str, kind: str, about: str, samples: Iterable[Sample]) -> Iterable[str]:
    """Yield the lines of one metric; the names of counters get the suffix `_total`."""
    name = f"{name}_total" if kind == "counter" else name
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"{name}{{{shown}}} {value}" if shown else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
