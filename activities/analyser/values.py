"""What an expression can stand for, as far as the analysis follows it."""

import ast
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from activities.analyser.names import Scope

MAX_ALTERNATIVES = 64
MAX_ITEMS = 1000
_MAX_DEPTH = 4


class Unknown:
    """Anything at all."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A small constant; see `constants.small`."""

    value: Any


@dataclass(frozen=True, slots=True)
class Symbol:
    """A module, or something in one, by its dotted path: `epics.caput`, `builtins.open`."""

    path: str


@dataclass(frozen=True, slots=True)
class Foreign:
    """An object made by a library that is no control library; `path` tells by what."""

    path: str


class Kind(StrEnum):
    """What a handle's methods expect."""

    CHANNEL = "channel"
    DEVICE = "device"
    CONTEXT = "context"


@dataclass(frozen=True, slots=True)
class Handle:
    """An object of a control library that reads and writes.

    `channel` is its channel, or a device's prefix with its delimiter; None where computed.
    """

    kind: Kind
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class Method:
    """An attribute of an object, not yet called."""

    owner: "Value"
    name: str


@dataclass(eq=False, slots=True)
class Items:
    """A list, tuple or set, shared by all names for it; `open` where it may hold more."""

    items: "list[Value]"
    open: bool = False

    def add(self, value: "Value") -> None:
        """Append `value`, or say that there is more."""
        if len(self.items) < MAX_ITEMS:
            self.items.append(value)
        else:
            self.open = True


@dataclass(eq=False, slots=True)
class Mapping:
    """A dict with constant keys; `others` are the values under keys that are not known."""

    pairs: "dict[Any, Value]"
    others: "list[Value]" = field(default_factory=list)
    open: bool = False

    def set(self, key: "Value", value: "Value") -> None:
        """Store `value` under `key`."""
        if isinstance(key, Constant) and len(self.pairs) < MAX_ITEMS:
            self.pairs[key.value] = value
            return
        self.open = True
        if len(self.others) < MAX_ITEMS:
            self.others.append(value)

    def update(self, other: "Value") -> None:
        """Store all that `other` holds."""
        if isinstance(other, Mapping):
            for key, value in other.pairs.items():
                self.set(Constant(key), value)
            for value in other.others:
                self.set(UNKNOWN, value)
            self.open |= other.open
        elif isinstance(other, Items):
            for pair in other.items:
                if isinstance(pair, Items) and len(pair.items) == 2:  # noqa: PLR2004
                    self.set(*pair.items)
                else:
                    self.open = True
            self.open |= other.open
        else:
            self.open = True


@dataclass(eq=False, slots=True)
class Function:
    """A function: `traced` once a call was followed, `escaped` once it was handed on."""

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    scope: "Scope"
    defaults: "dict[str, Value]"
    owner: "Class | None" = None
    traced: bool = False
    escaped: bool = False


@dataclass(eq=False, slots=True)
class Class:
    """A class of the program; `shared` joins what any instance's attributes were set to."""

    members: "dict[str, Value]"
    bases: "list[Value]"
    fields: list[str]
    shared: "dict[str, Value]" = field(default_factory=dict)

    def find(self, name: str, depth: int = 0) -> "Value | None":
        """The member `name` of the class or of its bases in the program."""
        if name in self.members or depth > _MAX_DEPTH:
            return self.members.get(name)
        found = (base.find(name, depth + 1) for base in self.bases if isinstance(base, Class))
        return next((member for member in found if member is not None), None)


@dataclass(eq=False, slots=True)
class Instance:
    """An object of a class of the program."""

    cls: Class
    fields: "dict[str, Value]" = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bound:
    """A function of the program as a method of one object."""

    function: Function
    owner: Instance


@dataclass(frozen=True, slots=True)
class Either:
    """One of several values."""

    alternatives: "tuple[Value, ...]"


Value: TypeAlias = (
    Unknown
    | Constant
    | Symbol
    | Foreign
    | Handle
    | Method
    | Items
    | Mapping
    | Function
    | Class
    | Instance
    | Bound
    | Either
)

UNKNOWN = Unknown()


class NotKnownError(Exception):
    """A value is no constant."""


def alternatives(value: Value) -> tuple[Value, ...]:
    """All that `value` can be."""
    return value.alternatives if isinstance(value, Either) else (value,)


def join(*values: Value) -> Value:
    """One of `values`; past 64 alternatives the rest is unknown. Nothing joined is unknown."""
    if len(values) == 1:
        return values[0]
    found: dict[object, Value] = {}
    for value in values:
        for one in alternatives(value):
            # 1, 1.0 and True are equal, and not the same to a channel.
            key = (type(one.value), one.value) if isinstance(one, Constant) else one
            found.setdefault(key, one)
    if len(found) > MAX_ALTERNATIVES:
        return Either((*list(found.values())[:MAX_ALTERNATIVES], UNKNOWN))
    if len(found) == 1:
        return next(iter(found.values()))
    return Either(tuple(found.values())) if found else UNKNOWN


def widen(value: Value) -> Value:
    """`value` after any number of rounds of a loop: constants change, objects stay."""
    return join(*(one for one in alternatives(value) if not isinstance(one, Constant)), UNKNOWN)


def handles_in(value: Value) -> list[Value]:
    """What `value` holds that reaches the control system or runs code of the program.

    Looks at a bounded number of parts: containers may hold each other.
    """
    found: list[Value] = []
    open_parts = [value]
    for _ in range(MAX_ALTERNATIVES * 2):
        if not open_parts:
            break
        one = open_parts.pop()
        if isinstance(one, Either):
            open_parts += one.alternatives
        elif isinstance(one, Items):
            open_parts += one.items[:MAX_ALTERNATIVES]
        elif isinstance(one, Mapping):
            open_parts += [*one.pairs.values(), *one.others][:MAX_ALTERNATIVES]
        elif isinstance(one, Handle | Method | Instance | Symbol):
            found.append(one)
    return found


def python_value(value: Value) -> Any:  # noqa: ANN401
    """The constant that `value` is, lists included. Raises NotKnownError where it is none."""
    return _python_value(value, [MAX_ITEMS], 0)


def _python_value(value: Value, left: list[int], depth: int) -> Any:  # noqa: ANN401
    left[0] -= 1
    if isinstance(value, Constant):
        return value.value
    if isinstance(value, Items) and not value.open and depth < _MAX_DEPTH and left[0] > 0:
        return [_python_value(item, left, depth + 1) for item in value.items]
    raise NotKnownError
