"""What a program hears of a refused put, with libca in the test's hand."""

import ctypes
import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from kernels.inside import refusals
from kernels.inside.refusals import ChannelLimitsViolationError, RefusedPuts


class _Event(ctypes.Structure):
    _fields_ = (("usr", ctypes.py_object),)


@dataclass
class Libca:
    """pyepics' `ca`: no read is ever answered, and errors come when the test says so."""

    sent: list[Any] = field(default_factory=list)
    handler: Any = None
    dbr: Any = field(
        default_factory=lambda: SimpleNamespace(event_handler_args=_Event, ECA_NORMAL=1)
    )

    @property
    def libca(self) -> "Libca":
        return self

    def current_context(self) -> int:
        return 1

    def ca_add_exception_event(self, handler: Any, _: object) -> None:
        self.handler = handler

    def ca_array_get_callback(self, *_: object) -> int:
        return 1

    def field_type(self, _: object) -> int:
        return 6

    def flush_io(self) -> None: ...

    def put(self, _: int, value: Any, **__: Any) -> int:
        self.sent.append(value)
        return 1

    def refuse(self, chid: int, channel: str = "A") -> None:
        refusal = {
            "channel": channel, "value": 9, "violation_type": "MAX_EXCEEDED", "reason": "9 > 1",
            "min_value": None, "max_value": 1, "max_step": None, "current_value": None,
        }  # fmt: skip
        arguments = refusals._ExceptionArguments()
        arguments.chid = chid
        arguments.context = json.dumps({"runpermit": refusal}).encode()
        self.handler(arguments)


@pytest.fixture
def ca(monkeypatch: pytest.MonkeyPatch) -> Libca:
    monkeypatch.setattr(refusals, "BARRIER_SECONDS", 0.01)
    return Libca()


def test_a_refusal_that_comes_late_is_raised_at_the_next_put_on_its_channel(ca: Libca) -> None:
    puts = RefusedPuts(ca)
    assert puts.put(1, 9) == 1
    ca.refuse(1)
    assert puts.put(2, 5) == 1
    with pytest.raises(ChannelLimitsViolationError, match="MAX_EXCEEDED"):
        puts.put(1, 0.5)
    assert puts.put(1, 0.6) == 1
    assert ca.sent == [9, 5, 0.6]


def test_a_refusal_in_time_is_raised_where_it_was_put(ca: Libca) -> None:
    def put(chid: int, value: Any, **_: Any) -> int:
        ca.sent.append(value)
        ca.refuse(chid)
        return 1

    ca.put = put  # type: ignore[method-assign]
    with pytest.raises(ChannelLimitsViolationError):
        RefusedPuts(ca).put(1, 9)
    assert ca.sent == [9]


def test_only_puts_that_were_not_refused_count_as_written(ca: Libca) -> None:
    written: list[int] = []
    puts = RefusedPuts(ca, lambda: written.append(len(ca.sent)))
    puts.put(1, 0.5)
    ca.refuse(1)
    with pytest.raises(ChannelLimitsViolationError):
        puts.put(1, 9)
    puts.put(1, 0.6)
    assert written == [1, 2]
