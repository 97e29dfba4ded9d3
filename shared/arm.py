"""Azure Resource Manager: how this app's management clients connect, and what the services behind it refuse."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false

import contextlib
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

from shared.credential import credential
from shared.settings import settings

if TYPE_CHECKING:
    from azure.core.exceptions import HttpResponseError


LONGEST_PAUSE = 5.0
"""Seconds that a call waits before it repeats itself; where the service asks for more, it raises instead."""

LONGEST_RETRY_AFTER = 300.0
"""Seconds of the longest pause that is believed: a service that asks for more may have room long before."""


class ContainerRefused(Exception):
    """The service refuses the request and would refuse a repeat too; the message is the service's own."""


class ContainersBusy(Exception):
    """The service cannot do it now, but a repeat may succeed: no room, too many requests, or no answer.

    The message is the service's own. `retry_after` is how many seconds it asks to wait, at most 300; 0 when it names
    none.
    """

    def __init__(self, message: str, retry_after: float = 0.0):
        super().__init__(message)
        self.retry_after = retry_after


class ContainersUnavailable(ContainersBusy):
    """The service did not answer, or failed itself: it may or may not have done what was asked."""


class _NoCredential:
    """The clients require a credential; with a policy of their own for authentication they never ask it for a token."""

    async def get_token(self, *scopes: str, **options: Any) -> Any:
        raise RuntimeError("the identity's token is not for this endpoint")


def client_arguments() -> dict[str, Any]:
    """Return the arguments of a management client: credential, subscription, endpoint, time limits and repeats."""
    from azure.core.credentials import AzureKeyCredential
    from azure.core.pipeline.policies import AzureKeyCredentialPolicy, SansIOHTTPPolicy

    config = settings()
    endpoint = config.arm_endpoint
    options: dict[str, Any] = {
        "subscription_id": config.subscription_id,
        "base_url": endpoint,
        "credential_scopes": [f"{endpoint}/.default"],
        "connection_timeout": config.arm_timeout,
        "read_timeout": config.arm_timeout,
        "retry_policy": _retries(),
    }
    if config.arm_token:
        key = AzureKeyCredential(config.arm_token)
        options["authentication_policy"] = AzureKeyCredentialPolicy(key, "Authorization", prefix="Bearer")
    elif endpoint.startswith("http://"):  # the identity's token is never sent over plain HTTP
        options["authentication_policy"] = SansIOHTTPPolicy()
    return {"credential": _NoCredential() if "authentication_policy" in options else credential(), **options}


def _retries() -> Any:
    """Return how a call repeats itself: twice, and not when the service asks for a pause over `LONGEST_PAUSE`."""
    from azure.core.pipeline.policies import AsyncRetryPolicy

    class Retries(AsyncRetryPolicy[Any, Any]):
        def is_retry(self, settings: dict[str, Any], response: Any) -> bool:
            return (self.get_retry_after(response) or 0) <= LONGEST_PAUSE and super().is_retry(settings, response)

    return Retries(retry_total=2, retry_backoff_factor=0.3)


@contextlib.contextmanager
def refusals() -> Generator[None]:
    """Turn what a service refuses into `ContainerRefused` when it is for good, else into `ContainersBusy`.

    `ContainersUnavailable` when the service has failed or did not answer.
    """
    from azure.core.exceptions import AzureError, HttpResponseError

    try:
        yield
    except HttpResponseError as error:
        message = (error.error and error.error.message) or error.message
        status = error.status_code or 500
        # A quota (409), too many requests (429) and a fault of the service may pass, and so does a region that is full.
        if _is_full(error) or status in (409, 429):
            raise ContainersBusy(message, _retry_after(error)) from error
        if status >= 500 or status == 408:
            raise ContainersUnavailable(message, _retry_after(error)) from error
        raise ContainerRefused(message) from error
    except AzureError as error:  # no connection, or no token at this moment
        raise ContainersUnavailable(f"The container service does not answer: {type(error).__name__}") from error


@contextlib.contextmanager
def absent_is_fine() -> Generator[None]:
    """Pass over the answer that a resource does not exist; use it inside `refusals`.

    `ContainersUnavailable` when the whole resource group or subscription does not exist: then a setting is wrong, and
    the answer says nothing about the resource.
    """
    from azure.core.exceptions import ResourceNotFoundError

    try:
        yield
    except ResourceNotFoundError as error:
        if error.error is not None and error.error.code in ("ResourceGroupNotFound", "SubscriptionNotFound"):
            raise ContainersUnavailable(error.error.message or error.message) from error


def _is_full(error: "HttpResponseError") -> bool:
    return error.error is not None and error.error.code == "ServiceUnavailable"


def _retry_after(error: "HttpResponseError") -> float:
    """Return the seconds of the response's Retry-After header, at most `LONGEST_RETRY_AFTER`; 0 without one."""
    headers: Mapping[str, str] = getattr(error.response, "headers", {})  # there is no response when none came
    given = headers.get("Retry-After", "")
    return min(float(given), LONGEST_RETRY_AFTER) if given.isdecimal() else 0.0
