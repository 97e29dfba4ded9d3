"""The text of HTML pages, read in a time that grows with their length only, however they are written."""

import re
from html.parser import HTMLParser
from typing import NamedTuple

_UNSEEN = ("script", "style", "template", "noscript", "svg")
_BLOCKS = {
    "address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "figcaption", "figure", "footer",
    "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "option", "p", "pre",
    "section", "table", "tbody", "td", "th", "tr", "ul",
}  # fmt: skip
_PIECE = 16_384
_LONGEST_TAG = 65_536


class PageText(NamedTuple):
    """What a page says; `description` is the one that it gives to search engines."""

    title: str
    description: str
    text: str


def plain_text(html: str) -> str:
    """Return the text of HTML."""
    return page_text(html).text


def page_text(html: str) -> PageText:
    """Return title, description and text of a page, a line for each of its blocks."""
    for name in _UNSEEN:
        html = _without(html, f"<{name}", f"</{name}")
    html = _without(html, "<!--", "-->")
    reader = _Reader()
    for start in range(0, len(html), _PIECE):
        reader.feed(html[start : start + _PIECE])
        # The parser reads an unfinished tag again with each piece, so one that does not end is left out.
        if len(reader.rawdata) > _LONGEST_TAG:
            reader.rawdata = ""
    reader.close()
    lines = (re.sub(r"\s+", " ", line).strip() for line in "".join(reader.words).split("\n"))
    title = re.sub(r"\s+", " ", "".join(reader.title)).strip()
    return PageText(title[:500], reader.description.strip()[:1000], "\n".join(filter(None, lines)))


def _without(html: str, start: str, end: str) -> str:
    """Return HTML without what lies between these marks; a mark that is never closed leaves it as it is."""
    lower, kept, place = html.lower(), list[str](), 0
    if len(lower) != len(html):  # a few letters become two in lower case
        lower = html
    while (first := lower.find(start, place)) >= 0 and (last := lower.find(end, first)) >= 0:
        kept.append(html[place:first])
        place = last + len(end)
    return "".join(kept) + html[place:]


class _Reader(HTMLParser):
    """Collects the texts of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self.title: list[str] = []
        self.description = ""
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a title or a block, or take over the description."""
        if tag == "title":
            self._in_title = not self.title
        elif tag in _BLOCKS:
            self.words.append("\n")
        elif tag == "meta" and not self.description:
            given = dict(attrs)
            if given.get("name") == "description" or given.get("property") == "og:description":
                self.description = given.get("content") or ""

    def handle_endtag(self, tag: str) -> None:
        """End a title or a block."""
        if tag == "title":
            self._in_title = False
        elif tag in _BLOCKS:
            self.words.append("\n")

    def handle_data(self, data: str) -> None:
        """Keep a text."""
        (self.title if self._in_title else self.words).append(data)
