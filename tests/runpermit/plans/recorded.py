"""Plans as a rehearsal records them, and what hypothesis may rehearse."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from runpermit.limits import ChannelLimitsConfig
from runpermit.models.plan import (
    Declaration,
    MachineState,
    Plan,
    PlannedChannel,
    PlannedWrite,
)
from runpermit.plans import Value, as_planned, build_plan, plan_tolerance

# Nothing here is about time, and other tests run beside these.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

AT = datetime(2026, 11, 25, 3, 12, 5, tzinfo=UTC)

NUMBERS = st.floats(-1e6, 1e6) | st.integers(-1000, 1000)
ARRAYS = st.lists(NUMBERS, min_size=1, max_size=3).map(tuple)
TEXTS = st.sampled_from(["OFF", "ON", "USER"])
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "A": NUMBERS,
    "B": NUMBERS,
    "WAVE": ARRAYS,
    "MODE": TEXTS,
    "NOTE": TEXTS,
}
VALUES = st.one_of(NUMBERS, ARRAYS, TEXTS)
WRITES = st.lists(
    st.sampled_from(sorted(KINDS)).flatmap(lambda name: st.tuples(st.just(name), KINDS[name])),
    max_size=12,
)
LIVE = st.fixed_dictionaries(KINDS)


def recorded(
    live: Mapping[str, Value],
    writes: Sequence[tuple[str, Value]],
    *,
    entry: ChannelLimitsConfig | None = None,
    exact: Sequence[str] = (),
    after: Sequence[float] | None = None,
    told: int | None = None,
    declared: Sequence[Declaration] = (),
    machine: Sequence[MachineState] = (),
    problem: str = "",
    waits: Sequence[object] | None = None,
    upstream: str = "",
) -> Plan:
    """The plan of a program that did `writes` where the machine read `live`.

    The first `told` of them are told one by one.
    """
    now, planned = dict(live), []
    for number, (channel, value) in enumerate(writes):
        planned.append(
            PlannedWrite(
                channel=channel,
                old=as_planned(now[channel]),
                new=as_planned(value),
                after=after[number] if after else float(number),
            )
        )
        now[channel] = value
    names = dict.fromkeys([name for name, _ in writes] + [one.channel for one in declared])
    told = len(planned) if told is None else told
    return build_plan(
        writes=planned[:told],
        left_out=len(planned) - told,
        channels=[
            channel_of(name, live[name], [new for one, new in writes if one == name], entry, exact)
            for name in names
        ],
        reads=["R"],
        unknown=[],
        machine=machine,
        upstream=upstream,
        declared=declared,
        problem=problem,
        waits=waits,
        at=AT,
    )


def channel_of(
    name: str,
    live: Value,
    values: Sequence[Value],
    entry: ChannelLimitsConfig | None = None,
    exact: Sequence[str] = (),
) -> PlannedChannel:
    """The facts of a channel that reads `live` and is set to `values`."""
    is_exact = name in exact or isinstance(live, str)
    numbers = [value for value in values if isinstance(value, int | float) and not is_exact]
    return PlannedChannel(
        channel=name,
        units="A",
        live=as_planned(live),
        writes=len(values),
        low=min(numbers, default=None),
        high=max(numbers, default=None),
        last=as_planned(values[-1]) if values else None,
        exact=is_exact,
        tolerance=None if is_exact else plan_tolerance(entry, live, values),
        min_interval=entry.min_interval if entry else 0.1,
        restorable=not is_exact,
    )
