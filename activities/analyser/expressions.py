"""Expressions: what each can stand for, and the reads, writes and risks in it."""

# Handlers bear the names of ast's classes, as in ast.NodeVisitor.
# ruff: noqa: N802, N815, D102, PLR0911

import ast
import builtins
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from activities.analyser import channels, constants, risks
from activities.analyser.channels import Use
from activities.analyser.findings import Findings
from activities.analyser.names import Scope
from activities.analyser.values import (
    UNKNOWN,
    Bound,
    Class,
    Constant,
    Either,
    Foreign,
    Function,
    Handle,
    Instance,
    Items,
    Kind,
    Mapping,
    Method,
    Symbol,
    Value,
    alternatives,
    join,
)

# How many expressions are followed through loops and calls; past it each is read once more at most.
STEPS = 1_500
MAX_ROUNDS = 200
MAX_PATH = 200

_Handler = Callable[[Any], Value]


class Expressions:
    """Evaluates expressions in the current scope. Calls and statements are added by subclasses."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.scope = Scope()
        self.steps = 0
        self.ruled_out = 0
        self.functions: list[Function] = []
        self._handlers: dict[type[ast.AST], _Handler] = {}

    @property
    def may_follow(self) -> bool:
        """Whether loops and calls are still followed round by round."""
        return self.steps < STEPS

    def eval(self, node: ast.expr) -> Value:
        """What `node` stands for where it is used as a value.

        A function that writes and is handed on may be called by anyone: it counts as a write.
        """
        value = self.resolve(node)
        if isinstance(value, Either):
            for one in value.alternatives:
                self._mention(node, one)
        elif isinstance(value, Symbol | Function | Bound | Method):
            self._mention(node, value)
        return value

    def resolve(self, node: ast.expr) -> Value:
        """What `node` stands for where it is called or named anew."""
        self.steps += 1
        kind = type(node)
        handler = self._handlers.get(kind)
        if handler is None:
            found: _Handler = getattr(self, f"on_{kind.__name__}", self._on_other)
            handler = self._handlers[kind] = found
        return handler(node)

    def _mention(self, node: ast.expr, value: Value) -> None:
        if isinstance(value, Function):
            value.escaped = True
        elif isinstance(value, Bound):
            value.function.escaped = True
        elif isinstance(value, Symbol):
            if not isinstance(node, ast.Call) and channels.use_of(value.path) is Use.WRITE:
                self.findings.use(Use.WRITE, value.path, node.lineno)
        elif isinstance(value, Method) and isinstance(value.owner, Handle):
            handle = value.owner
            if channels.method_use(value.name) is Use.WRITE:
                self.findings.use(Use.WRITE, value.name, node.lineno, handle.channel)

    def _on_other(self, node: ast.expr) -> Value:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.eval(child)
        return UNKNOWN

    # Names and attributes

    def on_Constant(self, node: ast.Constant) -> Value:
        return constants.small(node.value)

    def on_Name(self, node: ast.Name) -> Value:
        value = self.scope.find(node.id)
        return self.free_name(node) if value is None else value

    def free_name(self, node: ast.Name) -> Value:
        """What a name stands for that the program doesn't bind."""
        name = node.id
        if name in channels.INJECTED:
            return self.symbol(f"runpermit.{name}", node)
        if name in ("get_ipython", "__builtins__"):
            return self.symbol(name if name == "get_ipython" else f"builtins.{name}", node)
        if stars := self.scope.all_stars():
            found = [self.symbol(f"{module}.{name}", node) for module in stars]
            if not hasattr(builtins, name):
                return join(*found)
        if name in channels.EPICS_NAMES:
            return self.symbol(name if name == "epics" else f"epics.{name}", node)
        if hasattr(builtins, name):
            return self.symbol(f"builtins.{name}", node)
        return Handle(Kind.CHANNEL) if channels.CHANNEL_NAME.search(name) else UNKNOWN

    def symbol(self, path: str, node: ast.AST) -> Symbol:
        """The symbol of `path`, judged for what is wrong with it."""
        path = risks.canonical(path)
        line = getattr(node, "lineno", 0)
        if channels.is_control(path):
            self.findings.uses_control = True
        if risk := risks.risk_of(path):
            self.findings.risk(risk, path.removeprefix("builtins."), line)
        return Symbol(path)

    def on_Attribute(self, node: ast.Attribute) -> Value:
        return self.attribute(self.resolve(node.value), node.attr, node)

    def attribute(self, owner: Value, name: str, node: ast.expr) -> Value:
        """What `owner.name` stands for."""
        if risk := risks.risk_of_attribute(name):
            self.findings.risk(risk, f".{name}", node.lineno)
        if not isinstance(owner, Either):
            return self._attribute(owner, name, node)
        return join(*(self._attribute(one, name, node) for one in owner.alternatives))

    def _attribute(self, owner: Value, name: str, node: ast.expr) -> Value:
        if isinstance(owner, Symbol):
            if len(owner.path) > MAX_PATH:
                return Foreign("too long")
            return self.symbol(f"{owner.path}.{name}", node)
        if isinstance(owner, Handle):
            return self._handle_attribute(owner, name, node)
        if isinstance(owner, Instance):
            return self._instance_attribute(owner, name)
        if isinstance(owner, Class):
            return owner.find(name) or Method(UNKNOWN, name)
        if isinstance(owner, Foreign):
            return Foreign(f"{owner.path}.{name}") if len(owner.path) < MAX_PATH else owner
        if isinstance(owner, Constant | Items | Mapping):
            return Method(owner, name)
        return Method(UNKNOWN, name)

    def _handle_attribute(self, handle: Handle, name: str, node: ast.expr) -> Value:
        if channels.method_use(name):
            return Method(handle, name)
        if handle.kind is Kind.CHANNEL and name in channels.CHANNEL_ATTRIBUTES:
            self.findings.use(Use.READ, f".{name}", node.lineno, handle.channel)
            return Foreign("epics.value")
        if handle.kind is Kind.DEVICE and not name.startswith("_"):
            self.findings.use(Use.READ, f".{name}", node.lineno, channels.field_of(handle, name))
        return Method(handle, name)

    def _instance_attribute(self, instance: Instance, name: str) -> Value:
        if name in instance.fields:
            return instance.fields[name]
        member = instance.cls.find(name)
        if isinstance(member, Function):
            return Bound(member, instance)
        found = [value for value in (member, instance.cls.shared.get(name)) if value is not None]
        return join(*found) if found else Method(UNKNOWN, name)

    # Text and arithmetic

    def on_JoinedStr(self, node: ast.JoinedStr) -> Value:
        ways = [""]
        known = True
        for part in node.values:
            texts = self._part(part)
            known = known and bool(texts) and len(ways) * len(texts) <= MAX_ROUNDS
            if known:
                ways = [way + text for way in ways for text in texts]
        return join(*(constants.small(way) for way in ways)) if known else UNKNOWN

    def _part(self, node: ast.expr) -> list[str]:
        """The texts that one part of an f-string can be; none where it is not known."""
        if isinstance(node, ast.Constant):
            return [str(node.value)]
        if not isinstance(node, ast.FormattedValue):
            return []
        value = self.eval(node.value)
        spec = self.eval(node.format_spec) if node.format_spec else Constant("")
        if not isinstance(spec, Constant):
            return []
        found = [
            constants.formatted(one, node.conversion, spec.value) for one in alternatives(value)
        ]
        texts = [text for text in found if text is not None]
        return texts if len(texts) == len(found) else []

    def on_BinOp(self, node: ast.BinOp) -> Value:
        left, right = self.eval(node.left), self.eval(node.right)
        if not isinstance(left, Either) and not isinstance(right, Either):
            return self._binary(node.op, left, right)
        pairs = [(one, other) for one in alternatives(left) for other in alternatives(right)]
        if len(pairs) > MAX_ROUNDS:
            return UNKNOWN
        return join(*(self._binary(node.op, one, other) for one, other in pairs))

    def _binary(self, op: ast.operator, left: Value, right: Value) -> Value:
        if isinstance(op, ast.BitOr) and isinstance(left, Mapping):
            both = Mapping(dict(left.pairs), list(left.others), left.open)
            both.update(right)
            return both
        return constants.binary(op, left, right)

    def on_UnaryOp(self, node: ast.UnaryOp) -> Value:
        operand = self.eval(node.operand)
        return join(*(constants.unary(node.op, one) for one in alternatives(operand)))

    def on_BoolOp(self, node: ast.BoolOp) -> Value:
        values = [self.eval(value) for value in node.values]
        stops_at = isinstance(node.op, ast.Or)
        for value in values:
            if constants.truth(value) is stops_at:
                return value
            if constants.truth(value) is None:
                return join(*values)
        return values[-1]

    def on_Compare(self, node: ast.Compare) -> Value:
        values = [self.eval(node.left), *(self.eval(one) for one in node.comparators)]
        outcomes = [
            constants.compare(op, left, right)
            for op, left, right in zip(node.ops, values, values[1:], strict=False)
        ]
        if False in outcomes:
            return Constant(value=False)
        return UNKNOWN if None in outcomes else Constant(value=True)

    def on_IfExp(self, node: ast.IfExp) -> Value:
        outcome = constants.truth(self.eval(node.test))
        with self.unless(possible=outcome is not False):
            body = self.eval(node.body)
        with self.unless(possible=outcome is not True):
            orelse = self.eval(node.orelse)
        return join(body, orelse) if outcome is None else body if outcome else orelse

    def unless(self, *, possible: bool) -> "_RuledOut":
        """Look at what constants rule out for its writes alone: their values are not judged."""
        return _RuledOut(self, active=not possible)

    def on_NamedExpr(self, node: ast.NamedExpr) -> Value:
        value = self.resolve(node.value)
        self.bind(node.target.id, value)
        return value

    # Collections

    def _elements(self, nodes: Iterable[ast.expr]) -> Items:
        found = Items([])
        for node in nodes:
            if isinstance(node, ast.Starred):
                spread = self.eval(node.value)
                for value in self.elements_of(spread):
                    found.add(value)
                found.open |= not self.is_complete(spread)
            else:
                found.add(self.eval(node))
        return found

    def on_List(self, node: ast.List) -> Value:
        return self._elements(node.elts)

    def on_Tuple(self, node: ast.Tuple) -> Value:
        return self._elements(node.elts)

    def on_Set(self, node: ast.Set) -> Value:
        return self._elements(node.elts)

    def on_Dict(self, node: ast.Dict) -> Value:
        found = Mapping({})
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                found.update(self.eval(value))
            else:
                found.set(self.eval(key), self.eval(value))
        return found

    def elements_of(self, value: Value) -> list[Value]:
        """What iterating over `value` gives, as far as it is known."""
        found: list[Value] = []
        for one in alternatives(value):
            if isinstance(one, Items):
                found += one.items
            elif isinstance(one, Mapping):
                found += [Constant(key) for key in one.pairs]
            elif isinstance(one, Constant) and isinstance(one.value, str):
                found += [Constant(char) for char in one.value]
        return found

    def is_complete(self, value: Value) -> bool:
        """Whether `elements_of` gives all of `value`, one after the other."""
        if isinstance(value, Items | Mapping):
            return not value.open
        return isinstance(value, Constant) and isinstance(value.value, str)

    def on_Subscript(self, node: ast.Subscript) -> Value:
        owner = self.eval(node.value)
        if isinstance(node.slice, ast.Slice):
            parts = (node.slice.lower, node.slice.upper, node.slice.step)
            bounds = [Constant(None) if part is None else self.eval(part) for part in parts]
            return join(*(constants.sliced(one, bounds) for one in alternatives(owner)))
        index = self.eval(node.slice)
        found = [
            self._item(one, which) for one in alternatives(owner) for which in alternatives(index)
        ]
        return join(*found)

    def _item(self, owner: Value, index: Value) -> Value:
        if isinstance(owner, Constant | Items):
            value = constants.subscript(owner, index)
            if value is None and isinstance(owner, Items):
                return join(*owner.items, UNKNOWN)
            return UNKNOWN if value is None else value
        if isinstance(owner, Mapping):
            if isinstance(index, Constant) and index.value in owner.pairs and not owner.open:
                return owner.pairs[index.value]
            return join(*owner.pairs.values(), *owner.others, UNKNOWN)
        if isinstance(owner, Foreign):
            return owner
        # An element of a control object, such as `controller["axis"]`, is one too.
        return Handle(owner.kind) if isinstance(owner, Handle) else UNKNOWN

    # Comprehensions

    def on_ListComp(self, node: ast.ListComp) -> Value:
        found = Items([])
        self._comprehend(node.generators, lambda: (self.eval(node.elt),), found.add, found)
        return found

    on_SetComp = on_ListComp
    on_GeneratorExp = on_ListComp

    def on_DictComp(self, node: ast.DictComp) -> Value:
        found = Mapping({})
        self._comprehend(
            node.generators,
            lambda: (self.eval(node.key), self.eval(node.value)),
            found.set,
            found,
        )
        return found

    def _comprehend(
        self,
        generators: list[ast.comprehension],
        element: Callable[[], tuple[Value, ...]],
        store: Callable[..., None],
        found: Items | Mapping,
    ) -> None:
        if not generators:
            parts = element()
            if not self.ruled_out:
                store(*parts)
            return
        first, *rest = generators
        iterable = self.eval(first.iter)
        self.scope.branch()
        for value in self.rounds(iterable, found):
            self.assign(first.target, value)
            outcomes = [constants.truth(self.eval(condition)) for condition in first.ifs]
            found.open |= None in outcomes
            with self.unless(possible=False not in outcomes):
                self._comprehend(rest, element, store, found)
        self.scope.end_branch()

    def rounds(self, iterable: Value, found: Items | Mapping) -> Iterator[Value]:
        """The values that a comprehension runs through, one by one or as one joined."""
        values = self.elements_of(iterable)
        if self.is_complete(iterable) and len(values) <= MAX_ROUNDS and self.may_follow:
            done = 0
            for value in values:
                if not self.may_follow:
                    break
                done += 1
                yield value
            if done == len(values) > 0:
                return
            values = values[done:]
        found.open = True
        yield join(*values, UNKNOWN) if not self.is_complete(iterable) else join(*values)

    # Supplied by subclasses

    def bind(self, name: str, value: Value) -> None:
        """Bind a name."""
        raise NotImplementedError

    def assign(self, target: ast.expr, value: Value) -> None:
        """Bind whatever stands on the left of an assignment."""
        raise NotImplementedError


class _RuledOut:
    """A stretch of code that constants rule out."""

    def __init__(self, program: Expressions, *, active: bool) -> None:
        self._program = program
        self._active = active

    def __enter__(self) -> None:
        self._program.ruled_out += self._active

    def __exit__(self, *_: object) -> None:
        self._program.ruled_out -= self._active
