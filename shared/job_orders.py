"""The order of a job: what its runner gets to know, and the input files that are stored for it meanwhile."""

import json
import zlib
from base64 import b64encode
from collections.abc import Mapping

from shared import blobs
from shared.jobs import INPUTS, BlobInput, JobSpec
from shared.order import InputFile, Order
from shared.settings import settings

INLINE = 16 * 1024
"""Bytes of the largest input file that is a part of the order; a larger one is stored as a blob meanwhile."""


def stored_inputs(spec: JobSpec) -> list[str]:
    """Return the paths of the input files that `order_of` stores as blobs of the job."""
    return [path for path, data in spec.inputs.items() if isinstance(data, bytes) and len(data) > INLINE]


def listed_tree(tags: Mapping[str, str]) -> bytes:
    """Return the input `TREE_LIST` for the files of a tree: the SHA-256 of each in hex, by its path."""
    return zlib.compress(json.dumps([*tags.items()]).encode())


async def order_of(job_id: str, spec: JobSpec, token: str) -> Order:
    """Store the job's larger input files and return the order; a repeat stores the same files."""
    inputs: list[InputFile] = []
    for path, data in spec.inputs.items():
        if isinstance(data, BlobInput):
            inputs.append(InputFile(path, url=await blobs.link(data.container, data.blob)))
        elif len(data) > INLINE:
            await blobs.put(INPUTS, f"{job_id}/{path}", data)
            inputs.append(InputFile(path, url=await blobs.link(INPUTS, f"{job_id}/{path}")))
        else:
            inputs.append(InputFile(path, data=b64encode(data).decode()))
    return Order(
        url=f"{settings().base_url}/jobs/{job_id}",
        token=token,
        command=spec.command,
        directory=spec.directory,
        timeout=spec.timeout,
        inputs=inputs,
        secrets=list(spec.secrets),
        environment=dict(spec.environment),
        keep=spec.keep,
        report=spec.report,
        capture=spec.capture,
        mask_words=spec.mask_words,
        log_limit=settings().log_limit,
        tree=spec.tree,
    )
