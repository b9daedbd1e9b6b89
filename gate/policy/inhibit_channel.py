"""The inhibit channel: while it does not read what it must, or is silent, nothing is written."""

from gate.channel_access.watched_channel import WatchedChannel, WatchedIocs
from runpermit.limits.values import shown


class InhibitChannel:
    """Watches `name`, which must read `value`."""

    def __init__(self, name: str, value: str | float, iocs: WatchedIocs) -> None:
        self._value = value
        self._channel = WatchedChannel(name, iocs, on_change=lambda: None)

    def refusal(self) -> str | None:
        """Why nothing may be written now, None where the channel permits it."""
        must = f"the inhibit channel {self._channel.name} (gate.inhibit_channel) must read "
        must += shown(self._value)
        try:
            reading = self._channel.reading()
        except LookupError as why:
            return f"{must}, and can't be read: {why}"
        return None if reading.equals(self._value) else f"{must}, and reads {reading}"

    async def close(self) -> None:
        """Stop watching."""
        await self._channel.close()
