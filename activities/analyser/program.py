"""Statements: what they bind, and the whole program read once, in order."""

# Handlers bear the names of ast's classes, as in ast.NodeVisitor.
# ruff: noqa: N802, N815, D102

import ast
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from activities.analyser import channels, constants, risks
from activities.analyser.constants import elements, fold
from activities.analyser.expressions import Expressions
from activities.analyser.findings import Findings
from activities.analyser.loops import loop_variable, survey
from activities.analyser.names import Scope
from activities.analyser.source import refused
from activities.analyser.values import UNKNOWN, Binding, Constants, Symbol, Use, join, words

_IMPORT_ERRORS = words("ImportError ModuleNotFoundError")
_Function = ast.FunctionDef | ast.AsyncFunctionDef


class Program(Expressions):
    """Reads a module, then the body of each function, with anything for its parameters."""

    def __init__(self, findings: Findings) -> None:
        super().__init__(findings)
        self._functions: deque[tuple[_Function, Scope]] = deque()
        self._statements: dict[type[ast.AST], Callable[[Any], None]] = {
            kind: getattr(self, f"do_{kind.__name__}", self._do_other)
            for kind in (*ast.stmt.__subclasses__(), ast.ExceptHandler, ast.match_case)
        }

    def read(self, tree: ast.Module) -> None:
        """Read `tree`; what is found is in `findings`."""
        self.block(tree.body)
        while self._functions:
            function, outer = self._functions.popleft()
            self.scope = Scope(outer)
            self.bind_parameters(function.args)
            self.block(function.body)
        self.findings.close()

    def block(self, statements: Sequence[ast.AST]) -> None:
        """Read statements in order."""
        for statement in statements:
            self._statements[type(statement)](statement)

    def ways(self, *ways: Sequence[ast.AST]) -> None:
        """Go on after one of several blocks was taken."""
        branches = []
        for way in ways:
            self.scope.enter_branch()
            self.block(way)
            branches.append(self.scope.leave_branch())
        self.scope.merge(branches)

    def _do_other(self, node: ast.stmt) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.value(child)

    def do_Expr(self, node: ast.Expr) -> None:
        self.value(node.value)

    # Names

    def do_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.findings.imports.add(alias.name)
            symbol = self.objects.symbol(alias.name, node.lineno)
            top = alias.name.partition(".")[0]
            self.bind(alias.asname or top, symbol if alias.asname else Symbol(top))

    def do_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = "." * node.level + (node.module or "")
        self.findings.imports.add(module)
        for alias in node.names:
            if alias.name == "*":
                self.objects.symbol(module, node.lineno)
                self.objects.stars[module] = None
            else:
                symbol = self.objects.symbol(f"{module}.{alias.name}", node.lineno)
                self.bind(alias.asname or alias.name, symbol)

    def do_Global(self, node: ast.Global | ast.Nonlocal) -> None:
        for name in node.names:
            self.scope.declare_outer(name, to_module=isinstance(node, ast.Global))

    do_Nonlocal = do_Global

    def do_Assign(self, node: ast.Assign) -> None:
        value = self.resolve(node.value)
        for target in node.targets:
            self.assign(target, value)

    def do_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.value(node.annotation)
        if node.value is not None:
            self.assign(node.target, self.resolve(node.value))

    def do_AugAssign(self, node: ast.AugAssign) -> None:
        function = constants.arithmetic(node.op)
        self.assign(node.target, fold(function, self.value(node.target), self.value(node.value)))

    def do_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            self.assign(target, UNKNOWN)

    # Definitions

    def do_FunctionDef(self, node: _Function) -> None:
        for decorator in node.decorator_list:
            self.value(decorator)
        self.read_defaults(node.args)
        outer = self.scope
        while outer.is_class and outer.parent:
            outer = outer.parent
        self._functions.append((node, outer))
        self.bind(node.name, UNKNOWN)

    do_AsyncFunctionDef = do_FunctionDef

    def do_Return(self, node: ast.Return) -> None:
        if self.scope.parent is None:
            raise refused(f"line {node.lineno}: return outside a function.")
        self._do_other(node)

    def do_ClassDef(self, node: ast.ClassDef) -> None:
        for expression in (*node.decorator_list, *(one.value for one in node.keywords)):
            self.value(expression)
        made = UNKNOWN
        for base in node.bases:
            value = self.resolve(base)
            # A class of the control library under another name makes the same objects.
            if isinstance(value, Symbol) and channels.is_control(value.path):
                made = value
        outer = self.scope
        self.scope = Scope(outer, inline=True, is_class=True)
        self.block(node.body)
        self.scope = outer
        self.bind(node.name, made)

    # Branches and loops

    def do_If(self, node: ast.If) -> None:
        self.value(node.test)
        self.ways(node.body, node.orelse)

    def do_For(self, node: ast.For | ast.AsyncFor) -> None:
        iterable = self.value(node.iter)
        loop = survey(node.body)
        rounds = loop_variable(iterable, certain=loop.straight)
        self._widen(loop.names)
        self.assign(node.target, rounds)
        self.ways(node.body, *([] if elements(iterable) and loop.straight else [[]]))
        for name in loop.names:
            # Afterwards the values of the last round alone are left.
            last = self.scope.now.get(name)
            if isinstance(last, Constants) and len(last.values) > 1:
                self.scope.set_now(name, Constants(last.values, last.source, certain=False))
        self.block(node.orelse)

    do_AsyncFor = do_For

    def do_While(self, node: ast.While) -> None:
        loop = survey(node.body)
        self._widen(loop.names)
        self.value(node.test)
        if isinstance(node.test, ast.Constant) and node.test.value and not loop.ends:
            self.findings.risk(risks.ENDLESS, "while", node.lineno)
        self.ways([], node.body)
        self.block(node.orelse)

    def _widen(self, names: set[str]) -> None:
        """Let `names` be anything: earlier rounds may have changed them."""
        for name in names:
            before = self.scope.now.get(name)
            if before is not None:
                self.scope.set_now(name, join(before, UNKNOWN))

    def do_Try(self, node: ast.Try) -> None:
        if any(_catches_import(handler) for handler in node.handlers):
            self.objects.optional.update(_packages(node.body))
        self.ways([], [*node.body, *node.orelse])
        self.ways([], *([one] for one in node.handlers))
        self.block(node.finalbody)

    do_TryStar = do_Try

    def do_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type is not None:
            self.value(node.type)
        if node.name:
            self.bind(node.name, UNKNOWN)
        self.block(node.body)

    def do_With(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            value = self.value(item.context_expr)
            if item.optional_vars is not None:
                self.assign(item.optional_vars, value)
        self.block(node.body)

    do_AsyncWith = do_With

    def do_Match(self, node: ast.Match) -> None:
        subject = self.value(node.subject)
        for case in node.cases:
            for part in ast.walk(case.pattern):
                if isinstance(part, ast.MatchClass):
                    self._take_attributes(subject, part)
        self.ways([], *([one] for one in node.cases))

    def _take_attributes(self, owner: Binding, pattern: ast.MatchClass) -> None:
        """`case object(caput=write)` takes attributes as getattr does."""
        self.value(pattern.cls)
        for name in pattern.kwd_attrs:
            found = self.objects.attribute(owner, name, pattern.lineno)
            if found.use is Use.WRITE:
                self.hand_on(found, pattern.lineno)
            elif name in channels.DOUBTFUL:
                self.findings.doubtful_write(f".{name}", pattern.lineno, UNKNOWN)

    def do_match_case(self, node: ast.match_case) -> None:
        for part in ast.walk(node.pattern):
            for field in ("name", "rest"):
                if name := getattr(part, field, None):
                    self.bind(name, UNKNOWN)
            if isinstance(part, ast.MatchValue):
                self.value(part.value)
        if node.guard is not None:
            self.value(node.guard)
        self.block(node.body)


def _catches_import(handler: ast.ExceptHandler) -> bool:
    """Whether `handler` is there for an import that fails; one for any error is no fallback."""
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(one, ast.Name) and one.id in _IMPORT_ERRORS for one in caught)


def _packages(statements: Sequence[ast.AST]) -> Iterator[str]:
    """The packages that `statements` import."""
    for statement in statements:
        if isinstance(statement, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            yield statement.module.partition(".")[0]
