"""The base classes of request and response bodies."""

import warnings
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.warnings import UnsupportedFieldAttributeWarning

from shared.http.json import plain

# FastAPI gives the parameter of each body an alias, of which pydantic warns when it builds the body's model. FastAPI
# ignores that warning, but only while it declares the route, and `defer_build` builds models later.
warnings.filterwarnings("ignore", r"The 'alias' attribute with value '\w+' ", UnsupportedFieldAttributeWarning)


def example(**members: Any) -> ConfigDict:
    """Return the `model_config` of a body with an example, which the API accepts as it stands."""
    return ConfigDict(json_schema_extra={"examples": [members]})


class RequestBody(BaseModel):
    """A JSON object that a client sends; members that are not declared are ignored.

    Values that JSON cannot represent, or storage would not keep unchanged, are refused wherever they are.
    """

    model_config = ConfigDict(extra="ignore", defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _check_values(cls, given: Any) -> Any:
        return plain(given)


class ResponseBody(BaseModel):
    """A JSON object that a client receives; it can be made from the attributes of a record."""

    model_config = ConfigDict(from_attributes=True, defer_build=True)


class Done(ResponseBody):
    """A confirmation in words."""

    message: str
