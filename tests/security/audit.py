"""The limits of the labs, and a judge of its own of what their IOCs received."""

from typing import Any

from tests.gate.giving_permits import planned

LIMITS: dict[str, dict[str, Any]] = {
    "T:SP": {"min_value": -10, "max_value": 10, "max_step": 0.5, "min_interval": 0},
    "T:SLOW": {"min_value": -10, "max_value": 10, "max_step": 0.5, "min_interval": 0.2},
    "T:FREE": {"min_value": -10, "max_value": 10, "min_interval": 0},
    "T:LOCKED": {"min_value": -10, "max_value": 10, "writable": False},
    "T:TENTH": {"min_value": 0, "max_value": 0.1, "min_interval": 0},
    "T:LONG": {"min_value": 0, "max_value": 1000, "min_interval": 0},
    "T:WIDE": {"min_value": 0, "max_value": 1000, "min_interval": 0},
    "T:SWITCH": {"allowed_values": [0], "min_interval": 0},
    "T:MODE": {"allowed_values": ["10"], "min_interval": 0},
    "T:NOTE": {"allowed_values": ["calm"], "min_interval": 0},
    "T:TEXT": {"allowed_values": ["calm"], "min_interval": 0},
    "T:SHORT": {"min_value": -100, "max_value": 100, "min_interval": 0},
    "T:ARRAY": {"min_value": -10, "max_value": 10, "min_interval": 0},
}
# What a record holds where its entry names allowed values: a state by its number.
_ALLOWED = {"T:SWITCH": [0], "T:MODE": [0], "T:NOTE": ["calm"], "T:TEXT": ["calm"]}
_INITIAL = {"T:SP": 1.0, "T:SLOW": 1.0}

# What a program in the mode `planned` was approved for.
PLAN = planned([("T:FREE", 1.2), ("T:FREE", 1.4)], live={"T:FREE": 1.0}, tolerance=0.05)

Event = tuple[float, str, Any]

_ON_ITS_WAY = 0.3  # s from the gate to where the IOC counts


def outside(events: list[Event]) -> list[str]:
    """Which of the values that an IOC received break the limits, by a judge of its own."""
    last: dict[str, tuple[float, float]] = {name: (0, value) for name, value in _INITIAL.items()}
    problems = []
    for at, name, value in events:
        entry = LIMITS.get(name)
        if entry is None or entry.get("writable") is False:
            problems.append(f"{name} = {value}")
            continue
        if name in _ALLOWED:
            if value not in _ALLOWED[name]:
                problems.append(f"{name} = {value}")
            continue
        items = value if isinstance(value, list) else [value]
        if not all(
            isinstance(item, int | float) and entry["min_value"] <= item <= entry["max_value"]
            for item in items
        ):
            problems.append(f"{name} = {value}")
        if name in last:
            before, old = last[name]
            if abs(value - old) > entry["max_step"] * (1 + 1e-9):
                problems.append(f"{name} = {value}, a step of {value - old:+g}")
            if at - before < entry["min_interval"] * 0.6:
                problems.append(f"{name} = {value}, {at - before:.3f} s after the one before")
            last[name] = at, value
    return problems


def unplanned(events: list[Event], refused_at: float | None) -> list[str]:
    """Which of the values that an IOC received the plan does not hold, by a judge of its own.

    `refused_at`: when the gate refused one, behind which nothing more may come.
    """
    problems, count = [], 0
    for at, name, value in events:
        count += name == "T:FREE"
        if name != "T:FREE" or count > 2 or not 1.0 - 0.05 <= float(value) <= 1.4 + 0.05:
            problems.append(f"{name} = {value}, which is not planned")
        elif refused_at is not None and at > refused_at + _ON_ITS_WAY:
            problems.append(f"{name} = {value}, {at - refused_at:.1f} s after a refusal")
    return problems
