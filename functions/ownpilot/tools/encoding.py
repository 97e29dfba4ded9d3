"""Tools that encode texts, and hash them."""

import base64
import binascii
import hashlib
from typing import Literal
from urllib.parse import quote, unquote

from functions.ownpilot.core.tool_context import ToolContext, ToolError
from functions.ownpilot.tools.parameters import Text
from functions.ownpilot.tools.registry import tool


def bytes_of(text: str) -> bytes:
    """Return a text as UTF-8. `ToolError`."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ToolError("text: it holds half a character") from None


def text_of(data: bytes, parameter: str) -> str:
    """Return the text that is UTF-8 in data that a parameter holds. `ToolError`."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ToolError(f"{parameter}: it holds {len(data)} bytes that are no text") from None


@tool(category="conversion", tags=("encode",))
async def base64_encode(context: ToolContext, text: Text) -> str:
    """Encode a text (as UTF-8) in Base64."""
    return base64.b64encode(bytes_of(text)).decode()


@tool(category="conversion", tags=("decode",))
async def base64_decode(context: ToolContext, encoded: Text) -> str:
    """Decode Base64, the form for addresses too, to the text (UTF-8) that it holds."""
    plain = "".join(encoded.split()).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        data = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ToolError("encoded: this is not Base64") from None
    return text_of(data, "encoded")


@tool(category="conversion", tags=("encode", "decode", "percent"))
async def url_encode(context: ToolContext, text: Text, decode: bool = False) -> str:
    """Encode a text for a part of a web address, or decode it."""
    if not decode:
        return quote(bytes_of(text), safe="")
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ToolError("text: what it encodes is no text in UTF-8") from None


@tool(category="conversion", tags=("digest", "checksum"))
async def hash_text(
    context: ToolContext, text: Text, algorithm: Literal["md5", "sha1", "sha256", "sha384", "sha512"] = "sha256"
) -> str:
    """Hash a text (as UTF-8); the result is hexadecimal."""
    return hashlib.new(algorithm, bytes_of(text), usedforsecurity=False).hexdigest()
