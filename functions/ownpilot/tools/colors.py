"""A tool that converts colors."""

import colorsys
import re
from typing import Any, Literal

from functions.ownpilot.core.tool_context import ToolContext, ToolError
from functions.ownpilot.tools.parameters import Short
from functions.ownpilot.tools.registry import tool

NAMES = {
    "black": "000000", "silver": "c0c0c0", "gray": "808080", "grey": "808080", "white": "ffffff", "maroon": "800000",
    "red": "ff0000", "purple": "800080", "fuchsia": "ff00ff", "magenta": "ff00ff", "green": "008000", "lime": "00ff00",
    "olive": "808000", "yellow": "ffff00", "navy": "000080", "blue": "0000ff", "teal": "008080", "aqua": "00ffff",
    "cyan": "00ffff", "orange": "ffa500", "pink": "ffc0cb", "brown": "a52a2a", "gold": "ffd700", "indigo": "4b0082",
    "violet": "ee82ee", "turquoise": "40e0d0", "coral": "ff7f50", "salmon": "fa8072", "khaki": "f0e68c",
    "beige": "f5f5dc", "crimson": "dc143c", "lavender": "e6e6fa", "tan": "d2b48c", "chocolate": "d2691e",
}  # fmt: skip
_HEX = re.compile(r"#?([0-9a-f]{3}|[0-9a-f]{6})")
_CALL = re.compile(r"(rgb|hsl)a?\(\s*([\d.]{1,10})(?:deg)?[\s,]+([\d.]{1,10})%?[\s,]+([\d.]{1,10})%?[^)]{0,20}\)")

Rgb = tuple[int, int, int]


@tool(category="other", tags=("colour", "hex", "rgb", "hsl"))
async def convert_color(
    context: ToolContext, color: Short, to: Literal["hex", "rgb", "hsl", "hsv", "cmyk"] | None = None
) -> str | dict[str, Any]:
    """Convert a color: #ff8800, rgb(255, 136, 0), hsl(32, 100%, 50%) or a name such as orange. Default: all forms."""
    forms = _forms(_rgb(color))
    return forms[to] if to else forms


def _rgb(color: str) -> Rgb:
    text = color.strip().lower()
    if found := _HEX.fullmatch(NAMES.get(text, text)):
        digits = found[1] if len(found[1]) == 6 else "".join(each * 2 for each in found[1])
        return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)
    if found := _CALL.fullmatch(text):
        try:
            first, second, third = (float(each) for each in found.groups()[1:])
        except ValueError:
            raise _unknown(color) from None
        if found[1] == "rgb" and max(first, second, third) <= 255:
            return round(first), round(second), round(third)
        if found[1] == "hsl" and max(second, third) <= 100:
            red, green, blue = colorsys.hls_to_rgb(first % 360 / 360, third / 100, second / 100)
            return round(red * 255), round(green * 255), round(blue * 255)
    raise _unknown(color)


def _unknown(color: str) -> ToolError:
    return ToolError(f"color: {color[:50]!r} is none; write it like #ff8800, rgb(255, 136, 0) or orange")


def _forms(rgb: Rgb) -> dict[str, str]:
    red, green, blue = (each / 255 for each in rgb)
    hue, light, saturation = colorsys.rgb_to_hls(red, green, blue)
    _, saturation_v, value = colorsys.rgb_to_hsv(red, green, blue)
    ink = [0.0 if value == 0 else 1 - each / value for each in (red, green, blue)]
    return {
        "hex": "#{:02x}{:02x}{:02x}".format(*rgb),
        "rgb": "rgb({}, {}, {})".format(*rgb),
        "hsl": f"hsl({hue * 360:.0f}, {saturation:.0%}, {light:.0%})",
        "hsv": f"hsv({hue * 360:.0f}, {saturation_v:.0%}, {value:.0%})",
        "cmyk": f"cmyk({ink[0]:.0%}, {ink[1]:.0%}, {ink[2]:.0%}, {1 - value:.0%})",
    }
