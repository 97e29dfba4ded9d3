"""The base classes of request and response bodies."""

from pydantic import BaseModel, ConfigDict


class RequestBody(BaseModel):
    """A JSON object that a client sends; members that are not declared are ignored."""

    model_config = ConfigDict(extra="ignore", defer_build=True)


class ResponseBody(BaseModel):
    """A JSON object that a client receives; it can be made from the attributes of a record."""

    model_config = ConfigDict(from_attributes=True, defer_build=True)


class Done(ResponseBody):
    """A confirmation in words."""

    message: str
