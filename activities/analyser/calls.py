"""Calls: of the control libraries, of builtins, of the program's own functions and classes."""

# Handlers bear the names of ast's classes, as in ast.NodeVisitor.
# ruff: noqa: N802, D102, PLR0911

import ast
from collections.abc import Callable
from dataclasses import dataclass

from activities.analyser import channels, constants, risks
from activities.analyser.channels import Use
from activities.analyser.expressions import Expressions
from activities.analyser.findings import Findings, channels_of
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
    Unknown,
    Value,
    alternatives,
    handles_in,
    join,
)

_CALL_DEPTH = 8
_MINUTE = 60
# On an object that is not known these count as writes where the program uses a control library.
_DOUBTFUL = frozenset({"put", "put_async", "caput", "move", "__setattr__", "PutAll"})


@dataclass(frozen=True)
class Arguments:
    """What a call gives; `open` where stars may give more."""

    positional: list[Value]
    keywords: dict[str, Value]
    open: bool = False

    def get(self, index: int, *names: str) -> Value | None:
        """The argument at `index` or by one of `names`; None where it is not given."""
        if index < len(self.positional):
            return self.positional[index]
        return next((self.keywords[name] for name in names if name in self.keywords), None)

    def constant(self, index: int, *names: str) -> object:
        """The same where it is one constant, else None."""
        value = self.get(index, *names)
        return value.value if isinstance(value, Constant) else None

    @property
    def all(self) -> list[Value]:
        """Every argument."""
        return [*self.positional, *self.keywords.values()]


