"""What the analysis collects, bounded, with nothing listed twice."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from activities.analyser.risks import Risk
from activities.analyser.values import UNKNOWN, Binding, Constants, Use, bindings_in
from activities.analyser.work import spend
from runpermit.models.analysis import ChannelUse, Severity
from runpermit.models.wire import not_json

MAX_LISTED = 200
_ORDER = list(Severity)


@dataclass(frozen=True, slots=True)
class ConstantWrite:
    """A write whose channel and value are certain, for the limits."""

    channel: str
    value: Any
    line: int


@dataclass
class Findings:
    """Issues, imports and channel uses of one program."""

    issues: dict[str, None] = field(default_factory=dict)
    recommendations: dict[str, None] = field(default_factory=dict)
    severity: Severity = Severity.INFO
    imports: set[str] = field(default_factory=set)
    reads: list[ChannelUse] = field(default_factory=list)
    writes: list[ChannelUse] = field(default_factory=list)
    constant_writes: list[ConstantWrite] = field(default_factory=list)
    assigns_results: bool = False
    uses_control: bool = False
    _doubtful: list[tuple[str, int, Binding]] = field(default_factory=list)
    _seen: set[tuple[object, ...]] = field(default_factory=set)
    _cut: bool = False

    def issue(self, text: str, severity: Severity, instead: str) -> None:
        """Note one issue."""
        self.severity = max(self.severity, severity, key=_ORDER.index)
        if len(self.issues) < MAX_LISTED:
            self.issues.setdefault(text)
            self.recommendations.setdefault(instead)
        else:
            self._cut = True

    def risk(self, risk: Risk, what: str, line: int) -> None:
        """Note that `what` on `line` is a risk."""
        self.issue(f"line {line}: `{what}` {risk.why}.", risk.severity, risk.instead)

    def uses(
        self, use: Use, call: str, line: int, channel: Binding, value: Binding = UNKNOWN
    ) -> None:
        """Note a use of each channel that `channel` can be, with the value that it takes."""
        certain = isinstance(channel, Constants) and channel.certain
        for name, given in _pairs(channel, value):
            self._use(use, call, line, name, given, certain=certain)

    def _use(
        self, use: Use, call: str, line: int, name: object, value: Binding, *, certain: bool
    ) -> None:
        listed = self.writes if use is Use.WRITE else self.reads
        spend(5)
        if len(self._seen) >= MAX_LISTED * 10 and listed:
            return
        channel = name if isinstance(name, str) else None
        plain = None
        known = isinstance(value, Constants) and value.certain and len(value.values) == 1
        if known and isinstance(value, Constants):
            (plain,) = value.values
            known = not any(bindings_in(plain))
        text = repr(plain) if known else None
        spend(len(text or "") // 8)
        key = (use, call, line, channel, text)
        if key in self._seen:
            return
        if len(listed) >= MAX_LISTED:
            self._cut = True
        self._seen.add(key)
        if use is Use.WRITE and known and certain and channel is not None:
            self.constant_writes.append(ConstantWrite(channel, plain, line))
        if len(listed) < MAX_LISTED:
            shown = known and not_json(plain) is None
            listed.append(
                ChannelUse(
                    call=call,
                    line=line,
                    channel=channel,
                    value=plain if shown else None,
                    value_known=shown,
                )
            )

    def doubtful_write(self, call: str, line: int, value: Binding) -> None:
        """Note what is a write if the program uses a control library at all."""
        if len(self._doubtful) < MAX_LISTED:
            self._doubtful.append((call, line, value))

    def close(self) -> None:
        """Decide what was left open, once the whole program is read."""
        if self.uses_control:
            for call, line, value in self._doubtful:
                self.uses(Use.WRITE, call, line, UNKNOWN, value)
        if self._cut:
            self.issues.setdefault(
                f"The lists are cut: at most {MAX_LISTED} issues, reads and writes are shown."
            )

    def listed_imports(self) -> list[str]:
        """The imported modules, sorted and bounded."""
        return sorted(self.imports)[:MAX_LISTED]


def _pairs(channel: Binding, value: Binding) -> Iterator[tuple[object, Binding]]:
    """Channels with their values; a value counts only where it is certain which it belongs to."""
    if not isinstance(channel, Constants):
        yield None, value
        return
    if not isinstance(value, Constants):
        values: tuple[Binding, ...] = (value,)
    else:
        values = tuple(Constants((one,), None, value.certain) for one in value.values)
    names = channel.values
    aligned = isinstance(value, Constants) and value.source is channel.source is not None
    if len(values) == 1:
        values *= len(names)
    elif len(names) == 1 and not isinstance(names[0], list | tuple):
        names *= len(values)
    elif not aligned:
        values = (UNKNOWN,) * len(names)
    for name, one in zip(names, values, strict=True):
        if isinstance(name, list | tuple):
            yield from _many(name, one)
        else:
            yield name, one


def _many(names: list[object] | tuple[object, ...], value: Binding) -> Iterator[Any]:
    """The channels of a list, with the values of another of the same length."""
    given = value.values[0] if isinstance(value, Constants) else None
    if not isinstance(given, list | tuple) or len(given) != len(names):
        given = [UNKNOWN] * len(names)
    certain = isinstance(value, Constants) and value.certain
    for name, one in zip(names, given, strict=True):
        single = one if isinstance(one, Binding) else Constants((one,), None, certain)
        yield name, single
    if not names:
        yield None, UNKNOWN
