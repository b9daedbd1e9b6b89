"""Attributes and calls: what they do to the machine, what is wrong with them, what they give."""

import builtins
import operator
from collections.abc import Iterator
from functools import lru_cache

from activities.analyser import channels, constants, risks
from activities.analyser.arguments import Arguments, fold_call, given_back, only
from activities.analyser.constants import fold
from activities.analyser.findings import Findings
from activities.analyser.risks import Risk
from activities.analyser.values import (
    FOREIGN,
    UNKNOWN,
    Binding,
    Constants,
    Handle,
    Method,
    Symbol,
    Use,
    join,
    one_of,
    words,
)
from activities.analyser.work import spend
from kernels.inside.declaring import Declared, checked
from runpermit.models.analysis import Severity

_MAX_PATH = 200
_MINUTE = 60
_DECLARE_SO = (
    "Declare the range of what is computed: plan(channel, low, high, max_writes), with low <= high."
)
_ENVIRONMENT_CHANGES = words("update setdefault pop popitem clear __setitem__")


@lru_cache(maxsize=4096)
def _look_up(path: str) -> tuple[Symbol, Risk | None, bool]:
    path = risks.canonical(path)
    return Symbol(path, channels.use_of(path)), risks.risk_of(path), channels.is_control(path)


class Objects:
    """What objects do, as told by where they come from."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        # A dict for its order, so that equal programs give equal results.
        self.stars: dict[str, None] = {}
        # Packages that the program can do without: it catches that their import fails.
        self.optional: set[str] = set()

    def symbol(self, path: str, line: int) -> Binding:
        """The symbol of `path`, judged for what is wrong with it."""
        if len(path) > _MAX_PATH:
            return FOREIGN
        spend(10)
        symbol, risk, control = _look_up(path)
        self.findings.uses_control |= control
        if risk:
            if symbol.path.partition(".")[0] in self.optional:
                risk = risks.as_fallback(risk)
            self.findings.risk(risk, symbol.path.removeprefix("builtins."), line)
        return symbol

    def free_name(self, name: str, line: int) -> Binding:
        """What a name stands for that the program doesn't bind."""
        if name in channels.INJECTED or name == channels.DECLARES:
            return self.symbol(f"runpermit.{name}", line)
        if name == "get_ipython":
            return self.symbol(name, line)
        if hasattr(builtins, name):
            found = self.symbol(f"builtins.{name}", line)
        elif name in channels.EPICS_NAMES:
            found = self.symbol(name if name == "epics" else f"epics.{name}", line)
        else:
            is_channel = channels.CHANNEL_NAME.search(name)
            found = Handle() if is_channel else UNKNOWN
        for module in self.stars:
            found = join(self.symbol(f"{module}.{name}", line), found)
        return found

    # Attributes

    def attribute(self, owner: Binding, name: str, line: int) -> Binding:
        """What `owner.name` stands for."""
        spend(1)
        if name in risks.INSIDE_NAMES:
            self.findings.risk(risks.INSIDES, f".{name}", line)
        if isinstance(owner, Symbol):
            return self.symbol(f"{owner.path}.{name}", line)
        if isinstance(owner, Handle):
            if use := channels.method_use(name):
                return Method(owner, name, use)
            if owner.is_channel and name in channels.CHANNEL_ATTRIBUTES:
                self.findings.uses(Use.READ, f".{name}", line, owner.name)
                return FOREIGN
            if not owner.is_channel and only(owner.name) and not name.startswith("_"):
                self.findings.uses(Use.READ, f".{name}", line, _field(owner, name))
            return Method(owner, name)
        if isinstance(owner, Method):
            owner = FOREIGN if owner.owner is FOREIGN else UNKNOWN
        return Method(owner, name, channels.ANY_OBJECT.get(name))

    def set_attribute(self, owner: Binding, name: str, value: Binding, line: int) -> None:
        """`owner.name = value`."""
        if name in risks.INSIDE_NAMES:
            self.findings.risk(risks.INSIDES, f".{name}", line)
        if isinstance(owner, Handle):
            if not owner.is_channel:
                self.findings.uses(Use.WRITE, f".{name} =", line, _field(owner, name), value)
            elif name == "value":
                self.findings.uses(Use.WRITE, ".value =", line, owner.name, value)
        elif isinstance(owner, Symbol):
            # Upper-case names are settings, such as epics.ca.DEFAULT_CONNECTION_TIMEOUT.
            if channels.is_control(owner.path) and not name.isupper():
                self.findings.risk(risks.PATCHED, f"{owner.path}.{name} = …", line)
            elif owner.path == "os" and name == "environ":
                self.findings.risk(risks.CA_ENVIRONMENT, "os.environ = …", line)
        elif name == "value" and owner is not FOREIGN:
            self.findings.doubtful_write(f".{name} =", line, value)

    def set_environment(self, key: Binding | None, line: int) -> None:
        """Refuse a change of `os.environ` that is, or may be, one of EPICS's variables."""
        names: list[object] = [None]
        if isinstance(key, Constants):
            names = [n for one in key.values for n in (one if isinstance(one, dict) else [one])]
            spend(len(names))
        if not all(isinstance(name, str) and not name.startswith("EPICS") for name in names):
            self.findings.risk(risks.CA_ENVIRONMENT, "os.environ[…] = …", line)

    # Calls

    def call(self, callee: Binding, given: Arguments, line: int) -> Binding:
        """What calling `callee` gives."""
        if isinstance(callee, Symbol):
            return self._call_symbol(callee, given, line)
        if isinstance(callee, Method):
            return self._call_method(callee, given, line)
        return UNKNOWN

    def _call_symbol(self, symbol: Symbol, given: Arguments, line: int) -> Binding:
        path = symbol.path
        if channels.writes_inside(path):
            self.findings.uses(Use.WRITE, path, line, UNKNOWN)
        if symbol.use:
            self._use(symbol.use, path.removeprefix("runpermit."), given, line)
            return FOREIGN
        if channels.is_control(path):
            return self._make_handle(path, given, line)
        head, _, last = path.rpartition(".")
        if head == "builtins":
            return self._call_builtin(last, given, line)
        self._judge_call(path, given, line)
        return given_back(given)

    def _judge_call(self, path: str, given: Arguments, line: int) -> None:
        """Note what is wrong with calling a library's function, or `plan`, with these arguments."""
        head, _, last = path.rpartition(".")
        if path == f"runpermit.{channels.DECLARES}":
            self._judge_declaration(given, line)
        elif path in ("time.sleep", "asyncio.sleep"):
            seconds = only(given.get(0, ["secs", "delay"]))
            if isinstance(seconds, int | float) and seconds > _MINUTE:
                self.findings.risk(risks.LONG_SLEEP, f"{path}({seconds:g})", line)
        elif path == "numpy.load":
            pickled = given.get(2, ["allow_pickle"])
            if pickled is not None and only(pickled) is not False:
                self.findings.risk(risks.LOADS, f"{path}(…, allow_pickle=…)", line)
        elif head == "os.environ" and last in _ENVIRONMENT_CHANGES:
            self.set_environment(given.get(0), line)

    def _use(
        self, use: Use, call: str, given: Arguments, line: int, prefix: Binding | None = None
    ) -> None:
        """A function that takes the channel, or several, before the value."""
        channel = given.get(0, channels.CHANNEL_KEYWORDS) or UNKNOWN
        value = given.get(1, channels.VALUE_KEYWORDS) or UNKNOWN
        if call.endswith("write_channels"):
            settings = given.get(0, ["values", "channels", "settings"]) or UNKNOWN
            channel = fold(lambda pairs: [*pairs.keys()], settings)
            value = fold(lambda pairs: [*pairs.values()], settings)
        elif call.endswith(".move") and prefix is not None:
            channel, value = Constants(("VAL",)), channel
        if isinstance(channel, Handle):
            channel = channel.name
        if prefix is not None and only(prefix) != "":
            channel = fold(channels.field_of, prefix, channel)
        self.findings.uses(use, call, line, channel, value if use is Use.WRITE else UNKNOWN)

    def _judge_declaration(self, given: Arguments, line: int) -> None:
        """Tell now what `plan` will refuse when it runs, as far as its arguments are constants."""
        values = [only(given.get(n, [name])) for n, name in enumerate(Declared._fields)]
        if None in values:
            return
        try:
            checked(*values)
        except (TypeError, ValueError) as error:
            self.findings.issue(f"line {line}: {error}.", Severity.ERROR, _DECLARE_SO)

    def _make_handle(self, path: str, given: Arguments, line: int) -> Binding:
        last = path.rpartition(".")[2]
        name = given.get(0, channels.CHANNEL_KEYWORDS) or UNKNOWN
        if "callback" in given.keywords:
            self.findings.uses(Use.READ, path, line, name)
        if last in channels.CHANNEL_OBJECTS:
            return Handle(name)
        if last in channels.DEVICES:
            joint = given.get(3, ["delim"]) or Constants((channels.DEVICES[last],))
            return Handle(fold(operator.add, name, joint), is_channel=False)
        if last[:1].isupper():
            return Handle(Constants(("",)), is_channel=False)
        return given_back(given)

    def _call_method(self, method: Method, given: Arguments, line: int) -> Binding:
        owner, name = method.owner, method.name
        if isinstance(owner, Handle):
            return self._call_handle(owner, method, given, line)
        if isinstance(owner, Constants) and not given.open:
            function = constants.METHODS.get(name, constants.not_followed)
            return fold_call(function, Arguments([owner, *given.positional], given.keywords))
        if name in risks.FILE_METHODS:
            self.findings.risk(risks.OPEN_WRITE, f".{name}(…)", line)
        elif name in risks.LOOP_METHODS:
            self.findings.risk(risks.LOOP_METHODS[name], f".{name}(…)", line)
        elif (name == "eval" and given.all) or (
            name == "query" and isinstance(only(given.get(0)), str)
        ):
            self.findings.risk(risks.EXPRESSION, f".{name}(…)", line)
        if method.use:
            self._use(method.use, f".{name}", given, line)
        elif name in channels.DOUBTFUL and owner is UNKNOWN:
            value = given.get(0, channels.VALUE_KEYWORDS) or UNKNOWN
            self.findings.doubtful_write(f".{name}", line, value)
        return given_back(given) if owner is FOREIGN else UNKNOWN

    def _call_handle(self, handle: Handle, method: Method, given: Arguments, line: int) -> Binding:
        call = f".{method.name}"
        if method.use is None:
            return handle if handle.is_channel or only(handle.name) else Handle()
        if handle.is_channel:
            value = given.get(0, channels.VALUE_KEYWORDS) or UNKNOWN
            value = value if method.use is Use.WRITE else UNKNOWN
            self.findings.uses(method.use, call, line, handle.name, value)
        else:
            self._use(method.use, call, given, line, handle.name)
        return FOREIGN

    def _call_builtin(self, name: str, given: Arguments, line: int) -> Binding:
        if name == "getattr":
            found = [self.attribute(*one, line) for one in self._named(name, given, line)]
            default = given.get(2)
            return one_of([*found, default] if found and default else found, None, certain=True)
        if name in ("setattr", "delattr"):
            for owner, attribute in self._named(name, given, line):
                self.set_attribute(owner, attribute, given.get(2) or UNKNOWN, line)
        elif name == "open":
            mode = given.get(1, ["mode"])
            changes = mode is not None and risks.opens_for_writing(only(mode))
            self.findings.risk(risks.OPEN_WRITE if changes else risks.OPEN_READ, "open(…)", line)
        elif name in constants.FUNCTIONS and not given.open:
            result = fold_call(constants.FUNCTIONS[name], given)
            if result is not UNKNOWN:
                return result
        return given_back(given)

    def _named(self, call: str, given: Arguments, line: int) -> Iterator[tuple[Binding, str]]:
        """The owner and each name that `getattr` and its like were given."""
        owner, names = given.get(0) or UNKNOWN, given.get(1)
        if isinstance(names, Constants):
            yield from ((owner, name) for name in names.values if isinstance(name, str))
        elif isinstance(owner, Handle) or (
            isinstance(owner, Symbol)
            and (channels.is_control(owner.path) or risks.is_powerful(owner.path))
        ):
            self.findings.risk(risks.DYNAMIC_NAME, f"{call}(…)", line)
        elif call == "setattr":
            self.findings.doubtful_write(call, line, given.get(2) or UNKNOWN)


def _field(device: Handle, name: str) -> Binding:
    return fold(channels.field_of, device.name, Constants((name,)))
