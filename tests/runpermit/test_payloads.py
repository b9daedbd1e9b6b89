"""Strict JSON goes out; nothing that comes in can jam a workflow task."""

import json
from importlib.metadata import version
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload

from runpermit.errors import UnreadableMessageError
from runpermit.models import Decision, ExecutionMode, Plan, PlannedWrite
from runpermit.payloads import StrictPayloadConverter, Undecodable

CONVERTER = StrictPayloadConverter()


def strictly(payload: Payload) -> Any:
    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is not JSON")

    return json.loads(payload.data, parse_constant=refuse)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), float("-inf"), {"a": [float("nan")]}, [float("inf")]]
)
def test_nan_and_infinity_leave_as_text(value: Any) -> None:
    [payload] = CONVERTER.to_payloads([value])

    assert payload.metadata["encoding"] == b"json/plain"
    assert any(word in str(strictly(payload)) for word in ("NaN", "Infinity"))


def test_a_model_crosses_as_itself() -> None:
    plan = Plan(writes=[PlannedWrite(channel="SR:X", old=1, new=1.5)])
    payloads = CONVERTER.to_payloads([plan, ExecutionMode.READ_ONLY, None, b"bytes"])

    assert CONVERTER.from_payloads(payloads, [Plan, ExecutionMode, type(None), bytes]) == [
        plan, ExecutionMode.READ_ONLY, None, b"bytes",
    ]  # fmt: skip


STRANGE = [
    Payload(metadata={"encoding": b"json/plain"}, data=b"{not json"),
    Payload(metadata={"encoding": b"json/plain"}, data=b""),
    Payload(metadata={"encoding": b"json/plain"}, data=b"[" * 20_000),
    Payload(metadata={"encoding": b"json/plain"}, data=b'"\xff"'),
    Payload(metadata={"encoding": b"json/plain"}, data=b'"\\ud800"'),
    Payload(metadata={"encoding": b"json/protobuf", "messageType": b"no.such"}, data=b"{}"),
    Payload(metadata={"encoding": b"binary/protobuf", "messageType": b"\xff"}, data=b"{}"),
    Payload(metadata={"encoding": b"no/such"}, data=b"\x00"),
    Payload(metadata={"encoding": b"\xff\xfe"}),
    Payload(),
]


@pytest.mark.parametrize("payload", STRANGE, ids=range(len(STRANGE)))
def test_what_can_not_be_read_becomes_undecodable(payload: Payload) -> None:
    good = CONVERTER.to_payloads([1])[0]
    first, second = CONVERTER.from_payloads([payload, good])

    assert isinstance(first, Undecodable)
    assert first.reason
    assert len(first.reason) <= 200
    assert second == 1


@given(st.binary(max_size=40), st.binary(max_size=200))
def test_no_untyped_payload_raises(encoding: bytes, data: bytes) -> None:
    payload = Payload(metadata={"encoding": encoding}, data=data)

    assert len(CONVERTER.from_payloads([payload])) == 1
    plain = Payload(metadata={"encoding": b"json/plain"}, data=data)
    assert len(CONVERTER.from_payloads([plain], [Any])) == 1  # type: ignore[list-item]


def test_there_is_one_value_for_each_payload_whatever_the_hints() -> None:
    payloads = CONVERTER.to_payloads([1, 2, 3])

    assert CONVERTER.from_payloads(payloads, [int]) == [1, 2, 3]
    assert CONVERTER.from_payloads(payloads, [int] * 5) == [1, 2, 3]
    assert CONVERTER.from_payloads([], None) == []


@pytest.mark.parametrize(
    ("said", "hint", "field", "told"),
    [
        ({"approved": True}, Decision, "approved", "older than"),
        ({"decision": "approve", "novel": {"a": 1}}, Decision | None, "novel", "older than"),
        ({"writes": [{"novel": 1}]}, Plan, "writes.0.novel", "older than"),
        ({"decision": "postpone"}, Decision, "decision", "one version"),
        ({"writes": [{"new": 1}]}, Plan, "writes.0.channel", "one version"),
    ],
)
def test_a_typed_payload_of_another_version_is_a_typed_error_that_names_the_field(
    said: Any, hint: Any, field: str, told: str
) -> None:
    payloads = CONVERTER.to_payloads([said])

    with pytest.raises(UnreadableMessageError, match=told) as unreadable:
        CONVERTER.from_payloads(payloads, [hint])
    assert unreadable.value.field == field
    assert field in unreadable.value.message
    assert version("runpermit") in unreadable.value.message
    assert not unreadable.value.should_retry_execution()
