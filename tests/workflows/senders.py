"""Who says what to an execution: messages as they are truly meant, by whom they truly are."""

from dataclasses import dataclass
from random import Random
from typing import Any

from runpermit.models import DecisionWay, Verb
from runpermit.payloads import Undecodable

SELDOM = 0.15
KEYS: dict[str, tuple[str, ...]] = {
    "jd's": ("jd",),
    "jd's other": ("jd",),
    "mk's": ("mk",),
    "of two names": ("mk", "kr"),
    "agent's": ("agent",),
    "a stranger's": (),
}
NAMES = ["jd", "mk", "kr", "agent"]
SPOILED: list[tuple[Any, ...]] = [
    ("yes",), ({},), (None,), ({"operator": "jd"}, {}), ({"decision": "stop", "comment": "x"},),
    ({"operator": "jd", "approved": True},), ({"comment": "x" * 5000},), (Undecodable("bytes"),),
]  # fmt: skip


@dataclass(frozen=True)
class Signed:
    """A signature: whose, and over which answer to which question."""

    key: str
    over: int
    verb: Verb


@dataclass(frozen=True)
class Sent:
    """A message as its sender meant it: for question `meant`, if `digits` or `sha256` name that.

    digits: how many the name of its signal has; sha256: how many digits it has.
    """

    verb: Verb | None
    meant: int
    digits: int
    sha256: int
    signed: Signed | None
    typed: str | None
    principal: str | None
    via: DecisionWay
    spoiled: tuple[Any, ...] | None


def seldom(chance: Random, one: list[Any], mostly: list[Any]) -> Any:
    return chance.choice(one if chance.random() < SELDOM else mostly)


def by_anybody(chance: Random, now: int, most: int) -> Sent:
    """For any of `most` questions: one before, this one, or one that nobody has asked yet."""

    def nearby() -> int:
        return chance.choice([now, now, now, now - 1, now + 1, 0]) % most

    verb = seldom(
        chance, [*Verb, Verb.STOP, None], [Verb.APPROVE, Verb.APPROVE, Verb.RESTORE, Verb.REVISE]
    )
    via = chance.choice(list(DecisionWay)) if verb else DecisionWay.UPDATE
    by_signal = via is DecisionWay.SIGNAL
    signed = Signed(
        chance.choice(list(KEYS)),
        nearby(),
        seldom(chance, list(Verb), [verb or Verb.APPROVE]),
    )
    return Sent(
        verb=verb,
        meant=nearby(),
        digits=seldom(chance, [5, 12, 64], [0, 6]) if by_signal and verb is not Verb.STOP else 0,
        sha256=seldom(chance, [6, 63], [0, 64]),
        signed=chance.choice([None, signed]),
        typed=chance.choice([None, None, *NAMES]),
        principal=chance.choice([None, *NAMES]) if by_signal else None,
        via=via,
        spoiled=seldom(chance, SPOILED, [None]),
    )


def by_somebody_known(chance: Random, now: int, verb: Verb) -> Sent:
    """For what waits, and well said."""
    key = chance.choice(["jd's", "jd's other", "mk's", "of two names"])
    name = chance.choice(KEYS[key])
    by_digits = chance.choice([True, False])
    return Sent(
        verb=verb,
        meant=now,
        digits=6 if by_digits else 0,
        sha256=0 if by_digits else 64,
        signed=chance.choice([None, Signed(key, now, verb), Signed(key, now, verb)]),
        typed=name,
        principal=name,
        via=DecisionWay.SIGNAL,
        spoiled=None,
    )
