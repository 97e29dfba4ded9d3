"""Charsets that outsiders name: pages, feeds and e-mails say themselves how their texts are to be decoded."""

from encodings import punycode
from functools import cache

MAX_PUNYCODE = 255
"""Bytes of a text in punycode, which is meant for the names of hosts."""


@cache
def bound_punycode() -> None:
    """Let longer texts be refused in this process, with `LookupError` as for a charset that does not exist.

    Python needs a time for them that grows with the square of their length: 7 seconds for 160 KB. The names come to
    `bytes.decode` in many ways, most of them inside of libraries, so the decoder itself has the bound.
    """
    decode = punycode.punycode_decode

    def bounded(text: bytes, errors: str) -> str:
        if len(text) > MAX_PUNYCODE:
            raise LookupError("a text in punycode is too long")
        return decode(text, errors)

    punycode.punycode_decode = bounded
