"""What counts as a value of a channel: numbers, text, and flat sequences of them."""

import math
import re
import reprlib
from typing import TypeAlias

Element: TypeAlias = bool | int | float | str

_BUILTIN = frozenset({bool, int, float, str})

# One decimal number and nothing else: what an IOC's own parser would read differently (hex, nan,
# inf, underscores, spaces) is no number here.
_DECIMAL = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
# What strtod reads as nan or infinity.
_NON_FINITE = re.compile(r"\s*[+-]?(?:nan(?:\(\w*\))?|inf(?:inity)?)\s*", re.ASCII | re.IGNORECASE)

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxlong = _repr.maxother = 60
_repr.maxlist = _repr.maxtuple = 6


def shown(value: object) -> str:
    """`value` for a message: short, and a whole number without its `.0`."""
    if type(value) is float and value.is_integer() and abs(value) < 1e15:  # noqa: PLR2004
        return str(int(value))
    try:
        return _repr.repr(value)
    except Exception:  # noqa: BLE001  (a value that can't be shown must still be refusable)
        return f"<{type(value).__name__}>"


def elements(value: object) -> tuple[Element, ...]:
    """The elements of `value` as plain Python scalars; a scalar is one element.

    Raises ValueError that says why, for what no channel takes: None, complex, nested or empty
    sequences, objects. numpy's arrays and scalars are known by their type's module.
    """
    if type(value) in _BUILTIN:
        return (value,)  # type: ignore[return-value]
    value = _without_numpy(value)
    if type(value) in (list, tuple):
        if not value:
            raise ValueError("an empty sequence holds nothing to write")
        return tuple(_scalar(item, f"element {n}: ") for n, item in enumerate(value))  # type: ignore[arg-type,var-annotated]
    return (_scalar(value, ""),)


def decimal(text: str) -> float | None:
    """The number that `text` writes in plain decimal notation, else None; may overflow to inf."""
    return float(text) if _DECIMAL.fullmatch(text) else None


def is_finite(element: Element) -> bool:
    """False for nan and infinity, as number or as text, and for what overflows a double."""
    if isinstance(element, str):
        number = decimal(element)
        return not _NON_FINITE.fullmatch(element) if number is None else math.isfinite(number)
    try:
        return math.isfinite(element)
    except OverflowError:
        return False


def holds_non_finite(value: object) -> bool:
    """Whether nan or infinity is anywhere in `value`, however nested; for writes without limits."""
    waiting, seen = [value], set[int]()
    while waiting:
        item = _without_numpy(waiting.pop())
        if isinstance(item, list | tuple | set | frozenset | dict):
            if id(item) not in seen:
                seen.add(id(item))
                waiting.extend(item.values() if isinstance(item, dict) else item)
        elif isinstance(item, complex):
            waiting += [item.real, item.imag]
        elif _is_non_finite_scalar(item):
            return True
    return False


def _is_non_finite_scalar(item: object) -> bool:
    if isinstance(item, bytes | bytearray):
        item = item.decode("latin-1")
    if isinstance(item, str):
        return not is_finite(item)
    if not hasattr(type(item), "__float__"):
        return False
    try:
        return not math.isfinite(item)  # type: ignore[arg-type]
    except (ArithmeticError, TypeError, ValueError):
        return True


def _scalar(value: object, where: str) -> Element:
    """`value` as the very builtin type, so that no subclass has a say in how it compares."""
    kind = type(value)
    if kind in _BUILTIN:
        return value  # type: ignore[return-value]
    if issubclass(kind, float):
        return float.__float__(value)  # type: ignore[arg-type]
    if issubclass(kind, int):
        return int.__int__(value)  # type: ignore[arg-type]
    if issubclass(kind, str):
        return str.__str__(value)
    raise ValueError(f"{where}{kind.__name__} is neither a number nor text")


def _without_numpy(value: object) -> object:
    if type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    return value
