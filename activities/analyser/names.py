"""What a name stands for: scopes, and what becomes of them where the program branches."""

from activities.analyser.values import Class, Value, join, widen

Changes = dict[str, Value]


class Scope:
    """The names of a module, function or class.

    Branches are layers on top, which are taken off and merged: the cost is what a branch changes,
    never all names.
    """

    def __init__(self, parent: "Scope | None" = None, owner: Class | None = None) -> None:
        self.parent = parent
        self.owner = owner
        self.elsewhere: dict[str, Scope] = {}
        self.stars: list[str] = []
        self._layers: list[Changes] = [{}]

    @property
    def module(self) -> "Scope":
        """The outermost scope."""
        return self.parent.module if self.parent else self

    def bind(self, name: str, value: Value) -> None:
        """Let `name` stand for `value`, in the scope that `global` or `nonlocal` chose."""
        if name in self.elsewhere:
            self.elsewhere[name].bind(name, value)
        else:
            self._layers[-1][name] = value

    def own(self, name: str) -> Value | None:
        """What `name` stands for here."""
        for layer in reversed(self._layers):
            if name in layer:
                return layer[name]
        return None

    def find(self, name: str) -> Value | None:
        """What `name` stands for here or further out; None where nothing binds it."""
        scope: Scope | None = self.elsewhere.get(name, self)
        while scope:
            if (value := scope.own(name)) is not None:
                return value
            scope = scope.parent
        return None

    def all_stars(self) -> list[str]:
        """The modules that were imported with a star, here or further out."""
        return self.stars + (self.parent.all_stars() if self.parent else [])

    def declare_elsewhere(self, name: str, *, to_module: bool) -> None:
        """`global name` or `nonlocal name`."""
        scope = self.module if to_module else self.parent
        while scope and not to_module and scope.parent and scope.own(name) is None:
            scope = scope.parent
        if scope and scope is not self:
            self.elsewhere[name] = scope

    def branch(self) -> None:
        """Begin a branch."""
        self._layers.append({})

    def end_branch(self) -> Changes:
        """End the branch and tell what it bound; nothing of it holds until it is merged."""
        return self._layers.pop()

    def merge(self, *ways: Changes) -> None:
        """Go on after exactly one of `ways` was taken; {} is the way that changed nothing."""
        for name in {name: None for way in ways for name in way}:
            before = self.own(name)
            found = [way.get(name, before) for way in ways]
            self._layers[-1][name] = join(*(value for value in found if value is not None))

    def repeat(self, changes: Changes) -> None:
        """Go on after `changes` happened any number of times."""
        for name, value in changes.items():
            before = self.own(name)
            self._layers[-1][name] = widen(join(value, before) if before is not None else value)
