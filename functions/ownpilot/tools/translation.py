"""Tools that translate texts, with DeepL, and tell in which language a text is written."""

from typing import Annotated, Any

from pydantic import Field

from functions.ownpilot.core.tool_context import ToolContext
from functions.ownpilot.tools.languages import guess
from functions.ownpilot.tools.outside import ask, base_of, configured, reading
from functions.ownpilot.tools.parameters import Text
from functions.ownpilot.tools.plugin_tool import plugin_settings, plugin_tool
from functions.ownpilot.tools.records import present

Language = Annotated[
    str, Field(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})?$", description="A code, such as EN, DE, PT-BR")
]
_REFUSALS = {
    400: "does not translate between these languages", 413: "does not take so long a text",
    456: "has translated as much as the account allows",
}  # fmt: skip


@plugin_tool("translation", tags=("language", "deepl"))
async def translate_text(
    context: ToolContext,
    text: Annotated[str, Field(min_length=1, max_length=50_000)],
    target_lang: Language,
    source_lang: Language | None = None,
) -> dict[str, Any]:
    """Translate a text into another language. The language that it is in is found out unless it is given."""
    _, values = await configured(context.owner, ["deepl"])
    settings = await plugin_settings(context.owner, "translation")
    key = str(values["api_key"])
    # Keys of free accounts end like this, and have a server of their own.
    base = base_of(values, "https://api-free.deepl.com" if key.endswith(":fx") else "https://api.deepl.com")
    body = {"text": [text], "target_lang": target_lang.upper()}
    body |= present(source_lang=source_lang and source_lang.upper())
    if settings["formality"] != "default":
        body |= {"formality": settings["formality"]}
    headers = {"Authorization": f"DeepL-Auth-Key {key}"}
    answer = await ask("DeepL", "POST", f"{base}/v2/translate", headers=headers, body=body, refusals=_REFUSALS)
    with reading("DeepL"):
        made = answer["translations"][0]
        return {
            "text": made["text"], "from": made.get("detected_source_language", source_lang), "to": target_lang.upper(),
        }  # fmt: skip


@plugin_tool("translation", tags=("which language", "identify"))
async def detect_language(context: ToolContext, text: Text) -> dict[str, Any]:
    """Tell in which language a text is written, one of about twenty, by the sequences of its letters. `sure` is false
    for a short text, and for one in a language that is not known here."""
    found = guess(text)
    if found is None:
        return {"language": None, "sure": False, "reason": "There are too few letters of a known script."}
    shown = {"language": found.code, "name": found.name, "sure": found.is_sure}
    return shown if found.is_sure else shown | present(alternative=found.second)