class Calls(Expressions):
    """Follows calls. `run_body` is supplied by the statements."""

    def __init__(self, findings: Findings) -> None:
        super().__init__(findings)
        self._stack: list[Function] = []
        self._builtins: dict[str, Callable[[Arguments, ast.Call], Value]] = {
            "getattr": self._getattr,
            "setattr": self._setattr,
            "delattr": self._setattr,
            "dict": self._dict,
            "list": self._list,
            "tuple": self._list,
            "set": self._list,
            "zip": self._zip,
            "enumerate": self._enumerate,
            "open": self._open,
            "__import__": self._import,
            "super": self._super,
        }

    def run_body(self, function: Function, names: dict[str, Value]) -> Value:
        """Read the body of `function` with `names` bound, and tell what it returns."""
        raise NotImplementedError

    def record(
        self, use: Use, call: str, line: int, channel: Value | None, value: Value | None
    ) -> None:
        """Note a use; of one that constants rule out the value is not judged."""
        self.findings.uses(use, call, line, channel, None if self.ruled_out else value)

    def on_Call(self, node: ast.Call) -> Value:
        callee = self.resolve(node.func)
        given = self._arguments(node)
        if isinstance(node.func, ast.Name) and node.func.id in channels.INJECTED:
            # Even where the program defines the name itself: it may still lead to ours.
            self._function_use(channels.INJECTED[node.func.id], node.func.id, given, node)
            if isinstance(callee, Symbol):
                return Foreign("runpermit")
        if isinstance(callee, Either):
            return join(*(self.call(one, given, node) for one in callee.alternatives))
        return self.call(callee, given, node)

    def _arguments(self, node: ast.Call) -> Arguments:
        positional = self._elements(node.args)
        keywords: dict[str, Value] = {}
        more = positional.open
        for keyword in node.keywords:
            value = self.eval(keyword.value)
            if keyword.arg is not None:
                keywords[keyword.arg] = value
            elif isinstance(value, Mapping) and not value.open:
                keywords.update((str(key), one) for key, one in value.pairs.items())
            else:
                more = True
        return Arguments(positional.items, keywords, more)

    def call(self, callee: Value, given: Arguments, node: ast.Call) -> Value:
        """What calling `callee` gives."""
        match callee:
            case Symbol():
                return self._call_symbol(callee.path, given, node)
            case Method():
                return self._call_method(callee, given, node)
            case Function():
                return self.follow(callee, given)
            case Bound():
                own = Arguments([callee.owner, *given.positional], given.keywords, given.open)
                return self.follow(callee.function, own)
            case Class():
                return self._instantiate(callee, given, node)
            case Foreign():
                return self._call_foreign(callee, given, node)
            case _:
                return self._passed_through(given, UNKNOWN)

    def _passed_through(self, given: Arguments, otherwise: Value) -> Value:
        """What an unknown function gives: perhaps a control object that went in."""
        found = [one for value in given.all for one in handles_in(value)]
        return join(*found, UNKNOWN) if found else otherwise

    # Control libraries

    def _call_symbol(self, path: str, given: Arguments, node: ast.Call) -> Value:
        if use := channels.use_of(path):
            if not path.startswith("runpermit."):
                self._function_use(use, path, given, node)
            return self._passed_through(given, Foreign(path)) if use is Use.WRITE else Foreign(path)
        if channels.is_control(path):
            return self._make_handle(path, given, node)
        head, _, last = path.rpartition(".")
        if head == "builtins":
            return self._call_builtin(last, given, node)
        if path == "importlib.import_module":
            return self._import(given, node)
        self._judge_call(path, given, node)
        return self._passed_through(given, Foreign(path))

    def _function_use(self, use: Use, path: str, given: Arguments, node: ast.Call) -> None:
        line = node.lineno
        first = None if given.open else given.get(0, *channels.CHANNEL_KEYWORDS)
        if path.endswith("write_channels"):
            self._mapping_use(path, given, line)
        elif use is Use.READ:
            for one in given.positional if path.endswith("get_many") else [first]:
                self.record(use, path, line, one, None)
        else:
            value = None if given.open else given.get(1, *channels.VALUE_KEYWORDS)
            self.record(use, path, line, first, value)

    def _mapping_use(self, call: str, given: Arguments, line: int) -> None:
        argument = given.get(0, "values", "channels", "settings")
        for one in alternatives(argument) if argument is not None else (UNKNOWN,):
            pairs = one.pairs.items() if isinstance(one, Mapping) else ()
            for channel, value in pairs:
                self.record(Use.WRITE, call, line, Constant(channel), value)
            if not isinstance(one, Mapping) or one.open or not one.pairs:
                self.record(Use.WRITE, call, line, None, None)

    def _make_handle(self, path: str, given: Arguments, node: ast.Call) -> Value:
        names = channels_of(given.get(0, *channels.CHANNEL_KEYWORDS, "prefix"))
        delimiter = given.constant(3, "delim")
        found = [
            channels.handle_made_by(path, name, delimiter if isinstance(delimiter, str) else None)
            for name in names
        ]
        handles = [handle for handle in found if handle is not None]
        if "callback" in given.keywords:
            for handle in handles:
                self.record(Use.READ, path, node.lineno, handle, None)
        return join(*handles) if handles else self._passed_through(given, Foreign(path))

    def _call_method(self, method: Method, given: Arguments, node: ast.Call) -> Value:
        owner, name = method.owner, method.name
        if isinstance(owner, Handle):
            return self._call_handle(owner, name, given, node)
        if isinstance(owner, Constant | Items | Mapping):
            return self._call_collection(owner, name, given)
        self._judge_method(name, given, node)
        if use := channels.ANY_OBJECT.get(name):
            self._function_use(use, name, given, node)
        elif name in _DOUBTFUL and isinstance(owner, Unknown | Method):
            value = None if self.ruled_out else given.get(0, *channels.VALUE_KEYWORDS)
            self.findings.doubtful_write(f".{name}", node.lineno, value)
        return self._passed_through(given, UNKNOWN)

    def _call_handle(self, handle: Handle, name: str, given: Arguments, node: ast.Call) -> Value:
        use = channels.method_use(name)
        line = node.lineno
        if use is None:
            many = [
                Handle(Kind.CHANNEL, one)
                for value in given.positional
                for one in channels_of(value)
            ]
            if name == "get_pvs":
                return Items(list[Value](many))
            return Handle(Kind.CHANNEL) if handle.kind is Kind.CONTEXT else handle
        if handle.kind is Kind.CHANNEL:
            value = None if given.open else given.get(0, *channels.VALUE_KEYWORDS)
            self.record(use, f".{name}", line, handle, value if use is Use.WRITE else None)
        elif handle.kind is Kind.CONTEXT:
            self._function_use(use, f".{name}", given, node)
        else:
            self._device_use(handle, name, use, given, line)
        return Foreign(f"epics.{name}")

    def _device_use(self, handle: Handle, name: str, use: Use, given: Arguments, line: int) -> None:
        value: Value | None
        if name in ("move", "mv", "move_to"):
            attribute: object = "VAL"
            value = given.get(0, "val") if len(given.all) == 1 else None
        else:
            attribute = given.constant(0, *channels.CHANNEL_KEYWORDS)
            value = given.get(1, *channels.VALUE_KEYWORDS) if name != "command_inout" else None
        field = channels.field_of(handle, attribute if isinstance(attribute, str) else None)
        channel = Constant(field) if field is not None else None
        self.record(use, f".{name}", line, channel, value if use is Use.WRITE else None)

    # The program's own functions and classes

    def follow(self, function: Function, given: Arguments) -> Value:
        """The body of `function` with these arguments, as long as that stays cheap."""
        deep = function in self._stack or len(self._stack) >= _CALL_DEPTH
        if deep or not self.may_follow or given.open:
            function.escaped = True
            return self._passed_through(given, UNKNOWN)
        function.traced = True
        self._stack.append(function)
        try:
            return self.run_body(function, self._parameters(function, given))
        finally:
            self._stack.pop()

    def _parameters(self, function: Function, given: Arguments | None) -> dict[str, Value]:
        """The parameters of `function` bound to a call's arguments, or to anything."""
        arguments = function.node.args
        plain = [one.arg for one in (*arguments.posonlyargs, *arguments.args)]
        names: dict[str, Value] = {}
        for name in (*plain, *(one.arg for one in arguments.kwonlyargs)):
            default = function.defaults.get(name)
            if given is None:
                names[name] = UNKNOWN if default is None else join(default, UNKNOWN)
            else:
                names[name] = UNKNOWN if default is None else default
        if given is not None:
            names.update(zip(plain, given.positional, strict=False))
            names.update((key, one) for key, one in given.keywords.items() if key in names)
        if arguments.vararg:
            rest = given.positional[len(plain) :] if given else []
            names[arguments.vararg.arg] = Items(list(rest), open=given is None)
        if arguments.kwarg:
            more = (
                {key: one for key, one in given.keywords.items() if key not in names}
                if given
                else {}
            )
            names[arguments.kwarg.arg] = Mapping(dict(more), open=given is None)
        return names

    def read_alone(self, function: Function) -> None:
        """Read a function that nobody was seen to call, with anything for its parameters."""
        names = self._parameters(function, None)
        if function.owner and function.node.args.args:
            names[function.node.args.args[0].arg] = Instance(function.owner)
        self._stack.append(function)
        self.run_body(function, names)
        self._stack.pop()

    def _instantiate(self, cls: Class, given: Arguments, node: ast.Call) -> Value:
        for base in cls.bases:
            if isinstance(base, Symbol) and channels.is_control(base.path):
                return self._make_handle(base.path, given, node)
        instance = Instance(cls)
        initialise = cls.find("__init__")
        if isinstance(initialise, Function):
            own = Arguments([instance, *given.positional], given.keywords, given.open)
            self.follow(initialise, own)
        else:
            instance.fields.update(zip(cls.fields, given.positional, strict=False))
            instance.fields.update(given.keywords)
            for name, value in instance.fields.items():
                cls.shared[name] = join(cls.shared.get(name, value), value)
        return instance

    # Builtins and libraries

    def _call_builtin(self, name: str, given: Arguments, node: ast.Call) -> Value:
        if handler := self._builtins.get(name):
            return handler(given, node)
        result = UNKNOWN if given.keywords else self._over_alternatives(name, given)
        if not isinstance(result, Unknown):
            return result
        return self._passed_through(given, Foreign(f"builtins.{name}"))

    def _over_alternatives(self, name: str, given: Arguments) -> Value:
        if len(given.positional) == 1:
            return join(*(constants.call(name, [one]) for one in alternatives(given.positional[0])))
        return constants.call(name, given.positional)

    def _getattr(self, given: Arguments, node: ast.Call) -> Value:
        owner = given.get(0) or UNKNOWN
        found: list[Value] = []
        for name in alternatives(given.get(1) or UNKNOWN):
            if isinstance(name, Constant) and isinstance(name.value, str):
                found.append(self.attribute(owner, name.value, node))
            else:
                self._computed_attribute(owner, node, "getattr")
                found += [Handle(Kind.CONTEXT) for one in handles_in(owner) if _controls(one)]
                found.append(UNKNOWN)
        if (default := given.get(2)) is not None:
            found.append(default)
        return join(*found)

    def _computed_attribute(self, owner: Value, node: ast.Call, call: str) -> None:
        for one in alternatives(owner):
            powerful = isinstance(one, Symbol) and risks.is_powerful(one.path)
            if _controls(one) or powerful:
                self.findings.risk(risks.DYNAMIC_NAME, f"{call}(…)", node.lineno)

    def _setattr(self, given: Arguments, node: ast.Call) -> Value:
        for name in alternatives(given.get(1) or UNKNOWN):
            if isinstance(name, Constant) and isinstance(name.value, str):
                self.set_attribute(given.get(0) or UNKNOWN, name.value, given.get(2), node)
            else:
                self._computed_attribute(given.get(0) or UNKNOWN, node, "setattr")
                self.findings.doubtful_write("setattr", node.lineno, None)
        return Constant(None)

    def set_attribute(self, owner: Value, name: str, value: Value | None, node: ast.expr) -> None:
        """`owner.name = value`."""
        line = node.lineno
        if risk := risks.risk_of_attribute(name):
            self.findings.risk(risk, f".{name}", line)
        for one in alternatives(owner):
            if isinstance(one, Handle):
                self._set_on_handle(one, name, value, line)
            elif isinstance(one, Instance):
                one.fields[name] = UNKNOWN if value is None else value
                one.cls.shared[name] = join(one.cls.shared.get(name, UNKNOWN), one.fields[name])
            elif isinstance(one, Class):
                one.members[name] = UNKNOWN if value is None else value
            elif isinstance(one, Symbol):
                # Upper-case names are settings, such as epics.ca.DEFAULT_CONNECTION_TIMEOUT.
                if channels.is_control(one.path) and not name.isupper():
                    self.findings.risk(risks.PATCHED, f"{one.path}.{name} = …", line)
                elif one.path == "os" and name == "environ":
                    self.findings.risk(risks.CA_ENVIRONMENT, "os.environ = …", line)
            elif name == "value" and isinstance(one, Unknown | Method):
                self.findings.doubtful_write(f".{name} =", line, None if self.ruled_out else value)

    def _set_on_handle(self, handle: Handle, name: str, value: Value | None, line: int) -> None:
        if handle.kind is Kind.CHANNEL:
            if name == "value":
                self.record(Use.WRITE, ".value =", line, handle, value)
        elif not name.startswith("_"):
            field = channels.field_of(handle, name)
            channel = Constant(field) if field is not None else None
            self.record(Use.WRITE, f".{name} =", line, channel, value)

    def _import(self, given: Arguments, node: ast.Call) -> Value:
        name = given.constant(0, "name")
        if not isinstance(name, str):
            return UNKNOWN
        self.findings.imports.add(name)
        return self.symbol(name, node)

    def _dict(self, given: Arguments, _node: ast.Call | None = None) -> Value:
        found = Mapping({}, open=given.open)
        for value in given.positional:
            found.update(value)
        for key, value in given.keywords.items():
            found.set(Constant(key), value)
        return found

    def _list(self, given: Arguments, _node: ast.Call) -> Value:
        value = given.get(0)
        if value is None:
            return Items([], open=given.open)
        if not self.is_complete(value):
            return self._passed_through(given, Foreign("builtins.list"))
        return Items(self.elements_of(value))

    def _zip(self, given: Arguments, _node: ast.Call) -> Value:
        columns = [self.elements_of(value) for value in given.positional]
        whole = all(self.is_complete(value) for value in given.positional) and not given.open
        if not columns:
            return Items([], open=True)
        if not whole:
            # One row of which each column may be anything that it can be.
            rows = [Items([join(*column) if column else UNKNOWN for column in columns])]
            return Items(list[Value](rows), open=True)
        return Items([Items(list(row)) for row in zip(*columns, strict=False)])

    def _enumerate(self, given: Arguments, _node: ast.Call) -> Value:
        values = given.get(0)
        start = given.constant(1, "start") or 0
        if values is None or not isinstance(start, int):
            return UNKNOWN
        rows: list[Value] = [
            Items([Constant(index), value])
            for index, value in enumerate(self.elements_of(values), start)
        ]
        whole = self.is_complete(values)
        return (
            Items(rows, open=not whole)
            if whole or rows
            else Items([Items([UNKNOWN, UNKNOWN])], open=True)
        )

    def _super(self, _given: Arguments, _node: ast.Call) -> Value:
        return UNKNOWN

    def _open(self, given: Arguments, node: ast.Call) -> Value:
        mode = given.get(1, "mode")
        plain = "r" if mode is None and not given.open else given.constant(1, "mode")
        risk = risks.OPEN_WRITE if risks.opens_for_writing(plain) else risks.OPEN_READ
        self.findings.risk(risk, "open(…)", node.lineno)
        return Foreign("io.open")

    def _call_collection(  # noqa: C901
        self, owner: Constant | Items | Mapping, name: str, given: Arguments
    ) -> Value:
        if isinstance(owner, Constant):
            if isinstance(owner.value, str):
                return constants.text_method(owner.value, name, given.positional, given.keywords)
            return Foreign("builtins")
        first = given.get(0) or UNKNOWN
        if isinstance(owner, Items):
            return self._call_items(owner, name, first, given)
        match name:
            case "items":
                pairs: list[Value] = [Items([Constant(k), v]) for k, v in owner.pairs.items()]
                pairs += [Items([UNKNOWN, value]) for value in owner.others]
                return Items(pairs, open=owner.open)
            case "values":
                return Items([*owner.pairs.values(), *owner.others], open=owner.open)
            case "keys":
                return Items([Constant(key) for key in owner.pairs], open=owner.open)
            case "copy":
                return Mapping(dict(owner.pairs), list(owner.others), owner.open)
            case "get" | "pop" | "setdefault":
                if name == "setdefault":
                    owner.set(first, given.get(1) or Constant(None))
                default = given.get(1) or Constant(None)
                return join(*(self._item(owner, one) for one in alternatives(first)), default)
            case "update":
                owner.update(self._dict(given))
        return Constant(None)

    def _call_items(self, owner: Items, name: str, first: Value, given: Arguments) -> Value:
        match name:
            case "append" | "add" | "appendleft":
                owner.add(first)
            case "insert":
                owner.add(given.get(1) or UNKNOWN)
                owner.open = True
            case "extend" | "update":
                for value in self.elements_of(first):
                    owner.add(value)
                owner.open |= not self.is_complete(first)
            case "copy":
                return Items(list(owner.items), open=owner.open)
            case "pop":
                return join(*owner.items, UNKNOWN)
            case "sort" | "reverse" | "remove" | "clear":
                owner.open = True
        return Constant(None)

    def _judge_call(self, path: str, given: Arguments, node: ast.Call) -> None:
        seconds = given.constant(0, "secs", "delay")
        if path in ("time.sleep", "asyncio.sleep") and isinstance(seconds, int | float):
            if seconds > _MINUTE and not self.ruled_out:
                self.findings.risk(risks.LONG_SLEEP, f"{path}({seconds:g})", node.lineno)
        elif path.startswith("os.environ.") and path.rpartition(".")[2] in (
            "update",
            "setdefault",
            "pop",
            "clear",
            "__setitem__",
            "popitem",
        ):
            self.judge_environment(given.get(0), node.lineno)

    def judge_environment(self, key: Value | None, line: int) -> None:
        """Refuse a change of `os.environ` that is, or may be, one of EPICS's variables."""
        for one in alternatives(key) if key is not None else (UNKNOWN,):
            keys = (
                list(one.pairs)
                if isinstance(one, Mapping) and not one.open
                else [one.value if isinstance(one, Constant) else None]
            )
            for name in keys:
                if not isinstance(name, str) or name.startswith("EPICS"):
                    self.findings.risk(risks.CA_ENVIRONMENT, "os.environ[…] = …", line)

    def _call_foreign(self, callee: Foreign, given: Arguments, node: ast.Call) -> Value:
        name = callee.path.rpartition(".")[2]
        self._judge_method(name, given, node)
        if use := channels.ANY_OBJECT.get(name):
            self._function_use(use, f".{name}", given, node)
        return self._passed_through(given, callee)

    def _judge_method(self, name: str, given: Arguments, node: ast.Call) -> None:
        if risk := risks.risk_of_method(name):
            self.findings.risk(risk, f".{name}(…)", node.lineno)
        elif name == "eval" and given.all:
            self.findings.risk(risks.EXPRESSION, ".eval(…)", node.lineno)
        elif name == "query" and isinstance(given.constant(0), str):
            self.findings.risk(risks.EXPRESSION, ".query(…)", node.lineno)


def _controls(value: Value) -> bool:
    if isinstance(value, Symbol):
        return channels.is_control(value.path)
    return isinstance(value, Handle)
