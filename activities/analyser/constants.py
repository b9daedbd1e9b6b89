"""Arithmetic and text on constants, of small things only: what could grow large is unknown."""

# ruff: noqa: PLR0911

import ast
import operator
import re
from collections.abc import Callable
from typing import Any

from activities.analyser.values import (
    MAX_ITEMS,
    UNKNOWN,
    Constant,
    Items,
    NotKnownError,
    Value,
    python_value,
)

MAX_TEXT = 1000
MAX_RANGE = 200
_INT_BITS = 64

# What a program's own mistake raises while its constants are computed.
_MISTAKES = (ArithmeticError, TypeError, ValueError, LookupError, AttributeError)

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
    ast.Invert: operator.invert,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "bool": bool,
    "chr": chr,
    "float": float,
    "int": int,
    "len": len,
    "max": max,
    "min": min,
    "ord": ord,
    "range": range,
    "reversed": lambda values: list(reversed(values)),
    "round": round,
    "sorted": sorted,
    "str": str,
    "sum": sum,
}
_CONVERSIONS: dict[int, Callable[[Any], str]] = {ord("s"): str, ord("r"): repr, ord("a"): ascii}
_TEXT_METHODS = frozenset(
    [
        "capitalize",
        "casefold",
        "endswith",
        "lower",
        "lstrip",
        "partition",
        "removeprefix",
        "removesuffix",
        "rpartition",
        "rsplit",
        "rstrip",
        "split",
        "splitlines",
        "startswith",
        "strip",
        "swapcase",
        "title",
        "upper",
    ]
)
_WIDE = re.compile(r"\d{4,}|%[^a-zA-Z%]*\*|\{[^{}]*\{")


def small(value: object) -> Value:
    """`value` as a constant if it is small and can cross the wire as text; else unknown."""
    if isinstance(value, list | tuple | range | set | frozenset):
        if len(value) > (MAX_RANGE if isinstance(value, range) else MAX_ITEMS):
            return UNKNOWN
        return Items([small(item) for item in value])
    if isinstance(value, str):
        return Constant(value) if len(value) <= MAX_TEXT and _encodes(value) else UNKNOWN
    if isinstance(value, int):
        return Constant(value) if value.bit_length() <= _INT_BITS else UNKNOWN
    if isinstance(value, bytes):
        return Constant(value) if len(value) <= MAX_TEXT else UNKNOWN
    if value is None or isinstance(value, float | complex):
        return Constant(value)
    return UNKNOWN


