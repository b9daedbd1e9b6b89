"""What a rehearsed channel reads, in every type, against an IOC that really was written to."""

from collections.abc import Iterator
from typing import Any

import pytest

from gate.channel_access.frames import Command, Frame, pack, text_of
from gate.channel_access.values import Dbr, encode
from gate.rehearsal.patching import place
from tests.gate.conftest import gate_for, serving_ioc
from tests.gate.raw_client import RawChannel, RawClient

pytestmark = pytest.mark.parts

TYPES = [*range(35), 37, 38]
FIELDS = ("T:AO.DESC", "T:CALCOUT.A", "T:MBD.B3")
# Channel, type and values of a write.
WRITES: list[tuple[str, Dbr, tuple[Any, ...]]] = [
    ("T:AO", Dbr.DOUBLE, (-12.3456,)),
    ("T:AO", Dbr.DOUBLE, (0.9996,)),
    ("T:AO", Dbr.DOUBLE, (1.5e7,)),
    ("T:AO", Dbr.DOUBLE, (-2.5e17,)),
    ("T:AO2", Dbr.DOUBLE, (2.5,)),
    ("T:NAN", Dbr.DOUBLE, (7.25,)),
    ("T:LO", Dbr.LONG, (-70000,)),
    ("T:I64", Dbr.DOUBLE, (2.0**40,)),
    ("T:BO", Dbr.ENUM, (1,)),
    ("T:BONONE", Dbr.ENUM, (1,)),
    ("T:MB", Dbr.ENUM, (2,)),
    ("T:MBNONE", Dbr.SHORT, (5,)),
    ("T:MBD", Dbr.LONG, (9,)),
    ("T:SO", Dbr.STRING, ("42.5",)),
    ("T:SO", Dbr.STRING, ("Grüße",)),
    ("T:SO.VAL$", Dbr.CHAR, tuple(b"7 characters\0")),
    ("T:LSO", Dbr.STRING, ("a text of some length",)),
    ("T:LSO.VAL$", Dbr.CHAR, tuple(b"a text that is a good deal longer than forty characters\0")),
    ("T:AO.DESC", Dbr.STRING, ("of the record",)),
    ("T:CALCOUT.A", Dbr.DOUBLE, (3.75,)),
    ("T:MBD.B3", Dbr.CHAR, (1,)),
    *((f"T:W:{kind.name}", kind, (1, 2, 3)) for kind in Dbr if kind != Dbr.STRING),
    ("T:W:STRING", Dbr.STRING, ("1", "two")),
    ("T:W:UCHAR", Dbr.CHAR, (200, 1)),
    ("T:W:CHAR", Dbr.CHAR, (200, 1)),
    ("T:W:USHORT", Dbr.LONG, (60000, 1)),
    ("T:W:ULONG", Dbr.DOUBLE, (4e9, 1.0)),
    ("T:W:INT64", Dbr.DOUBLE, (-5e9, 1.0)),
    ("T:W:DOUBLE", Dbr.DOUBLE, (1.5, -2.25, 1e3, 70000.0, 3.0)),
    ("T:A:FLOAT", Dbr.FLOAT, (1.5,)),
    ("T:ONE:DOUBLE", Dbr.DOUBLE, (1.25,)),
    ("T:ONE:SHORT", Dbr.SHORT, (-3,)),
    ("T:BYTES", Dbr.CHAR, tuple(b"text\0")),
]  # fmt: skip


@pytest.fixture(scope="module")
def twin() -> Iterator[Any]:
    """The same machine again, to be written to."""
    with serving_ioc() as ioc:
        yield ioc


@pytest.fixture(scope="module")
def rehearsing(machine: Any) -> Iterator[Any]:
    with gate_for(machine, limits={name: {} for name in FIELDS}) as gate:
        yield gate


async def all_replies(client: RawClient, channel: RawChannel) -> dict[tuple[int, int], Frame]:
    """Replies of each type, with as many elements as there are, with one, and with all of them."""
    asked = [(dtype, count) for dtype in TYPES for count in {0, 1, channel.count}]
    numbers = {client.new_id(): key for key in asked}
    client.send(
        *(pack(Command.READ_NOTIFY, *key, channel.sid, number) for number, key in numbers.items())
    )
    found = {}
    while len(found) < len(asked):
        frame = await client.hear(Command.READ_NOTIFY)
        found[numbers[frame.p2]] = frame
    return found


def shown(frame: Frame, *, text: bool) -> Any:
    """What must be equal: alarm and time are the records' own, and behind a text is anything."""
    placed = place(frame.dtype)
    if frame.p1 != 1 or placed is None:
        return frame.p1
    kind, offset = placed
    values = frame.payload[offset:]
    if kind is Dbr.STRING:
        return [text_of(values[n * 40 :][:40]) for n in range(frame.count)]
    if text and kind is Dbr.CHAR:
        return text_of(values) if frame.count > 1 else None
    return frame.count, values[: len(encode(kind, (0,) * frame.count))]


@pytest.mark.parametrize(("name", "kind", "items"), WRITES, ids=lambda part: str(part)[:20])
async def test_every_type_reads_what_the_ioc_itself_would_tell(
    rehearsing: Any, twin: Any, name: str, kind: Dbr, items: tuple[Any, ...]
) -> None:
    async with rehearsing.session("rehearse") as kernel, twin.direct() as truth:
        client = await kernel.circuit()
        channel, real = await client.open(name), await truth.open(name)
        payload = encode(kind, items)
        assert (await client.put(channel, kind, len(items), payload)).error is None
        assert (await truth.put(real, kind, len(items), payload)).status == 1
        rehearsed, expected = await all_replies(client, channel), await all_replies(truth, real)
    text = name.endswith("$")
    wrong = [
        f"{key}: {shown(rehearsed[key], text=text)}, not {shown(expected[key], text=text)}"
        for key in sorted(expected)
        if shown(rehearsed[key], text=text) != shown(expected[key], text=text)
    ]
    assert not wrong, "\n".join(wrong)
