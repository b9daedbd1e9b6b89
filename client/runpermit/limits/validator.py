"""The rules on a write, in the order in which they are judged; pure and fast."""

import re

from runpermit.limits.database import LimitsDatabase
from runpermit.limits.entry import ChannelLimitsConfig
from runpermit.limits.rules import UNRESTRICTED, CurrentValue, Write
from runpermit.limits.values import shown
from runpermit.limits.violations import ViolationType

# What a name may be where unlisted channels are allowed: no spaces, quotes or modifiers, by which
# a listed record could be reached past its entry.
_PLAIN_NAME = re.compile(r"[^\s.${}\"'\x00-\x1f\x7f-\U0010ffff]+")


class LimitsValidator:
    """Judges writes by the limits database.

    Without a database every write is refused with `unavailable_reason`, unless `enabled` is
    False: then all but nan and infinity passes. `allow_unlisted` lets channels without an entry
    pass, but never a record's other fields. `conditions` and `min_interval` of an entry are not
    judged here: they need the machine's state, and the time.
    """

    def __init__(
        self,
        database: LimitsDatabase | None,
        *,
        enabled: bool = True,
        allow_unlisted: bool = False,
        unavailable_reason: str | None = None,
    ) -> None:
        self.database = database
        self.enabled = enabled
        self.allow_unlisted = allow_unlisted
        self.unavailable_reason = unavailable_reason

    def validate(
        self,
        channel: str,
        value: object,
        current_value: object = CurrentValue.NOT_READ,
        *,
        check_step: bool = True,
    ) -> None:
        """Raise ChannelLimitsViolationError unless `value` may be written to `channel`.

        `current_value` is the live value (scalar, or a sequence as long as `value`), needed where
        `needs_current_value` says so. Judged in turn: listed, writable, valid and allowed, bounds
        (inclusive), step; every element of a sequence. Number text counts as its number.
        """
        write = Write(channel, value)
        if not self.enabled:
            write.check_finite()
            return
        entry = self._entry(write)
        write.entry = entry
        if not entry.writable:
            raise write.violation(
                ViolationType.READ_ONLY_CHANNEL,
                f"can't be set to {shown(value)}: the limits database lists the channel as "
                "writable: false. Write to another channel, or only read this one",
            )
        items = write.checked_elements(entry)
        if check_step and entry.bounds_step:
            write.check_step(entry, items, current_value)

    def static_check(self, channel: str, value: object) -> None:
        """Judge `value` by all that needs no live value; for constants seen in code."""
        self.validate(channel, value, check_step=False)

    def needs_current_value(self, channel: str) -> bool:
        """Whether a write to `channel` is judged against its live value."""
        entry = self.find(channel)
        return entry is not None and entry.writable and entry.bounds_step

    def find(self, channel: str) -> ChannelLimitsConfig | None:
        """The entry that a write to `channel` is judged by, None where there is none."""
        return self.database.find(channel) if self.enabled and self.database else None

    def _entry(self, write: Write) -> ChannelLimitsConfig:
        if self.database is None:
            why = self.unavailable_reason or "no limits database is loaded"
            raise write.violation(
                ViolationType.LIMITS_UNAVAILABLE,
                f"can't be set to {shown(write.value)}, because nothing says what is allowed: "
                f"{why.rstrip('.')}. Reads go on; writes pass again once the database loads",
            )
        entry = self.database.find(write.channel)
        if entry is not None:
            return entry
        record, dot, field = write.channel.partition(".")
        if dot and field != "VAL":
            raise write.violation(
                ViolationType.FIELD_NOT_LISTED,
                f"the field {shown(field)} is not listed by its exact name, and the record's own "
                f"entry counts for .VAL alone. Write to {shown(record)} itself, or have the field "
                f"listed in {self._source()}",
            )
        if self.allow_unlisted and _PLAIN_NAME.fullmatch(record):
            return UNRESTRICTED
        raise write.violation(
            ViolationType.UNLISTED_CHANNEL,
            f"can't be set to {shown(write.value)}: the channel is not listed in "
            f"{self._source()}{self._similar(record)}. Use a listed channel, or have it listed",
        )

    def _source(self) -> str:
        path = self.database.path if self.database else None
        return f"the limits database {path}" if path else "the limits database"

    def _similar(self, name: str) -> str:
        wanted = name.strip().casefold()
        found = [known for known in self.database.channels if known.casefold() == wanted]  # type: ignore[union-attr]
        return f" (names are exact; {found[0]} is listed)" if found else ""
