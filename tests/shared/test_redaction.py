"""Secrets are masked in the stream of output, however it is cut."""

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import redaction
from shared.redaction import HELD, Redactor

KEY = b"-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAKC\n-----END RSA PRIVATE KEY-----"


def redact(*pieces: bytes, values: list[bytes] | None = None) -> bytes:
    redactor = Redactor(values or [])
    return b"".join([*(redactor.feed(piece) for piece in pieces), redactor.finish()])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"api_key=abcd1234", b"api_key=[REDACTED]"),
        (b"API-KEY: abcd1234 rest", b"API-KEY: [REDACTED] rest"),
        (b'{"password": "hunter22", "a": 1}', b'{"password": "[REDACTED]", "a": 1}'),
        (b"Authorization: Bearer abc.def-123", b"Authorization: Bearer [REDACTED]"),
        (b"token 0123456789abcdef0123", b"token [REDACTED]"),
        (b"password hunter2", b"password [REDACTED]"),
        (b"Bearer 'abcdefghijklmnopqrstuvwxyz'", b"Bearer '[REDACTED]'"),
        (b"the token abc123.", b"the token [REDACTED]"),
        (b"DB_SECRET='s3cr3t!!'", b"DB_SECRET='[REDACTED]'"),
        (b'{"password": ",]qQ \\"oP9,.z", "a": 1}', b'{"password": "[REDACTED]", "a": 1}'),
        (b"token='a, b; c' d", b"token='[REDACTED]' d"),
        (b'secret: "abcd1234 without an end', b'secret: "[REDACTED] without an end'),
        (b"sk-abcdefghijklmnopqrstuvwx", b"[REDACTED]"),
        (b"see ghp_abcdefghijklmnopqrstuvwx.", b"see [REDACTED]."),
        (b"npm_abcdefghijklmnopqrstuvwx", b"[REDACTED]"),
        (b"before " + KEY + b" after", b"before [REDACTED] after"),
        (KEY + b"\nnext\n" + KEY + b"\n", b"[REDACTED]\nnext\n[REDACTED]\n"),
    ],
)
def test_a_secret_is_masked(text: bytes, shown: bytes):
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        b"the key idea is simple",
        b"monkey=banana",
        b"tokens: 1500",
        b"key takeaways: the secret ingredient, open-source trade-offs and 12 keys",
        b"a token of appreciation for everybody",
        b"ask-me-anything-about-this-long-text",
        b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        b"\xff\xfe\x00 bytes that are no text \x80\n",
        b"",
    ],
)
def test_ordinary_text_is_not_masked(text: bytes):
    assert redact(text) == text


def test_known_values_are_masked_anywhere_in_the_text():
    assert redact(b"x=my-own-value;my-own-value\n", values=[b"my-own-value", b"x"]) == b"x=[REDACTED];[REDACTED]\n"


def test_a_key_block_without_an_end_is_not_masked():
    text = b"-----BEGIN PRIVATE KEY-----\n" + b"line of text\n" * 10_000
    assert redact(text).count(b"line of text") > 7_000


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 300), max_size=12))
def test_the_result_does_not_depend_on_where_the_stream_is_cut(cuts: list[int]):
    text = b"start\npassword=hunter22 and " + KEY + b"\ntoken: abcdef0123456789\nsk-abcdefghijklmnopqrstuvwx\nend"
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    pieces = [text[a:b] for a, b in pairwise(places)]
    assert redact(*pieces) == redact(text)


def test_a_long_line_is_passed_on_before_its_end_and_its_secret_is_masked_whole():
    redactor = Redactor([])
    line = b"x" * 200_000 + b" password=hunter22 " + b"y" * 200_000
    out = b"".join(redactor.feed(line[i : i + 1000]) for i in range(0, len(line), 1000))
    assert len(line) - len(out) < 10 * HELD
    assert out + redactor.finish() == line.replace(b"hunter22", b"[REDACTED]")


@pytest.mark.parametrize("piece", [KEY, b"-----BEGIN PRIVATE KEY-----\n"], ids=["whole", "without end"])
def test_many_private_keys_take_no_longer_than_other_text(piece: bytes, monkeypatch: pytest.MonkeyPatch):
    searched = 0

    class Watched:
        """A pattern that counts the bytes that its searches pass over."""

        def __init__(self, pattern: re.Pattern[bytes]):
            self.pattern = pattern

        def search(self, text: bytes, at: int = 0) -> re.Match[bytes] | None:
            nonlocal searched
            found = self.pattern.search(text, at)
            searched += (found.end() if found else len(text)) - at
            return found

    for name in ("KEY_BEGIN", "KEY_END"):
        monkeypatch.setattr(redaction, name, Watched(getattr(redaction, name)))
    text = piece * 10_000
    redact(text)
    assert searched < 5 * len(text)
