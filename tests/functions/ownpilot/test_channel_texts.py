"""Texts of channels: cut into parts that fit, and in the form that a service shows."""

import pytest

from functions.ownpilot.channels.formatting import SLACK, TELEGRAM, formatted
from functions.ownpilot.channels.splitting import parts, units
from infra.emulator.providers.telegram import text_of


class TestParts:
    @pytest.mark.parametrize(
        "text",
        ["short", "word " * 2000, "x" * 9000, "😀" * 5000, "line\n" * 2000, "a\n\n" + "b " * 3000, "", "  ",
         "\ud83d" * 3000, "```python\n" + "print(1)\n" * 900 + "```\nThe end", "```\n" + "y" * 6000, "\n" * 5000 + "z"],
        ids=range(12),
    )  # fmt: skip
    @pytest.mark.parametrize("limit", [2000, 4096])
    def test_every_part_fits_and_none_is_blank(self, text: str, limit: int):
        found = parts(text, limit)
        assert found and all(part.strip() and units(part) <= limit for part in found)
        kept = [char for part in found for char in part if char in "x😀ybz"]
        assert len(kept) >= sum(text.count(char) for char in "x😀bz")

    def test_nothing_is_lost_between_words(self):
        text = " ".join(f"word{n}" for n in range(3000))
        assert " ".join(parts(text, 2000)) == text

    def test_a_block_of_code_that_is_cut_is_closed_and_opened_again(self):
        found = parts("Look:\n```python\n" + "print(1)\n" * 500 + "```\nDone", 2000)
        assert len(found) > 2 and all(part.count("```") == 2 for part in found)
        assert all(part.startswith("```python\n") for part in found[1:])
        assert "".join(found).count("print(1)") == 500


class TestForms:
    @pytest.mark.parametrize(
        ("markdown", "telegram", "slack"),
        [("**bold** and *italic*", "<b>bold</b> and <i>italic</i>", "*bold* and _italic_"),
         ("a_b_c 2*3*4", "a_b_c 2*3*4", "a_b_c 2*3*4"), ("# Title", "<b>Title</b>", "*Title*"),
         ("- one\n* two", "• one\n• two", "• one\n• two"), ("~~no~~", "<s>no</s>", "~no~"),
         ("**a *b* c**", "<b>a <i>b</i> c</b>", "*a _b_ c*"), ("`a<b`", "<code>a&lt;b</code>", "`a&lt;b`"),
         ("1 < 2 & <script>", "1 &lt; 2 &amp; &lt;script&gt;", "1 &lt; 2 &amp; &lt;script&gt;"),
         ("```py\nx = '<'\n```", "<pre>x = '&lt;'</pre>", "```\nx = '&lt;'\n```"),
         ("[a & b](https://x.y/?a=1&b=2)", '<a href="https://x.y/?a=1&amp;b=2">a &amp; b</a>',
          "<https://x.y/?a=1&amp;b=2|a &amp; b>"),
         ("[x](javascript:alert(1))", "[x](javascript:alert(1))", "[x](javascript:alert(1))")],
    )  # fmt: skip
    def test_markdown_becomes_what_the_service_shows(self, markdown: str, telegram: str, slack: str):
        assert (formatted(markdown, TELEGRAM), formatted(markdown, SLACK)) == (telegram, slack)

    @pytest.mark.parametrize(
        "text",
        ["**", "** **", "*a", "_a_ __b__ ___c___", "**a\nb**", "`", "```", "```\n", "[a](", "[**a**](http://b)",
         "***x***", "**a `b** c`", "~~**_x_**~~", "# **x** `y`", "<b>", "&lt;", "**a [b](http://c) d**", "* * *",
         "**" * 900, "[" * 900],
        ids=range(20),
    )  # fmt: skip
    def test_whatever_is_written_telegram_can_read_it(self, text: str):
        assert text_of(formatted(text, TELEGRAM)) is not None
