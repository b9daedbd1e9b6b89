"""A write in words, as the plan that it belongs to knows its channel: units, names of states."""

from typing import Any

from runpermit.models import Plan, WriteOutcome, WriteRecord
from runpermit.plans.words import name_text, value_text


class Telling:
    """Tells writes of `plan`."""

    def __init__(self, plan: Plan) -> None:
        self._units = {channel.channel: channel.units for channel in plan.channels}
        self._states: dict[tuple[str, str], str] = {}
        for channel in plan.channels:
            self._name(channel.channel, channel.live, channel.state)
            self._name(channel.channel, channel.last, channel.last_state)
        for write in plan.writes:
            self._name(write.channel, write.new, write.state)

    def write(self, record: WriteRecord) -> str:
        """One write on one line, as `str(record)` but with unit and states."""
        old = value_text(record.old, "", self._state(record.channel, record.old))
        told = f"{name_text(record.channel)}: {old} → {self.value(record.channel, record.new)}"
        if record.outcome in {WriteOutcome.DIFFERS, WriteOutcome.ALARM}:
            reads = self.value(record.channel, record.read_back)
            return f"{told}, {record.outcome}, reads {reads}"
        return f"{told}, {record.outcome}"

    def value(self, channel: str, value: Any) -> str:  # noqa: ANN401  (JSON)
        """A value of `channel`."""
        return value_text(value, self._units.get(channel, ""), self._state(channel, value))

    def _name(self, channel: str, value: Any, state: str) -> None:  # noqa: ANN401
        if state:
            self._states[channel, value_text(value)] = state

    def _state(self, channel: str, value: Any) -> str:  # noqa: ANN401
        return self._states.get((channel, value_text(value)), "")
