"""Calls of Azure Storage's SDKs, bounded in time, with the one error for all that means "not now"."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from shared.tables.errors import StorageUnavailable
from shared.tables.patience import PATIENCE, patience

OPTIONS: dict[str, Any] = {
    "connection_timeout": 2,
    "read_timeout": PATIENCE,
    "retry_total": 20,
    "initial_backoff": 0.3,
    "increment_base": 0,
    "random_jitter_range": 0,
}
"""Options of the SDKs' clients: three attempts a second, as `answered` ends them."""

_BUSY = {408, 429, 500, 502, 503, 504}


@asynccontextmanager
async def answered() -> AsyncGenerator[None]:
    """Bound one call. `StorageUnavailable` when it is not answered in time, or the service is too busy."""
    from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError

    try:
        async with asyncio.timeout(patience.whole):
            yield
    except TimeoutError as error:
        patience.unanswered()
        raise StorageUnavailable("no answer in time") from error
    except (ServiceRequestError, ServiceResponseError) as error:
        patience.unanswered()
        raise StorageUnavailable(f"{type(error).__name__}: {error}") from error
    except HttpResponseError as error:
        patience.answered()
        if error.status_code in _BUSY or getattr(error, "error_code", "") == "ContainerBeingDeleted":
            raise StorageUnavailable(f"{error.status_code} {error.reason}") from error
        raise
    patience.answered()
