"""A tool that converts units."""

import re
from typing import Any

from functions.ownpilot.core.tool_context import ToolContext, ToolError
from functions.ownpilot.tools.expressions import shown
from functions.ownpilot.tools.parameters import Number, Short
from functions.ownpilot.tools.registry import tool

UNITS: dict[str, dict[str, float]] = {
    "length": {
        "m meter metre": 1, "km kilometer kilometre": 1000, "cm centimeter centimetre": 0.01,
        "mm millimeter millimetre": 0.001, "µm um micrometer": 1e-6, "nm nanometer": 1e-9, "mi mile": 1609.344,
        "yd yard": 0.9144, "ft foot feet": 0.3048, "in inch inches": 0.0254, "nmi nauticalmile": 1852,
        "ly lightyear": 9.4607304725808e15, "au": 149597870700,
    },
    "mass": {
        "kg kilogram": 1, "g gram": 0.001, "mg milligram": 1e-6, "t ton tonne": 1000, "lb lbs pound": 0.45359237,
        "oz ounce": 0.028349523125, "st stone": 6.35029318, "ct carat": 0.0002,
    },
    "volume": {
        "l liter litre": 1, "ml milliliter millilitre": 0.001, "cl centiliter": 0.01, "dl deciliter": 0.1, "m3": 1000,
        "cm3": 0.001, "gal gallon": 3.785411784, "qt quart": 0.946352946, "pt pint": 0.473176473, "cup": 0.2365882365,
        "floz fluidounce": 0.0295735295625, "tbsp tablespoon": 0.01478676478125, "tsp teaspoon": 0.00492892159375,
    },
    "area": {
        "m2 sqm squaremeter": 1, "km2": 1e6, "cm2": 1e-4, "mm2": 1e-6, "ha hectare": 1e4, "acre": 4046.8564224,
        "ft2 sqft squarefoot squarefeet": 0.09290304, "in2": 0.00064516, "mi2 squaremile": 2589988.110336,
    },
    "speed": {
        "m/s mps": 1, "km/h kmh kph": 1 / 3.6, "mph mi/h": 0.44704, "kn knot": 1852 / 3600, "ft/s fps": 0.3048,
    },
    "time": {
        "s sec second": 1, "ms millisecond": 0.001, "µs us microsecond": 1e-6, "min minute": 60, "h hr hour": 3600,
        "d day": 86400, "wk week": 604800, "yr year": 31557600,
    },
    "data": {
        "b byte": 1, "bit": 0.125, "kb kilobyte": 1e3, "mb megabyte": 1e6, "gb gigabyte": 1e9, "tb terabyte": 1e12,
        "pb petabyte": 1e15, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
    },
    "energy": {
        "j joule": 1, "kj kilojoule": 1e3, "cal calorie": 4.184, "kcal kilocalorie": 4184, "wh": 3600, "kwh": 3.6e6,
        "btu": 1055.05585262,
    },
    "power": {"w watt": 1, "kw kilowatt": 1e3, "mw megawatt": 1e6, "hp horsepower": 745.6998715822702},
    "pressure": {
        "pa pascal": 1, "kpa": 1e3, "hpa": 100, "bar": 1e5, "mbar": 100, "psi": 6894.757293168, "atm": 101325,
        "mmhg": 133.322387415,
    },
    "angle": {"deg degree": 1, "rad radian": 57.29577951308232, "grad gon": 0.9, "turn": 360},
}  # fmt: skip
"""By kind: the names of each unit, the usual one first, and how many of the kind's first unit it is."""

_FACTORS = {name: (kind, factor, names.split()[0]) for kind, units in UNITS.items() for names, factor in units.items()
            for name in names.split()}  # fmt: skip

_KELVIN = {"c": (1, 273.15), "f": (5 / 9, 459.67 * 5 / 9), "k": (1, 0.0)}
"""Kelvins of a degree, and of zero degrees."""

_DEGREES = {"celsius": "c", "fahrenheit": "f", "kelvin": "k", "°c": "c", "°f": "f", "c": "c", "f": "f", "k": "k"}


@tool(category="conversion", tags=("measure", "length", "weight", "temperature"))
async def convert_units(context: ToolContext, value: Number, from_: Short, to: Short) -> dict[str, Any]:
    """Convert a value between units of length, mass, volume, area, speed, time, data, energy, power, pressure, angle or
    temperature, such as km and miles, kg and lb, celsius and fahrenheit."""
    first, second = _plain(from_), _plain(to)
    if first in _DEGREES and second in _DEGREES:
        source, target = _DEGREES[first], _DEGREES[second]
        kelvin = value * _KELVIN[source][0] + _KELVIN[source][1]
        if kelvin < -1e-9:
            raise ToolError("value: it is below absolute zero")
        result = (kelvin - _KELVIN[target][1]) / _KELVIN[target][0]
        return _answer(value, source.upper(), result, target.upper())
    (kind, factor, source), (other, divisor, target) = _unit(first, from_), _unit(second, to)
    if kind != other:
        raise ToolError(f"{source} is a unit of {kind}, {target} one of {other}.")
    return _answer(value, source, value * factor / divisor, target)


def _answer(value: float, source: str, result: float, target: str) -> dict[str, Any]:
    result = float(f"{result:.12g}")
    return {"value": value, "from": source, "result": result, "to": target,
            "text": f"{shown(float(value))} {source} = {shown(result)} {target}"}  # fmt: skip


def _plain(unit: str) -> str:
    return re.sub(r"[\s_]|degrees?(?=\s*[cfk])", "", unit.lower()).replace("²", "2").replace("³", "3").replace("^", "")


def _unit(plain: str, given: str) -> tuple[str, float, str]:
    found = _FACTORS.get(plain) or _FACTORS.get(plain.removesuffix("s")) or _FACTORS.get(plain.removesuffix("es"))
    if found is None:
        raise ToolError(f"The unit {given[:50]!r} is not known.")
    return found
