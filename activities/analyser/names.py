"""What a name stands for: scopes, and what is left of them after branches."""

from activities.analyser.values import UNKNOWN, Binding, join


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

    def bind(self, name: str, value: Binding) -> None:
        """Let `name` stand for `value`, in the scope that `global` or `nonlocal` chose."""
        if name in self.outer:
            # Nobody knows when the function runs that says `global`.
            self.outer[name].bind(name, join(self.outer[name].ever.get(name, UNKNOWN), value))
            return
        self.now[name] = value
        before = self.ever.get(name)
        self.ever[name] = value if before is None else join(before, value)

    def find(self, name: str) -> Binding | None:
        """What `name` stands for here or further out; None where nothing binds it."""
        value = self.now.get(name)
        scope, now = self, True
        while value is None and scope.parent:
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


def merged(ways: list[dict[str, Binding]]) -> dict[str, Binding]:
    """The names after one of `ways` was taken."""
    after = ways[0]
    for way in ways[1:]:
        for name, value in way.items():
            before = after.get(name)
            if before is not value:
                after[name] = value if before is None else join(before, value)
    return after
