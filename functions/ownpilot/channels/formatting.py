"""Markdown, as models write it, in the form that each service shows."""

import re
from collections.abc import Callable
from html import escape
from typing import NamedTuple

_MARKDOWN = re.compile(
    r"```[^\n`]*\n(?P<block>.*?)(?:\n?```|\Z)"
    r"|`(?P<code>[^`\n]+)`"
    r"|\[(?P<words>[^\]\n]+)\]\((?P<url>https?://[^\s()<>\"|]+)\)"
    r"|\*\*(?P<bold>\S|\S[^\n]*?\S)\*\*"
    r"|(?<![\w*])\*(?P<starred>[^\s*]|[^\s*][^*\n]*?[^\s*])\*(?![\w*])"
    r"|(?<!\w)_(?P<lined>[^\s_]|[^\s_][^_\n]*?[^\s_])_(?!\w)"
    r"|~~(?P<struck>\S|\S[^~\n]*?\S)~~"
    r"|^#{1,6}[ \t]+(?P<heading>[^\n]+)$"
    r"|^(?P<indent>[ \t]*)[-*+][ \t]+(?=\S)",
    re.DOTALL | re.MULTILINE,
)

Form = Callable[[str], str]


class Forms(NamedTuple):
    """How a service shows each kind of text; `plain` escapes what would mean something to it.

    `plain`, `block` and `code` get a text as it was written, the others one that is in its form already.
    """

    plain: Form
    block: Form
    code: Form
    link: Callable[[str, str], str]
    bold: Form
    italic: Form
    struck: Form


def formatted(text: str, forms: Forms, *, is_inner: bool = False) -> str:
    """Return a Markdown text in these forms. Of a style within a style within another one, the innermost is dropped."""
    found, end = list[str](), 0
    for match in _MARKDOWN.finditer(text):
        found += [forms.plain(text[end : match.start()]), _shown(match, forms, is_inner)]
        end = match.end()
    return "".join([*found, forms.plain(text[end:])])


def _shown(match: re.Match[str], forms: Forms, is_inner: bool) -> str:
    kind = match.lastgroup or ""
    text = match[kind]
    styles = {
        "bold": forms.bold, "heading": forms.bold, "starred": forms.italic, "lined": forms.italic,
        "struck": forms.struck,
    }  # fmt: skip
    match kind:
        case "block":
            return forms.block(text)
        case "code":
            return forms.code(text)
        case "indent":
            return f"{text}• "
        case "url":
            return forms.link(text, forms.plain(match["words"]))
        case _:
            return styles[kind](forms.plain(text) if is_inner else formatted(text, forms, is_inner=True))


def _escaped(text: str) -> str:
    return escape(text, quote=False)


TELEGRAM = Forms(
    plain=_escaped,
    block=lambda text: f"<pre>{_escaped(text)}</pre>",
    code=lambda text: f"<code>{_escaped(text)}</code>",
    link=lambda url, words: f'<a href="{escape(url)}">{words}</a>',
    bold=lambda inner: f"<b>{inner}</b>",
    italic=lambda inner: f"<i>{inner}</i>",
    struck=lambda inner: f"<s>{inner}</s>",
)
"""HTML, of which Telegram knows a few elements."""

SLACK = Forms(
    plain=_escaped,
    block=lambda text: f"```\n{_escaped(text)}\n```",
    code=lambda text: f"`{_escaped(text)}`",
    link=lambda url, words: f"<{_escaped(url)}|{words}>",
    bold=lambda inner: f"*{inner}*",
    italic=lambda inner: f"_{inner}_",
    struck=lambda inner: f"~{inner}~",
)
"""Slack's own marks; `&`, `<` and `>` are the characters that it escapes."""
