"""What the analysis collects, bounded, with nothing listed twice."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from activities.analyser.channels import Use
from activities.analyser.risks import Risk
from activities.analyser.values import (
    UNKNOWN,
    Constant,
    Handle,
    Items,
    NotKnownError,
    Value,
    alternatives,
    python_value,
)
from runpermit.models.analysis import ChannelUse, Severity
from runpermit.models.wire import non_json_values

MAX_LISTED = 200
_ORDER = list(Severity)


@dataclass(frozen=True, slots=True)
class ConstantWrite:
    """A write whose channel and value stand in the code, for the limits."""

    channel: str
    value: Any
    line: int


def channels_of(value: Value | None) -> list[str | None]:
    """The channels that an argument names; None for each that is computed."""
    found: dict[str | None, None] = {}
    for one in alternatives(value) if value is not None else ():
        if isinstance(one, Constant) and isinstance(one.value, str):
            found[one.value] = None
        elif isinstance(one, Handle):
            found[one.channel] = None
        elif isinstance(one, Items) and one.items:
            found.update((name, None) for item in one.items for name in _single(item))
            if one.open:
                found[None] = None
        else:
            found[None] = None
    return list(found) or [None]


def _single(value: Value) -> list[str | None]:
    return [None] if isinstance(value, Items) else channels_of(value)


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
    _doubtful: list[tuple[str, int, str | None, Value | None]] = field(default_factory=list)
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

    def use(
        self,
        use: Use,
        call: str,
        line: int,
        channel: str | None = None,
        value: Value | None = None,
    ) -> None:
        """Note one read, or one write of `value` (None: not known)."""
        try:
            known, plain = (True, python_value(value)) if value is not None else (False, None)
        except NotKnownError:
            known, plain = False, None
        key = (use, call, line, channel, known, repr(plain))
        if key in self._seen:
            return
        listed = self.writes if use is Use.WRITE else self.reads
        if len(self._seen) >= MAX_LISTED * 10 and listed:
            self._cut = True
            return
        self._seen.add(key)
        if use is Use.WRITE and known and channel is not None:
            self.constant_writes.append(ConstantWrite(channel, plain, line))
        if len(listed) >= MAX_LISTED:
            self._cut = True
            return
        shown = known and not any(True for _ in non_json_values(plain))
        listed.append(
            ChannelUse(
                call=call,
                line=line,
                channel=channel,
                value=plain if shown else None,
                value_known=shown,
            )
        )

    def uses(
        self, use: Use, call: str, line: int, channels: Value | None, value: Value | None
    ) -> None:
        """Note a use of each channel that `channels` can be, with each value it can take.

        Values count only where it is certain which channel they belong to.
        """
        if isinstance(channels, Items) and isinstance(value, Items) and not channels.open:
            if len(channels.items) == len(value.items):
                for channel, one in zip(channels.items, value.items, strict=True):
                    self.uses(use, call, line, _name_alone(channel), one)
                return
            value = None
        names = channels_of(channels)
        values = alternatives(value) if value is not None else ()
        certain = all(_is_known(one) for one in values) and (len(names) == 1 or len(values) == 1)
        for name in names:
            for given in values if certain and values else (None,):
                self.use(use, call, line, name, given)

    def doubtful_write(self, call: str, line: int, value: Value | None) -> None:
        """Note what is a write if the program uses a control library at all."""
        if len(self._doubtful) < MAX_LISTED:
            self._doubtful.append((call, line, None, value))

    def close(self) -> None:
        """Decide what was left open, once the whole program is read."""
        if self.uses_control:
            for call, line, _channel, value in self._doubtful:
                self.use(Use.WRITE, call, line, None, value)
        if self._cut:
            self.issues.setdefault(
                f"The lists are cut: at most {MAX_LISTED} issues, reads and writes are shown."
            )

    def listed_imports(self) -> list[str]:
        """The imported modules, sorted and bounded."""
        return sorted(self.imports)[:MAX_LISTED]


def _name_alone(value: Value) -> Value:
    return UNKNOWN if isinstance(value, Items) else value


def _is_known(value: Value) -> bool:
    return known_values([value])


def known_values(values: Iterable[Value]) -> bool:
    """Whether all `values` are constants."""
    try:
        for value in values:
            python_value(value)
    except NotKnownError:
        return False
    return True
