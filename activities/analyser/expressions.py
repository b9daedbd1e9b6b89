"""Expressions: what each can stand for; the reads, writes and risks in it are noted on the way."""

# Handlers bear the names of ast's classes, as in ast.NodeVisitor.
# ruff: noqa: N802, N815, D102

import ast
import operator
from collections.abc import Callable
from functools import partial
from typing import Any

from activities.analyser import channels, constants
from activities.analyser.arguments import Arguments
from activities.analyser.constants import constant, elements, fold, pack
from activities.analyser.findings import Findings
from activities.analyser.loops import column, loop_variable
from activities.analyser.names import Scope
from activities.analyser.objects import Objects
from activities.analyser.values import (
    FOREIGN,
    UNKNOWN,
    Binding,
    Constants,
    Handle,
    Method,
    Symbol,
    Use,
    bindings_in,
    join,
    one_of,
    words,
)

_MINUS: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_CHANGES = words("append add insert extend update setdefault pop remove clear sort")


class Expressions:
    """Reads expressions in the current scope; statements are added by the subclass."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.objects = Objects(findings)
        self.scope = Scope()
        self._readers: dict[type[ast.expr], Callable[[Any], Binding]] = {
            kind: getattr(self, f"on_{kind.__name__}", self._on_other)
            for kind in ast.expr.__subclasses__()
        }

    def value(self, node: ast.expr) -> Binding:
        """What `node` stands for where it is used as a value.

        A function that writes and is handed on may be called by anyone: it counts as a write.
        """
        found = self._readers[type(node)](node)
        if found.use is Use.WRITE:
            self.hand_on(found, node.lineno)
        return found

    def resolve(self, node: ast.expr) -> Binding:
        """What `node` stands for where it is called or named anew."""
        return self._readers[type(node)](node)

    def hand_on(self, found: Binding, line: int) -> None:
        """Note a function that writes and may be called out of sight."""
        if isinstance(found, Symbol):
            self.findings.uses(Use.WRITE, found.path.removeprefix("runpermit."), line, UNKNOWN)
        elif isinstance(found, Method):
            channel = found.owner.name if isinstance(found.owner, Handle) else UNKNOWN
            self.findings.uses(Use.WRITE, found.name, line, channel)

    def _on_other(self, node: ast.expr) -> Binding:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.value(child)
        return UNKNOWN

    # Names

    def on_Name(self, node: ast.Name) -> Binding:
        value = self.scope.find(node.id)
        return self.objects.free_name(node.id, node.lineno) if value is None else value

    def on_Attribute(self, node: ast.Attribute) -> Binding:
        return self.objects.attribute(self.resolve(node.value), node.attr, node.lineno)

    def on_NamedExpr(self, node: ast.NamedExpr) -> Binding:
        value = self.resolve(node.value)
        self.assign(node.target, value)
        return value

    def assign(self, target: ast.expr, value: Binding) -> None:
        """Bind whatever stands on the left of an assignment."""
        if isinstance(target, ast.Name):
            if value.use is Use.WRITE and self.scope.find(target.id) is not None:
                # In a loop it may be called by the other binding of its name.
                self.hand_on(value, target.lineno)
            self.bind(target.id, value)
        elif isinstance(target, ast.Tuple | ast.List):
            for index, one in enumerate(target.elts):
                parted = isinstance(value, Constants)
                part = (
                    fold(partial(constants.part, len(target.elts), index), value)
                    if parted
                    else value
                )
                self.assign(one, part)
        elif isinstance(target, ast.Starred):
            self.assign(target.value, UNKNOWN)
        else:
            # Handed on: whoever has the object can call it.
            if value.use is Use.WRITE:
                self.hand_on(value, target.lineno)
            self._assign_inside(target, value)

    def bind(self, name: str, value: Binding) -> None:
        """Bind `name`, and note where it is the program's `results`."""
        if name == "results" and self.scope.outer.get(name, self.scope).parent is None:
            self.findings.assigns_results = True
        self.scope.bind(name, value)

    def _assign_inside(self, target: ast.expr, value: Binding) -> None:
        if isinstance(target, ast.Attribute):
            owner = self.resolve(target.value)
            self.objects.set_attribute(owner, target.attr, value, target.lineno)
        elif isinstance(target, ast.Subscript):
            owner, key = self.value(target.value), self.value(target.slice)
            if isinstance(owner, Symbol) and owner.path == "os.environ":
                self.objects.set_environment(key, target.lineno)
            elif isinstance(owner, Handle):
                self.objects.set_attribute(owner, "value", UNKNOWN, target.lineno)
            self._changed(target.value, [value])

    def _changed(self, node: ast.expr, given: list[Binding]) -> None:
        """The container that `node` names was changed, by adding `given`: what it holds is open."""
        if isinstance(node, ast.Name) and isinstance(self.scope.find(node.id), Constants):
            handles = (
                part for one in given for part in bindings_in(one) if isinstance(part, Handle)
            )
            self.bind(node.id, next(handles, UNKNOWN))

    # Calls

    def on_Call(self, node: ast.Call) -> Binding:
        function = node.func
        callee = self.resolve(function)
        if isinstance(function, ast.Name) and function.id in channels.INJECTED:
            # Even where the program defines the name itself: it may still lead to ours.
            callee = self.objects.symbol(f"runpermit.{function.id}", node.lineno)
        given = Arguments()
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                parts = elements(self.value(argument.value))
                given.open |= parts is None
                given.positional += [one_of([part], None, certain=True) for part in parts or ()]
            else:
                given.positional.append(self.value(argument))
        for keyword in node.keywords:
            value = self.value(keyword.value)
            if keyword.arg is None:
                given.open = True
            else:
                given.keywords[keyword.arg] = value
        if isinstance(function, ast.Attribute) and function.attr in _CHANGES:
            self._changed(function.value, given.all)
        return self.objects.call(callee, given, node.lineno)

    def on_Lambda(self, node: ast.Lambda) -> Binding:
        self.read_defaults(node.args)
        outer = self.scope
        self.scope = Scope(outer, inline=True)
        self.bind_parameters(node.args)
        self.value(node.body)
        self.scope = outer
        return UNKNOWN

    def read_defaults(self, arguments: ast.arguments) -> None:
        """Read what the parameters of a function stand for where they are not given."""
        for default in (*arguments.defaults, *arguments.kw_defaults):
            if default is not None:
                self.value(default)

    def bind_parameters(self, arguments: ast.arguments) -> None:
        """Let the parameters of a function be anything: no call is followed."""
        names = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        for name in (*names, arguments.vararg, arguments.kwarg):
            if name is not None:
                self.scope.bind(name.arg, UNKNOWN)

    def on_Await(self, node: ast.Await) -> Binding:
        return self.resolve(node.value)

    # Text and arithmetic

    def on_Constant(self, node: ast.Constant) -> Binding:
        return constant(node.value)

    def on_JoinedStr(self, node: ast.JoinedStr) -> Binding:
        return fold(constants.concatenated, *[self.value(part) for part in node.values])

    def on_FormattedValue(self, node: ast.FormattedValue) -> Binding:
        value = self.value(node.value)
        spec = self.value(node.format_spec) if node.format_spec else Constants(("",))
        return fold(partial(constants.formatted, node.conversion), value, spec)

    def on_BinOp(self, node: ast.BinOp) -> Binding:
        return fold(constants.arithmetic(node.op), self.value(node.left), self.value(node.right))

    def on_Compare(self, node: ast.Compare) -> Binding:
        for one in (node.left, *node.comparators):
            self.value(one)
        return UNKNOWN

    def on_UnaryOp(self, node: ast.UnaryOp) -> Binding:
        operand = self.value(node.operand)
        function = _MINUS.get(type(node.op))
        return fold(function, operand) if function else UNKNOWN

    def on_IfExp(self, node: ast.IfExp) -> Binding:
        self.value(node.test)
        return join(self.resolve(node.body), self.resolve(node.orelse))

    def on_BoolOp(self, node: ast.BoolOp) -> Binding:
        return one_of([self.resolve(value) for value in node.values], None, certain=False)

    # Collections

    def on_List(self, node: ast.List | ast.Tuple | ast.Set) -> Binding:
        parts = [self.value(one) for one in node.elts]
        starred = any(isinstance(one, ast.Starred) for one in node.elts)
        return UNKNOWN if starred else pack(lambda *held: [*held], parts)

    on_Set = on_List

    def on_Tuple(self, node: ast.Tuple) -> Binding:
        return fold(tuple, self.on_List(node))

    def on_Dict(self, node: ast.Dict) -> Binding:
        keys = [UNKNOWN if key is None else self.value(key) for key in node.keys]
        values = [self.value(value) for value in node.values]
        if None in node.keys:
            return UNKNOWN
        half = len(keys)
        return pack(
            lambda *parts: dict(zip(parts[:half], parts[half:], strict=True)), keys + values
        )

    def on_Subscript(self, node: ast.Subscript) -> Binding:
        owner = self.value(node.value)
        if isinstance(node.slice, ast.Slice):
            limits = (node.slice.lower, node.slice.upper, node.slice.step)
            bounds = [Constants((None,)) if one is None else self.value(one) for one in limits]
            return fold(lambda one, *where: one[slice(*where)], owner, *bounds)
        index = self.value(node.slice)
        if isinstance(owner, Constants):
            if isinstance(index, Constants):
                return fold(operator.getitem, owner, index)
            return one_of(constants.items(owner), object(), certain=False)
        if isinstance(owner, Handle):
            return owner if owner.is_channel else Handle(UNKNOWN, is_channel=False)
        return FOREIGN if owner is FOREIGN or isinstance(owner, Symbol) else UNKNOWN

    # Comprehensions

    def on_ListComp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> Binding:
        (column,), certain = self._comprehended(node.generators, node.elt)
        return column if isinstance(column, Binding) else Constants(([*column],), None, certain)

    on_SetComp = on_ListComp
    on_GeneratorExp = on_ListComp

    def on_DictComp(self, node: ast.DictComp) -> Binding:
        (keys, values), certain = self._comprehended(node.generators, node.key, node.value)
        if isinstance(keys, Binding) or isinstance(values, Binding):
            return values if isinstance(values, Binding) else UNKNOWN
        return Constants((dict(zip(keys, values, strict=True)),), None, certain)

    def _comprehended(
        self, generators: list[ast.comprehension], *nodes: ast.expr
    ) -> tuple[list[tuple[Any, ...] | Binding], bool]:
        """What `nodes` stand for in each round of `generators`, and whether that is certain."""
        outer = self.scope
        rounds: Binding = UNKNOWN
        for generator in generators:
            iterable = self.value(generator.iter)
            self.scope = Scope(self.scope, inline=True)
            rounds = loop_variable(iterable, certain=not generator.ifs)
            self.assign(generator.target, rounds)
            for condition in generator.ifs:
                self.value(condition)
        found = [self.value(node) for node in nodes]
        self.scope = outer
        if len(generators) > 1 or not isinstance(rounds, Constants):
            return [one if isinstance(one, Handle) else UNKNOWN for one in found], False
        return [column(one, rounds) for one in found], rounds.certain
