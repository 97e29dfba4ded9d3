"""A tool that converts currencies, by the rates that the European Central Bank publishes each working day."""

import re
from decimal import Decimal
from typing import Any, NamedTuple

from functions.ownpilot.core.tool_context import ToolContext, ToolError
from functions.ownpilot.tools.parameters import Number, Short
from functions.ownpilot.tools.registry import tool
from shared import outbound
from shared.recent import RecentValues
from shared.settings import settings

_LARGEST_FILE = 100_000
_DAY = 24 * 60 * 60.0
_SECONDS = 8.0
_DATE = re.compile(r"time=['\"](\d{4}-\d{2}-\d{2})['\"]")
_RATE = re.compile(r"currency=['\"]([A-Z]{3})['\"]\s+rate=['\"](\d{1,12}(?:\.\d{1,12})?)['\"]")


class Rates(NamedTuple):
    """How much of each currency a euro is, on a day."""

    day: str
    of_euro: dict[str, Decimal]


_rates: RecentValues[str, Rates] = RecentValues(seconds=_DAY, most=1)
_last: dict[str, Rates] = {}
"""The last rates that were read from an address: an older day's are better than none."""


async def _read_rates() -> Rates:
    """Return the rates of the day. `ToolError` when the bank does not answer with any."""
    try:
        async with outbound.request(
            "GET", settings().ecb_rates_url, limit=_LARGEST_FILE, repeatable=True, silence=_SECONDS
        ) as answer:
            text = (await answer.read()).decode("utf-8", "replace") if answer.status == 200 else ""
    except outbound.OutboundError:
        text = ""
    rates = {code: rate for code, given in _RATE.findall(text) if (rate := Decimal(given))}
    day = _DATE.search(text)
    if not rates or not day:
        raise ToolError("The rates of the European Central Bank cannot be read now. Try again later.")
    found = _last[settings().ecb_rates_url] = Rates(day[1], {"EUR": Decimal(1), **rates})
    return found


async def _known_rates() -> Rates:
    """Return the rates of the day, or the last known ones while the bank does not answer. `ToolError`."""
    url = settings().ecb_rates_url
    try:
        return await _rates.get(url, _read_rates)
    except ToolError:
        if url not in _last:
            raise
        return _last[url]


@tool(category="conversion", tags=("money", "exchange rate"))
async def convert_currency(context: ToolContext, amount: Number, from_: Short, to: Short) -> dict[str, Any]:
    """Convert an amount of money between currencies, such as USD and EUR, by the European Central Bank's last rates."""
    rates = await _known_rates()
    source, target = from_.strip().upper(), to.strip().upper()
    for code in (source, target):
        if code not in rates.of_euro:
            raise ToolError(f"The currency {code[:10]!r} is not known. There are {', '.join(sorted(rates.of_euro))}.")
    rate = rates.of_euro[target] / rates.of_euro[source]
    return {
        "amount": amount, "from": source, "to": target, "rate": float(round(rate, 8)),
        "result": float(round(Decimal(str(amount)) * rate, 4)), "date": rates.day, "source": "European Central Bank",
    }  # fmt: skip
