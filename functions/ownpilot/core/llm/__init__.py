"""The way to a model: `ask` for an answer, `embed` for vectors. No vendor's package is needed."""

from functions.ownpilot.core.llm.asking import ask, endpoint_of
from functions.ownpilot.core.llm.embedding import embed
from functions.ownpilot.core.llm.vocabulary import (
    Finish,
    Message,
    ModelError,
    ModelRefused,
    ModelUnreachable,
    Said,
    Text,
    ToolCall,
    ToolSchema,
    Usage,
)

__all__ = [
    "Finish",
    "Message",
    "ModelError",
    "ModelRefused",
    "ModelUnreachable",
    "Said",
    "Text",
    "ToolCall",
    "ToolSchema",
    "Usage",
    "ask",
    "embed",
    "endpoint_of",
]
