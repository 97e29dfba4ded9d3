"""Tools on Markdown."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from functions.ownpilot.core.tool_context import ToolContext
from functions.ownpilot.tools.parameters import in_thread
from functions.ownpilot.tools.registry import tool

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

Markdown = Annotated[str, Field(max_length=100_000)]


def _reader() -> "MarkdownIt":
    from markdown_it import MarkdownIt  # 36 ms

    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


@tool(category="conversion", tags=("convert", "web page"))
async def markdown_to_html(context: ToolContext, markdown: Markdown) -> str:
    """Make HTML of Markdown. HTML inside the Markdown is shown as text, and no address may run a script."""
    return await in_thread(lambda: _reader().render(markdown).strip())


@tool(category="conversion", tags=("plain text",))
async def strip_markdown(context: ToolContext, markdown: Markdown) -> str:
    """Make plain text of Markdown."""
    return await in_thread(_plain, markdown)


def _plain(markdown: str) -> str:
    blocks: list[str] = []
    for token in _reader().parse(markdown):
        if token.type == "inline":
            blocks.append(
                "".join("\n" if each.type.endswith("break") else each.content for each in token.children or ())
            )
        elif token.type in ("fence", "code_block"):
            blocks.append(token.content.rstrip("\n"))
    return "\n".join(blocks)
