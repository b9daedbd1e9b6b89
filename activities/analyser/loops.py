"""Loops and comprehensions: what their rounds give, and what they change."""

import ast
from dataclasses import dataclass, field
from typing import Any

from activities.analyser.constants import elements
from activities.analyser.values import FOREIGN, UNKNOWN, Binding, Constants, Handle, one_of
from activities.analyser.work import spend

_UNEVEN = (ast.If, ast.Continue, ast.Try, ast.Break)
_LEAVING = (ast.Break, ast.Return, ast.Raise, ast.Yield, ast.Await)


@dataclass
class Loop:
    """The names that a loop's body binds; whether each round is whole; whether it can end."""

    names: set[str] = field(default_factory=set)
    straight: bool = True
    ends: bool = False


def survey(body: list[ast.stmt]) -> Loop:
    """Look over a loop's body before it is read."""
    loop = Loop()
    nodes: list[ast.AST] = [*body]
    while nodes:
        node = nodes.pop()
        spend(1)
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store):
                loop.names.add(node.id)
            continue
        if isinstance(node, _UNEVEN):
            loop.straight = False
        if isinstance(node, _LEAVING) or (isinstance(node, ast.Attribute) and node.attr == "exit"):
            loop.ends = True
        for name in node._fields:
            child = getattr(node, name)
            if isinstance(child, list):
                nodes += [part for part in child if isinstance(part, ast.AST)]
            elif isinstance(child, ast.expr):
                nodes.append(child)
    return loop


def loop_variable(iterable: Binding, *, certain: bool) -> Binding:
    """What the target of a loop over `iterable` stands for in its rounds."""
    values = elements(iterable)
    if values is None:
        return iterable if isinstance(iterable, Handle) or iterable is FOREIGN else UNKNOWN
    certain = certain and isinstance(iterable, Constants) and iterable.certain
    return one_of(values, object(), certain=certain)


def column(value: Binding, rounds: Constants) -> tuple[Any, ...] | Binding:
    """`value` in each of the rounds of a loop, where it is known which is which."""
    values = value.values if isinstance(value, Constants) else (value,)
    if len(values) == 1:
        return values * len(rounds.values)
    same = isinstance(value, Constants) and value.source is rounds.source
    return values if same else UNKNOWN
