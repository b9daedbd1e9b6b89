"""Bindings: what a name or an expression can stand for."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from activities.analyser.work import spend

MAX_ALTERNATIVES = 200
CONTAINERS = (list, tuple, set, dict)


class Use(StrEnum):
    """What a call does to the machine."""

    READ = "read"
    WRITE = "write"


class Binding:
    """What a name stands for; an instance of this very class says no more than its own name."""

    __slots__ = ()
    # What calling it does.
    use: Use | None = None


UNKNOWN = Binding()
# An object made by a library that is no control library: its `put` reaches no channel.
FOREIGN = Binding()


@dataclass(eq=False, slots=True)
class Constants(Binding):
    """A small constant, or one of several.

    Alternatives with the same `source`, such as a loop, go together one by one; without one it is
    not known which go together. Containers hold plain values, and bindings for what isn't plain.
    `certain` where every alternative is bound to come up.
    """

    values: tuple[Any, ...]
    source: object = None
    certain: bool = True


@dataclass(eq=False, slots=True)
class Symbol(Binding):
    """A module, or something in one, by its dotted path: `epics.caput`, `builtins.open`."""

    path: str
    use: Use | None = None


@dataclass(eq=False, slots=True)
class Handle(Binding):
    """An object of a control library: a channel, or a device or context with a `name` for each.

    The name of a device is the prefix of its channels; that of a context is empty.
    """

    name: Binding = UNKNOWN
    is_channel: bool = True


@dataclass(eq=False, slots=True)
class Method(Binding):
    """An attribute of an object, not yet called."""

    owner: Binding
    name: str
    use: Use | None = None


def words(text: str) -> frozenset[str]:
    """The names in a table."""
    return frozenset(text.split())


def one_of(values: Iterable[Any], source: object, *, certain: bool) -> Binding:
    """One of `values`, plain or bindings."""
    found = tuple(values)
    if not found or len(found) > MAX_ALTERNATIVES:
        return UNKNOWN
    plain = [value for value in found if not isinstance(value, Binding)]
    if len(plain) == len(found):
        return Constants(found, source, certain)
    result, *rest = [v if isinstance(v, Binding) else Constants((v,)) for v in found]
    for one in rest:
        result = join(result, one)
    return result


def join(first: Binding, second: Binding) -> Binding:
    """One of two bindings: of different kinds the one that can do more to the machine."""
    same = isinstance(first, Symbol) and isinstance(second, Symbol) and first.path == second.path
    if first is second or same:
        return first
    if isinstance(first, Constants) and isinstance(second, Constants):
        return _union(first, second)
    for one, other in ((first, second), (second, first)):
        if isinstance(one, Handle):
            if isinstance(other, Handle) and one.is_channel is other.is_channel:
                return Handle(join(one.name, other.name), one.is_channel)
            return one if isinstance(other, Constants) else Handle(UNKNOWN, one.is_channel)
    # Calls count by the worst that they may do; an import that may fail is still that module.
    for use in (Use.WRITE, Use.READ):
        if use in (first.use, second.use):
            return first if first.use is use else second
    symbols = [one for one in (first, second) if isinstance(one, Symbol)]
    return symbols[0] if len(symbols) == 1 else UNKNOWN


def _key(value: object) -> object:
    # 1, 1.0 and True are equal, and not the same to a channel.
    return id(value) if isinstance(value, CONTAINERS) else (type(value), value)


def _union(first: Constants, second: Constants) -> Binding:
    spend(len(first.values) + len(second.values))
    found = {_key(value): value for value in (*first.values, *second.values)}
    if len(found) == len(first.values) == len(second.values):
        return first
    if len(found) > MAX_ALTERNATIVES:
        return UNKNOWN
    return Constants(tuple(found.values()), object(), certain=False)


def bindings_in(value: object) -> Iterator[Binding]:
    """What in a container is no plain value."""
    if isinstance(value, Constants):
        value = value.values
    if isinstance(value, CONTAINERS):
        spend(len(value))
    if isinstance(value, Binding):
        yield value
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from bindings_in(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from bindings_in(key)
            yield from bindings_in(item)
