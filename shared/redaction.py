"""Masks secrets in a job's output before it leaves the container, and in texts that clients set.

Standard library only: the runner's image contains this file too.
"""

import re

MASK = b"[REDACTED]"
HELD = 8192  # bytes of an unfinished line held back, so that no secret is cut in two
LONG = 8 * HELD  # a longer unfinished line is passed on, except for its last `HELD` bytes
KEY_BLOCK = 4 * HELD  # no private key is longer than this

TOKENS = rb"""
    (?<![a-z0-9]) (?: sk-[a-z0-9_-]{20,200} | gh[pousr]_[a-z0-9]{20,200}
                    | github_pat_[a-z0-9_]{20,200} | npm_[a-z0-9]{20,200} )
"""
SECRETS = re.compile(
    rb"""
    (?P<word> (?<![a-z]) (?:api_?key|key|secret|token|password|passwd|authorization|auth|bearer) ["']?
        (?: [ \t]*[=:][ \t]* (?:(?:bearer|basic)[ \t]+)? ["']?  # a name and its value ...
          | [ \t]+ ["']? (?: (?=[^\s"',;]*[0-9]) (?=[^\s"',;]{6}) | (?=[^\s"',;]{20}) ) ) )
        # ... or a word, a blank, and a value that is long or holds a digit: other words after "key" are prose
        (?: (?<=") (?:[^"\\\r\n]|\\[^\r\n]){4,4000} (?=")  # a value in quotes reaches up to the second one
          | (?<=') (?:[^'\\\r\n]|\\[^\r\n]){4,4000} (?=')
          | [^\s"',;]{4,4096} )
    | """
    + TOKENS,
    re.IGNORECASE | re.VERBOSE,
)
SHAPES = re.compile(rb"(?P<word>)" + TOKENS, re.IGNORECASE | re.VERBOSE)
KEY_BEGIN = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
KEY_END = re.compile(rb"-----END [A-Z0-9 ]*PRIVATE KEY-----")


def redact(text: str, *values: str, words: bool = True) -> str:
    """Return a text that is not a stream, masked as by a `Redactor`."""
    redactor = Redactor([value.encode() for value in values], words=words)
    data = text.encode("utf-8", "replace")
    return (redactor.feed(data) + redactor.finish()).decode("utf-8", "replace")


class Redactor:
    """Masks secrets in a stream of bytes, and passes it on in whole lines.

    It masks values after words such as key, token or password, tokens of well-known shapes, private keys, and each of
    `values` (those of 6 bytes or more) wherever it occurs. `words=False` does not mask values after words, for output
    in which `key=value` has a meaning of its own.
    """

    def __init__(self, values: list[bytes], *, words: bool = True):
        self._secrets = SECRETS if words else SHAPES
        known = sorted({v for v in values if len(v) >= 6}, key=len, reverse=True)
        self._values = re.compile(b"|".join(map(re.escape, known))) if known else None
        self._held = bytearray()
        self._key: int | None = None  # bytes since a private key began; None outside of one

    def feed(self, data: bytes) -> bytes:
        """Take more bytes; return those that are safe to pass on, masked."""
        self._held += data
        end = self._held.rfind(b"\n") + 1
        if len(self._held) - end > LONG:
            end = self._before_secret(len(self._held) - HELD)
        ready = bytes(self._held[:end])
        del self._held[:end]
        return self._mask(ready)

    def finish(self) -> bytes:
        """Return the bytes that were held back, masked."""
        rest, self._held = bytes(self._held), bytearray()
        return self._mask(rest)

    def _before_secret(self, end: int) -> int:
        """Return `end`, or the start of the secret that a cut at `end` would divide."""
        for pattern in filter(None, (self._values, self._secrets)):
            for found in pattern.finditer(self._held, max(0, end - HELD)):
                if found.start() < end < found.end():
                    end = found.start()
        return end

    def _mask(self, text: bytes) -> bytes:
        if self._values:
            text = self._values.sub(MASK, text)
        if self._key is not None or b"PRIVATE KEY" in text:
            text = self._mask_keys(text)
        return self._secrets.sub(lambda found: (found["word"] or b"") + MASK, text)

    def _mask_keys(self, text: bytes) -> bytes:
        out, at = bytearray(), 0  # the text up to `at` is done
        end = KEY_END.search(text)
        while at < len(text):
            if end and end.start() < at:  # searched only then, so that many beginnings do not search it all each time
                end = KEY_END.search(text, at)
            if self._key is None:
                begin = KEY_BEGIN.search(text, at)
                if not begin:
                    break
                out += text[at : begin.start()] + MASK
                at, self._key = begin.end(), 0
            elif end:
                at, self._key = end.end(), None
            elif self._key + len(text) - at > KEY_BLOCK:  # too long: it was not a private key
                self._key = None
            else:
                self._key += len(text) - at
                at = len(text)
        return bytes(out + text[at:])
