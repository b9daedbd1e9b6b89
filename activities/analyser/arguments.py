"""What a call is given, and what can be told from that alone."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from activities.analyser import channels
from activities.analyser.constants import fold
from activities.analyser.values import (
    CONTAINERS,
    FOREIGN,
    UNKNOWN,
    Binding,
    Constants,
    Handle,
    Symbol,
    bindings_in,
)


@dataclass(slots=True)
class Arguments:
    """What a call gives; `open` where stars may give more, so that no place is certain."""

    positional: list[Binding] = field(default_factory=list)
    keywords: dict[str, Binding] = field(default_factory=dict)
    open: bool = False

    def get(self, index: int, names: Iterable[str] = ()) -> Binding | None:
        """The argument at `index` or by one of `names`; None where it is not given."""
        if self.open:
            return UNKNOWN
        if index < len(self.positional):
            return self.positional[index]
        return next((self.keywords[name] for name in names if name in self.keywords), None)

    @property
    def all(self) -> list[Binding]:
        """Every argument."""
        return [*self.positional, *self.keywords.values()]


def only(value: Binding | None) -> object:
    """The one constant that `value` is, else None."""
    return value.values[0] if isinstance(value, Constants) and len(value.values) == 1 else None


def fold_call(function: Callable[..., Any], given: Arguments) -> Binding:
    """`function` of constants, some of them by keyword."""
    count = len(given.positional)

    def call(*values: object) -> object:
        return function(*values[:count], **dict(zip(given.keywords, values[count:], strict=True)))

    return fold(call, *given.all)


def given_back(given: Arguments) -> Binding:
    """What a library's function gives: an object of its own, or a control object that went in."""
    for value in given.all:
        plain = isinstance(value, Constants) and not isinstance(value.values[0], CONTAINERS)
        for one in () if plain else bindings_in(value):
            if isinstance(one, Handle):
                return one
            if isinstance(one, Symbol) and channels.is_control(one.path):
                return Handle()
    return FOREIGN
