"""Whose a signal is, by Temporal's own history: the events of a server that authenticates."""

from collections.abc import Sequence

import pytest
from temporalio.api.history.v1 import HistoryEvent

from activities.identity import signal_principal, start_principal
from workflows.steps import SignalReceived

NAME = "approve-7f3a9c"


def signalled(name: str, who: str = "", kind: str = "jwt", sender: str = "") -> HistoryEvent:
    """A signal by the principal `who`; `sender` is what its client says of itself."""
    event = HistoryEvent()
    attributes = event.workflow_execution_signaled_event_attributes
    attributes.signal_name, attributes.identity = name, sender
    return by(event, who, kind)


def started(who: str = "") -> HistoryEvent:
    event = HistoryEvent()
    event.workflow_execution_started_event_attributes.identity = "mk@host"
    return by(event, who, "jwt")


def by(event: HistoryEvent, who: str, kind: str) -> HistoryEvent:
    if who:
        event.principal.name, event.principal.type = who, kind
    return event


def other(who: str) -> HistoryEvent:
    """An event that is no signal, by somebody."""
    event = HistoryEvent()
    event.workflow_execution_update_accepted_event_attributes.protocol_instance_id = "u"
    return by(event, who, "jwt")


@pytest.mark.parametrize(
    ("events", "number", "name"),
    [
        ([], 1, None),
        ([signalled(NAME, "jd")], 1, "jwt:jd"),
        ([signalled(NAME, "jd", kind="")], 1, "jd"),
        # The n-th of this very name, whatever came between.
        ([signalled(NAME, "agent"), signalled(NAME, "jd")], 1, "jwt:agent"),
        ([signalled(NAME, "agent"), signalled(NAME, "jd")], 2, "jwt:jd"),
        ([signalled("approve", "agent"), signalled(NAME, "jd")], 1, "jwt:jd"),
        ([started("agent"), other("agent"), signalled(NAME, "jd")], 1, "jwt:jd"),
        # Nobody is guessed: not from another signal, not from the start, not from a client's word.
        ([signalled(NAME, "jd")], 2, None),
        ([signalled("approve", "jd"), signalled("reject-7f3a9c", "jd")], 1, None),
        ([signalled(NAME), signalled(NAME, "jd")], 1, None),
        ([started("jd"), signalled(NAME)], 1, None),
        ([signalled(NAME, sender="jd@console")], 1, None),
    ],
)
def test_the_principal_of_the_very_signal(
    events: Sequence[HistoryEvent], number: int, name: str | None
) -> None:
    assert signal_principal(events, SignalReceived(name=NAME, number=number)) == name


def test_a_type_alone_names_nobody() -> None:
    event = signalled(NAME)
    event.principal.type = "jwt"
    assert signal_principal([event], SignalReceived(name=NAME, number=1)) is None


@pytest.mark.parametrize(
    ("events", "name"),
    [
        ([started("agent"), signalled(NAME, "jd")], "jwt:agent"),
        ([started(), signalled(NAME, "jd")], None),
        ([], None),
    ],
)
def test_the_principal_of_the_start(events: Sequence[HistoryEvent], name: str | None) -> None:
    assert start_principal(events) == name
