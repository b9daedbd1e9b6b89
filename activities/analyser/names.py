"""What a name stands for: scopes, and what is left of them after branches."""

from collections.abc import Sequence
from functools import reduce

from activities.analyser.values import UNKNOWN, Binding, join
from activities.analyser.work import spend


class Scope:
    """The names of a module, function, class or comprehension.

    `now` follows the statements in order. A function runs at some other time, and so sees what
    its outer names `ever` stood for; what is `inline` runs where it stands.
    """

    def __init__(
        self, parent: "Scope | None" = None, *, inline: bool = False, is_class: bool = False
    ) -> None:
        self.parent = parent
        self.inline = inline
        self.is_class = is_class
        self.now: dict[str, Binding] = {}
        self.ever: dict[str, Binding] = {}
        self.outer: dict[str, Scope] = {}
        # For each branch that is being read, what it changed stood for before.
        self._befores: list[dict[str, Binding | None]] = []

    def bind(self, name: str, value: Binding) -> None:
        """Let `name` stand for `value`, in the scope that `global` or `nonlocal` chose."""
        if name in self.outer:
            # Nobody knows when the function runs that says `global`.
            self.outer[name].bind(name, join(self.outer[name].ever.get(name, UNKNOWN), value))
            return
        self.set_now(name, value)
        before = self.ever.get(name)
        self.ever[name] = value if before is None else join(before, value)

    def set_now(self, name: str, value: Binding) -> None:
        """Let `name` stand for `value` from here on."""
        if self._befores:
            self._befores[-1].setdefault(name, self.now.get(name))
        self.now[name] = value

    def enter_branch(self) -> None:
        """What is bound from here on is bound in one of several branches."""
        self._befores.append({})

    def leave_branch(self) -> dict[str, Binding]:
        """Undo what the branch bound, and give it."""
        befores = self._befores.pop()
        spend(len(befores))
        bound = {name: self.now[name] for name in befores}
        for name, before in befores.items():
            if before is None:
                del self.now[name]
            else:
                self.now[name] = before
        return bound

    def merge(self, branches: Sequence[dict[str, Binding]]) -> None:
        """Go on after one of `branches` was taken."""
        found: dict[str, list[Binding]] = {}
        unchanged: dict[str, int] = {}
        for index, branch in enumerate(branches):
            for name, value in branch.items():
                values = found.setdefault(name, [])
                if len(values) < index:
                    unchanged.setdefault(name, len(values))
                values.append(value)
        for name, values in found.items():
            before = self.now.get(name)
            if before is not None and len(values) < len(branches):
                values.insert(unchanged.get(name, len(values)), before)
            self.set_now(name, reduce(join, values))

    def find(self, name: str) -> Binding | None:
        """What `name` stands for here or further out; None where nothing binds it."""
        value = self.now.get(name)
        scope, now = self, True
        while value is None and scope.parent:
            spend(1)
            now = now and scope.inline
            scope = scope.parent
            value = (scope.now if now else scope.ever).get(name)
        return value

    def declare_outer(self, name: str, *, to_module: bool) -> None:
        """`global name` or `nonlocal name`."""
        scope = self
        while scope.parent:
            scope = scope.parent
            if not to_module and name in scope.ever:
                break
        if scope is not self:
            self.outer[name] = scope
