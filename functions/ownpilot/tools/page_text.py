"""The text of HTML pages, read in a time that grows with their length only, however they are written.

The parser of the standard library takes minutes over a megabyte that is written for that.
"""

import html
import re
from contextlib import suppress
from typing import NamedTuple

_UNSEEN = ("script", "style", "template", "noscript", "svg")
_BLOCKS = {
    "address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "figcaption", "figure", "footer",
    "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "option", "p", "pre",
    "section", "table", "tbody", "td", "th", "tr", "ul",
}  # fmt: skip
_TAG = re.compile(r"<[/!?]?([A-Za-z][A-Za-z0-9]{0,20})")
_DESCRIPTION = re.compile(r"""(?:name|property)\s?=\s?["']?(?:og:)?description\b""", re.IGNORECASE)
_CONTENT = re.compile(r"""content\s?=\s?(?:"([^"]*)|'([^']*)|([^\s>]*))""", re.IGNORECASE)
_LONGEST_META = 5000
_BREAK = "\0"


class PageText(NamedTuple):
    """What a page says; `description` is the one that it gives to search engines."""

    title: str
    description: str
    text: str


def plain_text(page: str) -> str:
    """Return the text of HTML."""
    return page_text(page).text


def page_text(page: str) -> PageText:
    """Return title, description and text of a page, a line for each of its blocks."""
    page = _without(page, "<!--", "-->")
    for name in _UNSEEN:
        page = _without(page, f"<{name}", f"</{name}")
    page = page.replace(_BREAK, " ")
    words, title, description, place = list[str](), "", "", 0
    while (start := page.find("<", place)) >= 0:
        words.append(page[place:start])
        tag = _TAG.match(page, start)
        end = page.find(">", start) if tag else start
        if tag is None or end < 0:  # a sign of a text
            words.append("<")
            place = start + 1
            if end < 0:
                break
            continue
        name, place = tag[1].lower(), end + 1
        if name in _BLOCKS:
            words.append(_BREAK)
        elif name == "title" and not title:
            last = page.find("<", place)
            title = page[place : last if last >= 0 else None]
            place = last if last >= 0 else len(page)
        elif name == "meta" and not description and _DESCRIPTION.search(page, start, min(end, start + _LONGEST_META)):
            found = _CONTENT.search(page, start, min(end, start + _LONGEST_META))
            description = next(filter(None, found.groups()), "") if found else ""
    words.append(page[place:])
    lines = map(_line, "".join(words).split(_BREAK))
    title, description = _line(title[:5000])[:500], _line(description)[:1000]
    return PageText(title, description, "\n".join(filter(None, lines)))


def _without(page: str, start: str, end: str) -> str:
    """Return HTML without what lies between two marks, of which the second ends with the next `>`.

    What is never closed stays.
    """
    lower, kept, place = page.lower(), list[str](), 0
    if len(lower) != len(page):  # a few letters become two in lower case
        lower = page
    while (first := lower.find(start, place)) >= 0 and (last := lower.find(end, first)) >= 0:
        kept.append(page[place:first])
        place = lower.find(">", last) + 1 or len(page)
    return "".join(kept) + page[place:]


def _line(text: str) -> str:
    """Return a text of HTML in one line."""
    with suppress(ValueError):  # for a character with a number of thousands of digits
        text = html.unescape(text)
    return " ".join(text.split())
