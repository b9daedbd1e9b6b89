"""What a permit lets its session write, judged write by write."""

import asyncio
from typing import Protocol

from gate.channel_access.values import Value
from runpermit.limits import LimitsDatabase, LimitsValidator, ViolationType
from runpermit.models import Plan
from runpermit.plans.envelope import Envelope
from runpermit.text import one_line


class Guarding(Protocol):
    """Conditions that are watched while a permit is used."""

    def refusal(self) -> str | None:
        """Why nothing may be written now, None while all hold."""
        ...


class Watching(Protocol):
    """Devices that are watched while a permit is used."""

    def wrote(self, channel: str, value: Value) -> None:
        """A write left the gate."""
        ...


class Keeping(Protocol):
    """What the writes of a session are kept within, beside what binds all sessions."""

    @property
    def turn(self) -> asyncio.Lock:
        """Held from the judgement of a write until it is forwarded."""
        ...

    def standing(self) -> tuple[ViolationType, str] | None:
        """Why nothing at all may be written now, None where something may."""
        ...

    def latch(self, channel: str, reason: str) -> None:
        """A write to `channel` was refused."""
        ...

    def limits(self, now: LimitsValidator) -> tuple[LimitsValidator, ...] | None:
        """By which limits a write is judged, where `now` are in force; None where by none."""
        ...

    def changed(self, channel: str, live: Value) -> str | None:
        """Why nothing is for `channel`, which reads `live`; None where something may be."""
        ...

    def outside(self, channel: str, value: Value, state: str) -> str | None:
        """Why `value`, which names this `state` of an enum, is not for `channel`; else None."""
        ...

    def forwarded(self, channel: str, value: Value) -> None:
        """A write left the gate."""
        ...


class Enforcement:
    """Keeps a session within `plan`, which `permit` approved under `limits`.

    After the first refusal, whatever its reason, nothing is let pass any more: a program that goes
    on past one is no longer the one that was approved. `turn` is held from the judgement of a write
    until it is forwarded, since each counts for the next.
    """

    def __init__(
        self,
        permit: str,
        plan: Plan,
        limits: LimitsValidator,
        guards: Guarding,
        devices: Watching | None = None,
    ) -> None:
        self.permit = permit
        self.turn = asyncio.Lock()
        self._envelope = Envelope(plan)
        self._limits = limits
        self._guards = guards
        self._devices = devices
        self._latch = ""
        self._wrote: set[str] = set()

    @property
    def approved(self) -> LimitsDatabase | None:
        """The limits under which the plan was approved."""
        return self._limits.database

    def standing(self) -> tuple[ViolationType, str] | None:
        """Why nothing at all may be written now, None where something may."""
        if self._latch:
            return ViolationType.NOT_ALLOWED, self._latch
        why = self._guards.refusal()
        return (ViolationType.CONDITION_FAILED, why) if why is not None else None

    def latch(self, channel: str, reason: str) -> None:
        """A write to `channel` was refused: it was the last one."""
        self._latch = self._latch or (
            f"nothing more is forwarded after a refused write: {one_line(channel, 100)} "
            f"{one_line(reason, 300)}"
        )

    def limits(self, now: LimitsValidator) -> tuple[LimitsValidator, ...] | None:
        """By which limits a write is judged; None where others hold than were approved.

        Once something was forwarded, both bind what comes.
        """
        if now.database is self._limits.database or _sha256(now) == _sha256(self._limits):
            return (now,)
        return (now, self._limits) if self._wrote else None

    def changed(self, channel: str, live: Value) -> str | None:
        """Why `channel`, which reads `live`, is not the one that was approved; None if it is."""
        return self._envelope.drift(channel, live) if channel not in self._wrote else None

    def outside(self, channel: str, value: Value, state: str) -> str | None:
        """Why a write is not one of those approved; None if it is."""
        return self._envelope.refusal(channel, value, state)

    def forwarded(self, channel: str, value: Value) -> None:
        """A write left the gate."""
        self._wrote.add(channel)
        self._envelope.forwarded(channel, value)
        if self._devices is not None:
            self._devices.wrote(channel, value)


def _sha256(limits: LimitsValidator) -> str | None:
    return limits.database.sha256 if limits.database is not None else None
