"""Statements: what they bind, which way they go, and the whole program read once."""

# Handlers bear the names of ast's classes, as in ast.NodeVisitor.
# ruff: noqa: N802, N815, D102

import ast
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any

from activities.analyser import constants, risks
from activities.analyser.calls import Arguments, Calls
from activities.analyser.expressions import MAX_ROUNDS
from activities.analyser.findings import Findings
from activities.analyser.names import Changes, Scope
from activities.analyser.values import (
    UNKNOWN,
    Class,
    Foreign,
    Function,
    Handle,
    Items,
    Mapping,
    Symbol,
    Value,
    alternatives,
    join,
)


class End(StrEnum):
    """How a block is certain to be left before its end."""

    CONTINUE = "continue"
    BREAK = "break"
    LEAVE = "leave"


_ENDS: dict[type[ast.stmt], End] = {
    ast.Continue: End.CONTINUE,
    ast.Break: End.BREAK,
    ast.Return: End.LEAVE,
    ast.Raise: End.LEAVE,
}


class Program(Calls):
    """Reads a whole program: its module, then each function that no call was followed into."""

    def __init__(self, findings: Findings) -> None:
        super().__init__(findings)
        self._returns: list[Value] = []
        self._statements: dict[type[ast.stmt], Callable[[Any], End | None]] = {}

    def read(self, tree: ast.Module) -> None:
        """Read `tree`; what is found is in `findings`."""
        self.block(tree.body)
        # Reading one function can define more.
        done = 0
        while done < len(self.functions):
            function = self.functions[done]
            done += 1
            if function.escaped or not function.traced:
                self.read_alone(function)
        # A function that was followed may have been handed on later.
        for function in self.functions[:done]:
            if function.escaped and function.traced:
                self.read_alone(function)
        self.findings.close()

    def block(self, statements: list[ast.stmt]) -> End | None:
        """Read statements in order; what follows a certain end is looked at for its writes."""
        end: End | None = None
        for index, statement in enumerate(statements):
            end = self.statement(statement)
            if end:
                self._read_ruled_out(statements[index + 1 :])
                break
        return end

    def _read_ruled_out(self, statements: list[ast.stmt]) -> None:
        if not statements:
            return
        self.scope.branch()
        with self.unless(possible=False):
            self.block(statements)
        self.scope.end_branch()

    def statement(self, node: ast.stmt) -> End | None:
        """Read one statement."""
        kind = type(node)
        handler = self._statements.get(kind)
        if handler is None:
            found: Callable[[Any], End | None]
            found = getattr(self, f"do_{kind.__name__}", self._do_other)
            handler = self._statements[kind] = found
        return handler(node)

    def _do_other(self, node: ast.stmt) -> End | None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.eval(child)
        return _ENDS.get(type(node))

    def bind(self, name: str, value: Value) -> None:
        """Bind `name`, and note where it is the program's `results`."""
        scope = self.scope.elsewhere.get(name, self.scope)
        if name == "results" and scope.parent is None:
            self.findings.assigns_results = True
        self.scope.bind(name, value)

    # Names

    def do_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.findings.imports.add(alias.name)
            symbol = self.symbol(alias.name, node)
            if alias.asname:
                self.bind(alias.asname, symbol)
            else:
                top = alias.name.partition(".")[0]
                self.bind(top, Symbol(top))

    def do_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = "." * node.level + (node.module or "")
        self.findings.imports.add(module)
        for alias in node.names:
            if alias.name == "*":
                self.symbol(module, node)
                self.scope.stars.append(module)
            else:
                self.bind(alias.asname or alias.name, self.symbol(f"{module}.{alias.name}", node))

    def do_Global(self, node: ast.Global) -> None:
        for name in node.names:
            self.scope.declare_elsewhere(name, to_module=True)

    def do_Nonlocal(self, node: ast.Nonlocal) -> None:
        for name in node.names:
            self.scope.declare_elsewhere(name, to_module=False)

    def do_Assign(self, node: ast.Assign) -> None:
        value = self.resolve(node.value)
        for target in node.targets:
            self.assign(target, value)

    def do_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.eval(node.annotation)
        if self.scope.owner and isinstance(node.target, ast.Name):
            self.scope.owner.fields.append(node.target.id)
        if node.value is not None:
            self.assign(node.target, self.resolve(node.value))

    def do_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            now = self.scope.find(node.target.id) or UNKNOWN
            self.eval(node.value)
            combined = ast.BinOp(_loaded(node.target), node.op, node.value)
            if isinstance(now, Items):
                for value in self.elements_of(self.eval(node.value)):
                    now.add(value)
                now.open |= not self.is_complete(self.eval(node.value))
            else:
                self.bind(node.target.id, self.resolve(combined))
            return
        self.assign(node.target, self.eval(ast.BinOp(_loaded(node.target), node.op, node.value)))

    def do_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                self.bind(target.id, UNKNOWN)
            elif isinstance(target, ast.Subscript):
                self.assign(target, UNKNOWN)
            else:
                self.eval(target)

    def assign(self, target: ast.expr, value: Value) -> None:
        """Bind whatever stands on the left of an assignment."""
        if isinstance(target, ast.Name):
            self.bind(target.id, value)
        elif isinstance(target, ast.Attribute):
            # Handed on: whoever has the object can call it.
            owner = self.resolve(target.value)
            self.set_attribute(owner, target.attr, value, target)
            self._mention(target, value)
        elif isinstance(target, ast.Subscript):
            self._assign_item(target, value)
        elif isinstance(target, ast.Starred):
            self.assign(target.value, Items(self.elements_of(value), open=True))
        elif isinstance(target, ast.Tuple | ast.List):
            self._unpack(target.elts, value)

    def _unpack(self, targets: list[ast.expr], value: Value) -> None:
        starred = any(isinstance(target, ast.Starred) for target in targets)
        columns: list[list[Value]] = [[] for _ in targets]
        for one in alternatives(value):
            parts = self.elements_of(one)
            whole = self.is_complete(one) and not starred and len(parts) == len(targets)
            for index, column in enumerate(columns):
                column.append(parts[index] if whole else join(*parts, UNKNOWN))
        for target, column in zip(targets, columns, strict=True):
            if isinstance(target, ast.Starred):
                self.assign(target.value, Items(list(column), open=True))
            else:
                self.assign(target, join(*column))

    def _assign_item(self, target: ast.Subscript, value: Value) -> None:
        self._mention(target, value)
        owner = self.eval(target.value)
        key = self.eval(target.slice)
        for one in alternatives(owner):
            if isinstance(one, Mapping):
                one.set(key, value)
            elif isinstance(one, Items):
                one.add(value)
                one.open = True
            elif isinstance(one, Symbol):
                if one.path == "os.environ":
                    self.judge_environment(key, target.lineno)
            elif isinstance(one, Handle):
                self.set_attribute(one, "value", None, target)

    # Definitions

    def do_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        function = self.function(node)
        made: Value = function
        for decorator in node.decorator_list:
            callee = self.eval(decorator)
            function.escaped = True
            if isinstance(callee, Function):
                made = join(made, self.follow(callee, Arguments([made], {})))
        for annotation in (node.returns, *(one.annotation for one in _all_arguments(node.args))):
            if annotation is not None:
                self.eval(annotation)
        self.bind(node.name, made)

    do_AsyncFunctionDef = do_FunctionDef

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> Function:
        """The function that `node` defines, noted as one that must be read."""
        arguments = node.args
        plain = [one.arg for one in (*arguments.posonlyargs, *arguments.args)]
        defaults = {
            name: self.resolve(value)
            for name, value in zip(
                plain[len(plain) - len(arguments.defaults) :], arguments.defaults, strict=True
            )
        }
        for argument, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
            if value is not None:
                defaults[argument.arg] = self.resolve(value)
        owner = self.scope.owner
        scope = self.scope.parent if owner and self.scope.parent else self.scope
        function = Function(node, scope, defaults, owner)
        self.functions.append(function)
        return function

    def on_Lambda(self, node: ast.Lambda) -> Value:
        return self.function(node)

    def run_body(self, function: Function, names: dict[str, Value]) -> Value:
        """Read the body of `function` with `names` bound; its yields count as what it returns."""
        outer, returns = self.scope, self._returns
        self.scope, self._returns = Scope(function.scope), []
        for name, value in names.items():
            self.scope.bind(name, value)
        try:
            if isinstance(function.node, ast.Lambda):
                return self.eval(function.node.body)
            self.block(function.node.body)
            return join(*self._returns)
        finally:
            self.scope, self._returns = outer, returns

    def do_Return(self, node: ast.Return) -> End:
        if node.value is not None:
            value = self.resolve(node.value)
            if not self.ruled_out:
                self._returns.append(value)
        return End.LEAVE

    def on_Yield(self, node: ast.Yield) -> Value:
        value = self.eval(node.value) if node.value else UNKNOWN
        if not self.ruled_out:
            self._returns.append(Items([value], open=True))
        return UNKNOWN

    def on_Await(self, node: ast.Await) -> Value:
        return self.resolve(node.value)

    def do_ClassDef(self, node: ast.ClassDef) -> None:
        for decorator in node.decorator_list:
            self.eval(decorator)
        bases = [self.resolve(base) for base in node.bases]
        for keyword in node.keywords:
            self.eval(keyword.value)
        cls = Class({}, bases, [])
        outer = self.scope
        self.scope = Scope(outer, owner=cls)
        self.block(node.body)
        cls.members.update(self.scope.end_branch())
        self.scope = outer
        self.bind(node.name, cls)

    # Branches and loops

    def way(
        self, statements: list[ast.stmt], *, possible: bool = True
    ) -> tuple[Changes, End | None]:
        """Read one branch: what it binds, and whether it is certain to leave the block."""
        self.scope.branch()
        with self.unless(possible=possible):
            end = self.block(statements)
        return self.scope.end_branch(), end

    def do_If(self, node: ast.If) -> End | None:
        outcome = constants.truth(self.eval(node.test))
        body, body_end = self.way(node.body, possible=outcome is not False)
        orelse, orelse_end = self.way(node.orelse, possible=outcome is not True)
        taken = []
        if outcome is not False:
            taken.append((body, body_end))
        if outcome is not True:
            taken.append((orelse, orelse_end))
        return self._after(taken)

    def _after(self, taken: list[tuple[Changes, End | None]]) -> End | None:
        """Go on after one of the ways `taken`; those that leave the block don't come here."""
        staying = [changes for changes, end in taken if end is None]
        if staying:
            self.scope.merge(*staying)
            return None
        self.scope.merge(*(changes for changes, _ in taken))
        ends = {end for _, end in taken}
        return ends.pop() if len(ends) == 1 else End.CONTINUE

    def do_For(self, node: ast.For | ast.AsyncFor) -> End | None:
        iterable = self.eval(node.iter)
        values = self.elements_of(iterable)
        whole = self.is_complete(iterable)
        done = 0
        if whole and 0 < len(values) <= MAX_ROUNDS:
            for value in values:
                if not self.may_follow:
                    break
                done += 1
                self.assign(node.target, value)
                end = self.block(node.body)
                if end in (End.BREAK, End.LEAVE):
                    return None if end is End.BREAK else end
        if done < len(values) or not whole or not values:
            rest = values[done:]
            self._loop(node.body, node.target, join(*rest) if whole else join(*rest, UNKNOWN))
        self.block(node.orelse)
        return None

    do_AsyncFor = do_For

    def _loop(
        self, body: list[ast.stmt], target: ast.expr | None = None, value: Value = UNKNOWN
    ) -> None:
        """Read a loop's body for any number of rounds."""
        for _ in range(2 if self.may_follow else 1):
            self.scope.branch()
            if target is not None:
                self.assign(target, value)
            self.block(body)
            self.scope.repeat(self.scope.end_branch())

    def do_While(self, node: ast.While) -> End | None:
        for _ in range(MAX_ROUNDS):
            if not self.may_follow or isinstance(node.test, ast.Constant):
                break
            outcome = constants.truth(self.eval(node.test))
            if outcome is not True:
                break
            end = self.block(node.body)
            if end in (End.BREAK, End.LEAVE):
                return None if end is End.BREAK else end
        else:
            outcome = None
        outcome = constants.truth(self.eval(node.test))
        if outcome is True and not _can_end(node.body):
            self.findings.risk(risks.ENDLESS, "while", node.lineno)
        with self.unless(possible=outcome is not False):
            self._loop(node.body)
        self.block(node.orelse)
        return None

    def do_Try(self, node: ast.Try) -> End | None:
        body, end = self.way([*node.body, *node.orelse])
        taken = [(body, end)]
        for handler in node.handlers:
            self.scope.branch()
            self.scope.merge({}, body)
            if handler.type is not None:
                self.eval(handler.type)
            if handler.name:
                self.bind(handler.name, Foreign("builtins.Exception"))
            ended = self.block(handler.body)
            taken.append((self.scope.end_branch(), ended))
        outcome = self._after(taken)
        return self.block(node.finalbody) or outcome

    do_TryStar = do_Try

    def do_With(self, node: ast.With | ast.AsyncWith) -> End | None:
        for item in node.items:
            value = self.eval(item.context_expr)
            if item.optional_vars is not None:
                self.assign(item.optional_vars, value)
        end = self.block(node.body)
        # A context manager can swallow what leaves the block.
        return None if end is End.LEAVE else end

    do_AsyncWith = do_With

    def do_Match(self, node: ast.Match) -> End | None:
        self.eval(node.subject)
        taken: list[tuple[Changes, End | None]] = [({}, None)]
        for case in node.cases:
            self.scope.branch()
            for pattern in ast.walk(case.pattern):
                for field in ("name", "rest"):
                    if name := getattr(pattern, field, None):
                        self.bind(name, UNKNOWN)
                if isinstance(pattern, ast.MatchValue):
                    self.eval(pattern.value)
            if case.guard is not None:
                self.eval(case.guard)
            end = self.block(case.body)
            taken.append((self.scope.end_branch(), end))
        return self._after(taken)


def _loaded(target: ast.expr) -> ast.expr:
    """`target` as an expression to read."""
    match target:
        case ast.Name(id=name):
            loaded: ast.expr = ast.Name(name, ast.Load())
        case ast.Attribute(value=value, attr=attr):
            loaded = ast.Attribute(value, attr, ast.Load())
        case ast.Subscript(value=value, slice=index):
            loaded = ast.Subscript(value, index, ast.Load())
        case _:
            return target
    return ast.copy_location(loaded, target)


def _all_arguments(arguments: ast.arguments) -> Iterator[ast.arg]:
    yield from (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    yield from (one for one in (arguments.vararg, arguments.kwarg) if one is not None)


def _can_end(body: list[ast.stmt]) -> bool:
    """Whether anything in `body` leaves the loop around it."""
    for statement in body:
        if isinstance(statement, ast.Break | ast.Return | ast.Raise):
            return True
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        inner = [
            child
            for child in ast.walk(statement)
            if isinstance(child, ast.Return | ast.Raise | ast.Break | ast.Yield | ast.Await)
        ]
        exits = any(
            isinstance(child, ast.Attribute) and child.attr == "exit"
            for child in ast.walk(statement)
        )
        if inner or exits:
            return True
    return False
