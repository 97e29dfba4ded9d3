"""Every API against its own description, driven by generated requests, odd headers, forms and socket frames: no 5xx.

A sample; `tests/campaigns/test_generated.py` sends more of the same.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest
import schemathesis

from infra.local.environment import Environment
from tests.support.contract import Description
from tests.support.generated import (
    APIS,
    HEADERS,
    ODD_VALUES,
    OPERATIONS,
    SOCKETS,
    UPLOADING,
    credentials,
    drive,
    send_odd_forms,
    send_odd_frames,
    send_odd_values,
)


@pytest.fixture(scope="module")
async def callers(stack: Environment) -> dict[str, httpx.Headers]:
    return await credentials(stack)


@pytest.mark.parametrize("api", APIS.values(), ids=APIS)
def test_the_description_is_valid_openapi(api: Description):
    schemathesis.openapi.from_dict(api.openapi).validate()
    for schema in [*api.openapi["components"]["schemas"].values(), *schemas_in(api.openapi["paths"])]:
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


def schemas_in(part: Any) -> Iterator[dict[str, Any]]:
    """The schemas in a part of a description, which the validator of the whole does not look into."""
    if isinstance(part, dict):
        if isinstance(part.get("schema"), dict):
            yield part["schema"]
        part = list(part.values())
    for each in part if isinstance(part, list) else ():
        yield from schemas_in(each)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_responses_to_generated_requests_match_the_description(
    operation: str, stack: Environment, callers: dict[str, httpx.Headers]
):
    drive(operation, stack, callers, examples=3)


@pytest.mark.parametrize("name", HEADERS)
async def test_an_odd_header_is_read_or_refused(name: str, stack: Environment, callers: dict[str, httpx.Headers]):
    await send_odd_values(name, stack, callers, share=len(ODD_VALUES))


@pytest.mark.parametrize("api", UPLOADING.values(), ids=UPLOADING)
async def test_an_odd_form_is_read_or_refused(api: Description, stack: Environment, callers: dict[str, httpx.Headers]):
    await send_odd_forms(api, stack, callers, share=4)


@pytest.mark.parametrize("path", SOCKETS)
async def test_an_odd_frame_is_answered_or_ends_its_own_socket_only(path: str, stack: Environment):
    await send_odd_frames(path, stack, share=4)
