"""Arithmetic and text on constants, of small things only: what could grow large is unknown."""

import ast
import itertools
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

from activities.analyser.values import (
    CONTAINERS,
    MAX_ALTERNATIVES,
    UNKNOWN,
    Binding,
    Constants,
    one_of,
)
from activities.analyser.work import spend

_MAX_TEXT = 1000
_MAX_ITEMS = 1000
_INT_BITS = 64
_SMALL = (float, Binding)
_SCALARS = (str, int, float, complex, bytes, type(None))
# What a program's own mistake raises while its constants are computed.
_MISTAKES = (ArithmeticError, TypeError, ValueError, LookupError, AttributeError)
# Widths of text that would be long, and widths that are themselves computed.
_WIDE = re.compile(r"\d{4,}|%[^a-zA-Z%]*\*|\{[^{}]*\{")
_SURROGATE = re.compile("[\ud800-\udfff]")


def _size(value: object) -> int:
    """How many items `value` holds; more than are kept where it is too large itself."""
    if isinstance(value, str):
        fits = len(value) <= _MAX_TEXT and (value.isascii() or not _SURROGATE.search(value))
    elif isinstance(value, int):
        fits = value.bit_length() <= _INT_BITS
    elif value is None or isinstance(value, _SMALL):
        return 1
    elif not isinstance(value, CONTAINERS):
        return _MAX_ITEMS + 1
    else:
        size = 1
        for part in (*value, *value.values()) if isinstance(value, dict) else value:
            size += _size(part)
            if size > _MAX_ITEMS:
                break
        return size
    return 1 if fits else _MAX_ITEMS + 1


def constant(value: object) -> Binding:
    """`value` as a constant if it is small."""
    return Constants((value,)) if _size(value) <= _MAX_ITEMS else UNKNOWN


def fold(function: Callable[..., Any], *operands: Binding) -> Binding:
    """`function` of constants, for each of their alternatives; what fails is unknown."""
    known: list[Constants] = []
    varying: list[Constants] = []
    certain = True
    for one in operands:
        if not isinstance(one, Constants):
            return UNKNOWN
        known.append(one)
        certain &= one.certain
        spend(sum(len(value) for value in one.values if isinstance(value, CONTAINERS)))
        if len(one.values) > 1:
            varying.append(one)
    try:
        results = [function(*given) for given in _rounds(known, varying)]
    except _MISTAKES:
        return UNKNOWN
    for result in results:
        size = _size(result)
        spend(size)
        if size > _MAX_ITEMS:
            return UNKNOWN
    sources = {id(one.source): one.source for one in varying}
    return one_of(results, sources.popitem()[1] if len(sources) == 1 else None, certain=certain)


def _rounds(known: list[Constants], varying: list[Constants]) -> list[tuple[Any, ...]]:
    """What goes together: alternatives of one source one by one, of two sources all of them."""
    if not varying:
        return [tuple([one.values[0] for one in known])]
    sources = {id(one.source): one.source for one in varying}
    if len(varying) == 1 or (len(sources) == 1 and varying[0].source is not None):
        count = len(varying[0].values)
        spend(count * len(known))
        columns = (one.values if len(one.values) > 1 else one.values * count for one in known)
        return list(zip(*columns, strict=True))
    ways = len(varying[0].values) * len(varying[1].values)
    spend(min(ways, MAX_ALTERNATIVES) * len(known))
    if len(varying) == len(sources) == 2 and None not in sources.values():  # noqa: PLR2004
        return list(itertools.product(*(one.values for one in known if ways <= MAX_ALTERNATIVES)))
    raise ValueError


def pack(make: Callable[..., Any], parts: Sequence[Binding]) -> Binding:
    """A container of `parts`, whatever they are."""
    return fold(make, *(p if isinstance(p, Constants) else Constants((p,)) for p in parts))


def elements(value: Binding) -> list[Any] | None:
    """What iterating over `value` gives, or None where that isn't known."""
    if not isinstance(value, Constants):
        return None
    if not all(isinstance(one, (*CONTAINERS, str)) for one in value.values):
        return None
    found = list(itertools.chain.from_iterable(value.values))
    spend(len(found))
    return found


def items(owner: Constants) -> list[Any]:
    """All that a subscript of `owner` can give."""
    found: list[Any] = []
    for one in owner.values:
        if isinstance(one, list | tuple | dict):
            found += one.values() if isinstance(one, dict) else one
    spend(len(found))
    return found


def part(count: int, index: int, value: object) -> Any:  # noqa: ANN401
    """One of `count` parts into which `value` is unpacked."""
    if not isinstance(value, list | tuple) or len(value) != count:
        raise TypeError
    return value[index]


def arithmetic(op: ast.operator) -> Callable[[Any, Any], Any]:
    """The function behind an operator."""
    return _OPERATORS.get(type(op), not_followed)


def not_followed(*_: object) -> Any:  # noqa: ANN401
    """Anything that isn't computed here."""
    raise ValueError


def _multiply(left: Any, right: Any) -> Any:  # noqa: ANN401
    for one, times in ((left, right), (right, left)):
        if isinstance(one, str | bytes | list | tuple) and len(one) * times > _MAX_TEXT:
            raise ValueError
    return left * right


def _modulo(left: Any, right: Any) -> Any:  # noqa: ANN401
    if isinstance(left, str):
        _check_format(left, *(right if isinstance(right, tuple) else (right,)))
    return left % right


def _check_format(template: str, *given: object) -> None:
    if _WIDE.search(template) or not all(isinstance(one, _SCALARS) for one in given):
        raise ValueError


_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: _multiply,
    ast.Div: operator.truediv,
    ast.Mod: _modulo,
}


def formatted(conversion: int, value: object, spec: str) -> str:
    """One field of an f-string."""
    _check_format(spec, value)
    return format(repr(value) if conversion == ord("r") else value, spec)


def concatenated(*texts: str) -> str:
    """The parts of an f-string, put together."""
    return "".join(texts)


def _format(template: str, *given: object, **named: object) -> str:
    _check_format(template, *given, *named.values())
    return template.format(*given, **named)


def _range(*bounds: int) -> list[int]:
    found = range(*bounds)
    if len(found) > MAX_ALTERNATIVES:
        raise ValueError
    return list(found)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "dict": dict,
    "enumerate": lambda values, start=0: list(enumerate(values, start)),
    "float": float,
    "int": int,
    "len": len,
    "list": list,
    "max": max,
    "min": min,
    "range": _range,
    # Rounding an integer to a negative number of digits takes as long as that number is large.
    "round": lambda value, digits=None: round(float(value), digits),
    "set": set,
    "sorted": sorted,
    "str": lambda value: formatted(-1, value, ""),
    "tuple": tuple,
    "zip": lambda *columns, strict=False: list(zip(*columns, strict=strict)),
}
METHODS: dict[str, Callable[..., Any]] = {
    "format": _format,
    "get": lambda owner, *key: owner.get(*key),
    "items": lambda owner: list(owner.items()),
    "keys": list,
    "values": lambda owner: list(owner.values()),
}