def _encodes(text: str) -> bool:
    """Whether UTF-8 can hold `text`; it can't hold a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def unary(op: ast.unaryop, operand: Value) -> Value:
    """`-x`, `not x` and the like."""
    return _compute(_UNARY[type(op)], operand)


def binary(op: ast.operator, left: Value, right: Value) -> Value:
    """`left op right` for numbers, text and lists."""
    function = _BINARY.get(type(op))
    if isinstance(left, Items) and isinstance(right, Items) and isinstance(op, ast.Add):
        if len(left.items) + len(right.items) > MAX_ITEMS:
            return Items([*left.items, *right.items][:MAX_ITEMS], open=True)
        return Items([*left.items, *right.items], open=left.open or right.open)
    if isinstance(left, Items) and isinstance(right, Constant) and isinstance(op, ast.Mult):
        times = right.value if isinstance(right.value, int) else MAX_ITEMS
        fits = len(left.items) * times <= MAX_ITEMS and not left.open
        return Items(left.items * times) if fits else UNKNOWN
    if function is None or not (isinstance(left, Constant) and _plain(right)):
        return UNKNOWN
    if isinstance(op, ast.Mult | ast.Pow) and _grows(op, left, right):
        return UNKNOWN
    if isinstance(op, ast.Mod) and isinstance(left.value, str | bytes):
        return percent(left, right)
    return _compute(function, left, right)


def percent(template: Constant, values: Value) -> Value:
    """`"%d" % value`."""
    if not isinstance(template.value, str) or _WIDE.search(template.value):
        return UNKNOWN
    try:
        given = python_value(values)
    except NotKnownError:
        return UNKNOWN
    return _try(operator.mod, template.value, tuple(given) if isinstance(given, list) else given)


def formatted(value: Value, conversion: int, spec: str) -> str | None:
    """One field of an f-string, or None where it is not known."""
    if not isinstance(value, Constant) or _WIDE.search(spec):
        return None
    shown = value.value
    if conversion in _CONVERSIONS:
        shown = _CONVERSIONS[conversion](shown)
    try:
        return format(shown, spec)
    except _MISTAKES:
        return None


def compare(op: ast.cmpop, left: Value, right: Value) -> bool | None:
    """`left op right`, or None where it is not known."""
    result = _compute(_COMPARISONS[type(op)], left, right)
    return bool(result.value) if isinstance(result, Constant) else None


def truth(value: Value) -> bool | None:
    """Whether `value` counts as true, or None where it is not known."""
    return bool(value.value) if isinstance(value, Constant) else None


def call(name: str, args: list[Value]) -> Value:
    """The builtin `name` of constants."""
    function = _FUNCTIONS.get(name)
    if function is None:
        return UNKNOWN
    if name == "len" and len(args) == 1 and isinstance(args[0], Items) and not args[0].open:
        return Constant(len(args[0].items))
    return _compute(function, *args)


def text_method(text: str, name: str, args: list[Value], keywords: dict[str, Value]) -> Value:
    """`text.name(*args)`."""
    try:
        given = [python_value(arg) for arg in args]
        named = {key: python_value(value) for key, value in keywords.items()}
    except NotKnownError:
        return UNKNOWN
    if name == "format":
        return UNKNOWN if _WIDE.search(text) else _try(text.format, *given, **named)
    if name == "join" and len(given) == 1 and isinstance(given[0], list):
        size = sum(len(str(item)) + len(text) for item in given[0])
        return _try(text.join, given[0]) if size <= MAX_TEXT else UNKNOWN
    if name == "replace" and all(isinstance(item, str) for item in given[:2]):
        size = len(text) * max([len(item) for item in given[:2]] + [1])
        return _try(text.replace, *given) if size <= MAX_TEXT * 10 else UNKNOWN
    if name == "zfill" and given and isinstance(given[0], int) and given[0] <= MAX_TEXT:
        return _try(text.zfill, given[0])
    if name in _TEXT_METHODS:
        return _try(getattr(text, name), *given, **named)
    return UNKNOWN


def subscript(owner: Constant | Items, index: Value) -> Value | None:
    """`owner[index]`, or None where the index is not known."""
    if not isinstance(index, Constant):
        return None
    held = owner.items if isinstance(owner, Items) else owner.value
    try:
        found = held[index.value]
    except _MISTAKES:
        return None
    return found if isinstance(owner, Items) else small(found)


def sliced(owner: Value, bounds: list[Value]) -> Value:
    """`owner[a:b:c]`."""
    try:
        where = slice(*(python_value(bound) for bound in bounds))
        if isinstance(owner, Items):
            return Items(owner.items[where], open=owner.open)
        return small(owner.value[where]) if isinstance(owner, Constant) else UNKNOWN
    except (NotKnownError, *_MISTAKES):
        return UNKNOWN


def _plain(value: Value) -> bool:
    return isinstance(value, Constant | Items)


def _grows(op: ast.operator, left: Constant, right: Value) -> bool:
    """Whether the result could be large."""
    if not isinstance(right, Constant):
        return True
    pair = (left.value, right.value)
    if isinstance(op, ast.Pow):
        return isinstance(pair[1], int) and abs(pair[1]) > _INT_BITS
    if any(isinstance(one, str | bytes) for one in pair):
        times = [one for one in pair if isinstance(one, int)]
        return not times or times[0] > MAX_TEXT
    return False


def _compute(function: Callable[..., Any], *values: Value) -> Value:
    try:
        given = [python_value(value) for value in values]
    except NotKnownError:
        return UNKNOWN
    return _try(function, *given)


def _try(function: Callable[..., Any], *args: object, **named: object) -> Value:
    try:
        return small(function(*args, **named))
    except _MISTAKES:
        return UNKNOWN
