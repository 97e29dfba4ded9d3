"""Tools that keep and read feeds of news."""

import asyncio
import io
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field

from functions.ownpilot.core.entry import iso
from functions.ownpilot.core.plugin_state import PluginItem, plugin_items
from functions.ownpilot.core.tool_context import ToolContext, ToolError
from functions.ownpilot.tools.charsets import bound_punycode
from functions.ownpilot.tools.page_text import plain_text
from functions.ownpilot.tools.parameters import Short
from functions.ownpilot.tools.plugin_tool import plugin_settings, plugin_tool, within
from functions.ownpilot.tools.records import Limit, present
from shared import outbound

PLUGIN = "news-rss"
MAX_FEEDS = 50
"""Feeds of one person."""

MAX_FEED = 1_000_000
"""Bytes of a feed."""

MAX_ITEMS = 50
"""Items of a feed that are read."""

_SILENCE = 8.0
_SECONDS = 25.0
_AT_ONCE = 10
_SUMMARY = 500
_threads = ThreadPoolExecutor(2, "feeds")  # of its own: a feed may be written so that it takes seconds
_EVER = datetime(2020, 1, 1, tzinfo=UTC)
_ACCEPT = {"Accept": "application/rss+xml, application/atom+xml, application/xml;q=0.9, text/xml;q=0.9, */*;q=0.1"}


@plugin_tool(PLUGIN, tags=("rss", "atom", "subscribe"))
async def news_add_feed(
    context: ToolContext,
    url: Annotated[Short, Field(description="The address of an RSS or Atom feed")],
    category: Short | None = None,
) -> dict[str, Any]:
    """Keep a feed of news. It is read once, to see whether it is one; a feed that is kept already stays as it is."""
    own = plugin_items.of(context.owner)
    if await own.count({"plugin": PLUGIN}) >= MAX_FEEDS:
        raise ToolError(f"There are {MAX_FEEDS} feeds already.")
    address = url.strip()
    try:
        title, items = await _read(address)
    except _Unreadable as error:
        raise ToolError(f"This is no feed that can be kept: {error}.") from None
    feed = PluginItem(
        id=PluginItem.derived_id(_EVER, address), user_id=context.owner, plugin=PLUGIN, content=address, note=title,
        tags=[category] if category else [], updated_at=datetime.now(UTC),
    )  # fmt: skip
    return {"feed": _shown(await own.insert(feed)), "items": len(items)}


@plugin_tool(PLUGIN, tags=("rss", "subscriptions"))
async def news_list_feeds(context: ToolContext) -> dict[str, Any]:
    """List the feeds of news that the user keeps."""
    found = await _feeds(context.owner)
    return {"feeds": [*map(_shown, found)], "total": len(found)}


@plugin_tool(PLUGIN, tags=("rss", "headlines", "articles"))
async def news_get_latest(context: ToolContext, limit: Limit = 20) -> dict[str, Any]:
    """Read the latest items of all feeds that the user keeps, the newest first; those without a date come last."""
    feeds = await _feeds(context.owner)
    if not feeds:
        raise ToolError("There are no feeds: add one with news_add_feed.")
    settings = await plugin_settings(context.owner, PLUGIN)
    most = within(settings["itemsPerFeed"], 1, MAX_ITEMS)
    turns, end = asyncio.Semaphore(_AT_ONCE), asyncio.get_running_loop().time() + _SECONDS

    async def one(feed: PluginItem) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        try:
            async with asyncio.timeout_at(end), turns:
                title, items = await _read(feed.content)
        except (_Unreadable, TimeoutError) as error:
            return [], {"url": feed.content, "error": str(error) or "it took too long"}
        return [{"feed": title or feed.content, **each} for each in items[:most]], None

    answers = await asyncio.gather(*map(one, feeds))
    items = [each for found, _ in answers for each in found]
    failed = [error for _, error in answers if error]
    items.sort(key=lambda each: each.get("published", ""), reverse=True)
    return {"items": items[:limit], "total": len(items)} | ({"failed": failed} if failed else {})


async def _feeds(owner: str) -> list[PluginItem]:
    """Return the feeds of a person, the one that was added first first."""
    found = [each async for each in plugin_items.of(owner).all({"plugin": PLUGIN})]
    return sorted(found, key=lambda each: each.updated_at)


def _shown(feed: PluginItem) -> dict[str, Any]:
    return present(url=feed.content, title=feed.note, category=feed.tags[0] if feed.tags else None)


class _Unreadable(Exception):
    """A feed that cannot be read; the message says why."""


async def _read(url: str) -> tuple[str | None, list[dict[str, Any]]]:
    """Return the title and the items of a feed. `_Unreadable`."""
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise _Unreadable("its address holds a user name")
    try:
        async with outbound.request(
            "GET", url, limit=MAX_FEED, headers=_ACCEPT, user_given=True, silence=_SILENCE
        ) as answer:
            if answer.status != 200:
                raise _Unreadable(f"its server answers with the status {answer.status}")
            data, kind = await answer.read(), answer.headers.get("Content-Type", "")
    except outbound.OutboundError as error:
        raise _Unreadable(str(error)) from None
    return await asyncio.get_running_loop().run_in_executor(_threads, _parse, data, kind)


def _parse(data: bytes, kind: str) -> tuple[str | None, list[dict[str, Any]]]:
    import feedparser  # 50 ms

    bound_punycode()
    # A stream, since the library takes a text for an address or the name of a file.
    try:
        found: Any = feedparser.parse(io.BytesIO(data), response_headers={"content-type": kind}, sanitize_html=False)
    except Exception as error:  # the parser fails in many ways over what is no feed
        raise _Unreadable("it cannot be parsed") from error
    if not found.get("version"):
        raise _Unreadable("it is neither RSS nor Atom")
    return _line(found.feed.get("title")), [*map(_item, found.entries[:MAX_ITEMS])]


def _item(entry: Any) -> dict[str, Any]:
    moment = entry.get("published_parsed") or entry.get("updated_parsed")
    try:
        at = iso(datetime(*moment[:6], tzinfo=UTC)) if moment else None
    except (TypeError, ValueError):
        at = None
    summary = _line(plain_text(str(entry.get("summary", ""))[:20_000]))
    return present(
        title=_line(entry.get("title")), link=entry.get("link"), published=at, summary=summary and summary[:_SUMMARY]
    )


def _line(text: Any) -> str | None:
    """Return a text in one line, None for an empty one."""
    return re.sub(r"\s+", " ", str(text or "")).strip()[:1000] or None
