"""The tools of the plugin that encodes, decodes and counts texts."""

from typing import Any, Literal

from functions.ownpilot.core.tool_context import ToolContext, ToolError
from functions.ownpilot.tools.encoding import base64_decode, base64_encode, bytes_of, text_of
from functions.ownpilot.tools.parameters import Text
from functions.ownpilot.tools.plugin_tool import plugin_tool
from functions.ownpilot.tools.texts import text_stats

Encoding = Literal["base64", "hex"]


@plugin_tool("text-utils", tags=("base64", "hexadecimal"))
async def text_encode(context: ToolContext, text: Text, encoding: Encoding) -> str:
    """Encode a text (as UTF-8) in Base64 or in hexadecimal digits."""
    return await base64_encode(context, text) if encoding == "base64" else bytes_of(text).hex()


@plugin_tool("text-utils", tags=("base64", "hexadecimal"))
async def text_decode(context: ToolContext, text: Text, encoding: Encoding) -> str:
    """Decode Base64 or hexadecimal digits to the text (UTF-8) that they hold."""
    if encoding == "base64":
        return await base64_decode(context, text)
    try:
        return text_of(bytes.fromhex(text), "text")
    except ValueError:
        raise ToolError("text: these are not pairs of hexadecimal digits") from None


@plugin_tool("text-utils", tags=("words", "characters", "length"))
async def text_count(context: ToolContext, text: Text) -> dict[str, Any]:
    """Count characters, words, sentences, lines and paragraphs of a text, and say how long it takes to read."""
    return await text_stats(context, text)
