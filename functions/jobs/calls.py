"""The endpoint at which a job's command asks the app for something, with a token that the job's kind has given it."""

from fastapi import Request
from pydantic import BaseModel

from shared.http.errors import Gone, Unavailable
from shared.http.routes import router
from shared.jobs import JobState, UnknownKind, jobs, kind_of

routes = router("/{job_id}", "jobs")


class Call(BaseModel):
    """What a command asks for: by name, with a text whose meaning the job's kind knows."""

    name: str
    arguments: str


class CallAnswer(BaseModel):
    """What came of it; `ok` is false when it was not done, and `text` says why."""

    ok: bool
    text: str


@routes.post("/calls")
async def call(job_id: str, body: Call, request: Request) -> CallAnswer:
    """Do what the job's command asks for. 401 with another token, 410 when the job has ended."""
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    job = await jobs.get(job_id)
    if job.state is JobState.ENDED:
        raise Gone("The job has ended")
    try:
        kind = kind_of(job.kind)
    except UnknownKind as error:
        raise Unavailable(str(error)) from None
    ok, text = await kind.called(job, token, body.name, body.arguments)
    return CallAnswer(ok=ok, text=text)
