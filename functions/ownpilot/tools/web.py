"""Tools that search the web, with Tavily, Serper or Perplexity, and read pages."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from functions.ownpilot.core.tool_context import ToolContext, ToolError
from functions.ownpilot.tools.charsets import bound_punycode
from functions.ownpilot.tools.outside import ask, base_of, configured, reading
from functions.ownpilot.tools.page_text import page_text
from functions.ownpilot.tools.parameters import Short, in_thread
from functions.ownpilot.tools.plugin_tool import plugin_settings, plugin_tool, within
from functions.ownpilot.tools.records import present
from shared import outbound

Depth = Literal["basic", "advanced"]
Answer = dict[str, Any]

SERVICES = ("tavily", "serper", "perplexity")
MAX_RESULTS = 20
MAX_PAGE = 5_000_000
"""Bytes of a page."""

MAX_TEXT = 50_000
"""Characters of a page's text that are shown."""

_SILENCE = 10.0
_CHARSET = re.compile(rb"<meta[^>]{1,200}charset=[\"']?\s*([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_HEADERS = {"Accept": "text/html, text/plain;q=0.9, */*;q=0.1"}


@plugin_tool("web-search", tags=("internet", "find", "google"))
async def web_search(
    context: ToolContext,
    query: Annotated[str, Field(min_length=1, max_length=1000)],
    depth: Annotated[Depth, Field(description="advanced: more thorough, slower, and dearer with some services")]
    = "basic",
    max_results: Annotated[int | None, Field(description=f"How many results, {MAX_RESULTS} at most")] = None,
) -> Answer:  # fmt: skip
    """Search the web: results with title, address and a piece of text, and an answer where the service gives one."""
    settings = await plugin_settings(context.owner, "web-search")
    name, values = await configured(context.owner, SERVICES, settings["service"])
    most = within(settings["maxResults"] if max_results is None else max_results, 1, MAX_RESULTS)
    search = {"tavily": _tavily, "serper": _serper, "perplexity": _perplexity}[name]
    return {"query": query} | await search(values, query, depth, most)


async def _tavily(values: Mapping[str, Any], query: str, depth: Depth, most: int) -> Answer:
    answer = await ask(
        "Tavily", "POST", f"{base_of(values, 'https://api.tavily.com')}/search", headers=_bearer(values),
        body={"query": query, "search_depth": depth, "max_results": most, "include_answer": True},
        refusals={432: "has no credits left", 433: "has no credits left"},
    )  # fmt: skip
    with reading("Tavily"):
        found = [_result(each["title"], each["url"], each["content"]) for each in answer["results"]]
        return {"results": found[:most], "source": "Tavily"} | present(answer=answer.get("answer"))


async def _serper(values: Mapping[str, Any], query: str, depth: Depth, most: int) -> Answer:
    answer = await ask(
        "Serper", "POST", f"{base_of(values, 'https://google.serper.dev')}/search",
        headers={"X-API-KEY": str(values["api_key"])}, body={"q": query, "num": most},
    )  # fmt: skip
    with reading("Serper"):
        found = [_result(each["title"], each["link"], each.get("snippet")) for each in answer["organic"]]
        box = answer.get("answerBox") or {}
        return {"results": found[:most], "source": "Serper"} | present(answer=box.get("answer") or box.get("snippet"))


async def _perplexity(values: Mapping[str, Any], query: str, depth: Depth, most: int) -> Answer:
    answer = await ask(
        "Perplexity", "POST", f"{base_of(values, 'https://api.perplexity.ai')}/chat/completions",
        headers=_bearer(values),
        body={
            "model": "sonar-pro" if depth == "advanced" else "sonar",
            "messages": [{"role": "user", "content": query}],
        },
    )  # fmt: skip
    with reading("Perplexity"):
        found = [_result(each["title"], each["url"], each.get("snippet")) for each in answer.get("search_results", ())]
        text = answer["choices"][0]["message"]["content"]
        return {"results": found[:most], "source": "Perplexity", "answer": text}


def _bearer(values: Mapping[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {values['api_key']}"}


def _result(title: str, url: str, text: str | None) -> Answer:
    return present(title=title[:300], url=url[:2000], text=text and text[:2000])


@plugin_tool("web-search", tags=("page", "article", "read", "fetch"))
async def web_extract(
    context: ToolContext, url: Annotated[Short, Field(description="The address of a page")]
) -> Answer:
    """Read a page of the web: its title and its text, without images and formatting. Scripts are not run, so a page
    that is made by them shows little."""
    try:
        async with outbound.request(
            "GET", url.strip(), limit=MAX_PAGE, headers=_HEADERS, user_given=True, silence=_SILENCE
        ) as answer:
            if answer.status != 200:
                raise ToolError(f"The server of the page answers with the status {answer.status}.")
            kind, _, rest = answer.headers.get("Content-Type", "text/html").lower().partition(";")
            if not (kind.strip().startswith("text/") or kind.strip().endswith(("xml", "json"))):
                raise ToolError(f"This is no page with a text, but {kind.strip()[:100]}.")
            data = await answer.read()
    except outbound.OutboundError as error:
        raise ToolError(f"The page cannot be read: {error}.") from None
    return {"url": url} | await in_thread(_extract, data, kind.strip(), rest)


def _extract(data: bytes, kind: str, rest: str) -> Answer:
    declared = re.search(r"charset=[\"']?([\w.:-]{1,40})", rest)
    found = declared[1] if declared else (meta[1].decode() if (meta := _CHARSET.search(data[:4096])) else "utf-8")
    bound_punycode()
    try:
        text = data.decode(found, "replace")
    except (LookupError, UnicodeError):  # some charsets replace nothing
        text = data.decode("utf-8", "replace")
    if "html" not in kind:
        return _cut({}, text)
    page = page_text(text)
    return _cut(present(title=page.title or None, description=page.description or None), page.text)


def _cut(about: Answer, text: str) -> Answer:
    more = len(text) - MAX_TEXT
    return about | {"text": text[:MAX_TEXT]} | ({"charactersLeftOut": more} if more > 0 else {})
