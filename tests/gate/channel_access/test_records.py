"""A channel's name taken apart: the record, its field, and whether a text is meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.channel_access.records import ChannelParts, UnknownRecordError, parts


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        ("A", ("A", "VAL", False)),
        ("A.", ("A", "VAL", False)),
        ("A.VAL", ("A", "VAL", False)),
        ("A.$", ("A", "VAL", True)),
        ("A.VAL$", ("A", "VAL", True)),
        ("A.DESC$", ("A", "DESC", True)),
        ("A:B-C.DRVH", ("A:B-C", "DRVH", False)),
    ],
)
def test_record_field_and_text(channel: str, expected: tuple[str, str, bool]) -> None:
    assert parts(channel) == ChannelParts(*expected)


@pytest.mark.parametrize(
    "channel",
    [
        "",
        ".VAL",
        "A.VAL{}",
        'A.{"arr":{"s":1}}',
        "A.[1:2]",
        "A.VAL[0]",
        "A.VAL$$",
        "A.VAL.X",
        "A.V L",
    ],
)
def test_modifiers_and_what_is_no_field_are_refused(channel: str) -> None:
    with pytest.raises(UnknownRecordError, match="modifier"):
        parts(channel)


@given(st.text())
def test_any_name_is_taken_apart_or_refused(channel: str) -> None:
    try:
        found = parts(channel)
    except UnknownRecordError:
        return
    assert channel.startswith(found.record)
    assert found.field.isalnum()
