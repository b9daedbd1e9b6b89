"""What the gate judged is what the record holds afterwards, over random writes to all records.

Each write goes through the gate by raw frames, as put and as put callback; the record is read at
the IOC before and after, in its own type. Either the write was refused and the record is what it
was, or it holds exactly what the gate's journal says that it would.
"""

import asyncio
import math
import random
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runpermit.serialization import strict_json_loads
from tests.gate.raw_client import RawChannel, RawClient
from tests.gate.soft_ioc import ELEMENTS

RECORDS = [
    "AO", "AO:ALIAS", "AO:ALIAS.VAL", "AO.", "CLAMP", "LOOP", "DISP", "NOWRITE", "NAN", "ALARM",
    "AI", "LO", "LOCLAMP", "LI", "I64", "I64IN", "BO", "BONONE", "BOONE", "BI", "MB", "MBNONE",
    "MBFEW", "MBVAL", "MBI", "MBD", "MBID", "SO", "SI", "LSO", "LSO.$", "LSO.VAL$", "LSOSHORT",
    "LSOSHORT.$", "LSI", "LSI.VAL$", "AAI", "CALC", "DFAN", "FAN", "PERM", "SEL", "SEQ",
    "COMPRESS", "HISTO", "EVENT", "STATE", "BYTES",
    *(f"{kind}:{element}" for kind in ("W", "A", "ONE") for element in ELEMENTS),
]  # fmt: skip
FIELDS = [
    "F.DRVH", "F.PREC", "F.DESC", "F.DESC$", "F.EGU", "F.EGU$", "F.SCAN", "F.ROFF", "F.TPRO",
    "F.PHAS", "F.ADEL", "F.PINI", "F.DISA", "F.TSE", "F.OMOD", "F.OIF", "F.HHSV", "F.UDF", "F.LCNT",
    "F.EVNT", "F.EVNT$", "F.ESLO", "F.RVAL", "F.OROC", "F.LINR", "F.NAME", "F.STAT", "F.AMSG",
    "F.UTAG", "F.PACT", "F.DTYP", "F.OUT", "F.OUT$", "F.FLNK",
    "CALC.A", "CALC.INPB", "CALC.CALC", "CALC.CALC$", "CALC.PREC",
    "CALCOUT.A", "CALCOUT.DLYA", "CALCOUT.OOPT", "CALCOUT.OCAL",
    "BO.ZNAM", "BOONE.ONAM", "BO.RVAL", "BO.MASK", "BI.RVAL", "BI.ZSV",
    "MBVAL.ZRVL", "MBVAL.NOBT", "MBVAL.MASK", "MBVAL.SHFT", "MBVAL.RVAL", "MBVAL.THST", "MBI.ONVL",
    "MBD.B0", "MBD.B1F", "MBD.RVAL", "MBD.MASK", "MBD.SHFT", "MBID.B3", "MBID.RVAL",
    "I64.HIHI", "I64.HYST", "I64.DRVH", "LO.DRVH", "LI.HIHI", "LO.OUT",
    "SEL.SELN", "SEL.A", "SEQ.SELN", "SEQ.DO1", "FAN.SELN", "DFAN.SELN", "PERM.WFLG",
    "ASUB.A", "ASUB.B", "ASUB.C", "ASUB.D", "ASUB.PREC", "COMPRESS.N", "HISTO.SGNL", "HISTO.ULIM",
    "SO.OMSL", "SO.IVOV", "LSO.IVOV", "DISP.DISP", "STATE.DESC",
]  # fmt: skip
PYTHON_RECORDS = [
    "AO", "CLAMP", "REFUSED", "AI", "LO", "I64", "BO", "MB", "SO", "LSO", "ACTION",
    *(f"W:{name}" for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32",
                               "float64")),
    "AO.PREC", "AO.DESC", "LO.HIHI", "MB.ZRST",
]  # fmt: skip
# Where the record holds something else than was sent, on its own account.
CLAMPED = {"T:CLAMP", "T:LOCLAMP", "P:CLAMP"}  # by DRVL and DRVH
CALCULATED = {
    "T:LOOP", "T:CALC", "T:SEL", "T:SEL.SELN", "T:COMPRESS", "T:HISTO", "T:BO.RVAL", "T:BO.MASK",
    "T:MBVAL.RVAL", "T:MBD.B0", "T:MBD.B1F", "T:MBID.B3", "T:F.UDF", "T:F.RVAL", "T:P.ACTION",
    "T:ASUB.PREC", "T:CALC.A", "T:MBID.RVAL", "T:BI.RVAL",
}  # fmt: skip
REFUSED_BY_THE_IOC = {
    "T:DISP", "P:AI",  # puts are disabled
    "T:NOWRITE",  # access security
    "P:REFUSED",  # its program
    "T:F.SCAN",  # no device support for I/O Intr
    *(f"T:F.{field}" for field in ("NAME", "STAT", "AMSG", "UTAG", "PACT", "LCNT", "OMOD", "OIF",
                                   "DTYP")),
    *(f"T:{field}" for field in ("MBVAL.NOBT", "MBVAL.MASK", "MBD.RVAL", "MBD.MASK",
                                 "CALCOUT.DLYA")),
}  # fmt: skip
# "T:AO" becomes "T:AO NPP NMS".
LINKS = {"T:F.OUT", "T:F.OUT$", "T:F.FLNK", "T:LO.OUT", "T:CALC.INPB"}
OWN_WILL = CLAMPED | CALCULATED | REFUSED_BY_THE_IOC | LINKS
NUMBERS = [
    0, 1, 2, 3, 5, 7, -1, 9.5, 10, 10.5, 100, 127, 128, 255, 256, -128, -129, 32767, 32768, -32768,
    40000, 65535, 65536, 70000, 2**31 - 1, 2**31, -(2**31), 3e9, 2**32 - 1, 2**32, 2**53, 2**53 + 2,
    2**63, 2**64, -(2**63), 1.9, 0.1, 1e-300, 1e39, 1e300, math.nan, math.inf, -math.inf, -0.0,
]  # fmt: skip
TEXTS = [
    b"", b"0", b"1", b"2", b"10", b"-1", b"1.0", b"1.9", b"1e3", b"0x10", b"nan", b"inf", b" 5",
    b"5 ", b"1_0", b"On", b"Off", b"a", b"b", b"x", b"y", b"no", b"yes", b"out", b"3000000000",
    b"99999999999999999999", b"9007199254740993", b"300", b"\xc2\xb5m", b"\xff", b"q" * 15,
    b"q" * 16, b"q" * 19, b"q" * 20, b"q" * 25, b"q" * 26, b"q" * 39, b"q" * 40, b"A+B", b"A+",
    b"T:AO", b"T:AO.VAL CP MS", b".1 second", b"Passive", b"I/O Intr", b"YES", b"MAJOR",
]  # fmt: skip
FORMATS = {1: "h", 2: "f", 3: "H", 4: "B", 5: "i", 6: "d"}


@dataclass(frozen=True)
class Write:
    dtype: int
    count: int
    payload: bytes
    callback: bool


def random_write(random_: random.Random, length: int, *, text: bool) -> Write:
    dtype = random_.choice([*range(7)] * 8 + [7, 35, 36, 38, random_.randrange(2**16)])
    if text:
        dtype = random_.choice([0, 4, 4, dtype])
    count = random_.choice([1, 1, 1, 1, random_.randint(1, length), length, length + 1, 0])
    if text and dtype == 4:
        payload = random_.choice(TEXTS) * random_.choice([1, 1, 2, 5])
        count = len(payload) or 1
    elif dtype == 0:
        payload = b"".join(random_.choice(TEXTS)[:40].ljust(40, b"\0") for _ in range(count))
    elif dtype in FORMATS and random_.random() < 0.8:
        payload = b"".join(_packed(FORMATS[dtype], random_) for _ in range(count))
    else:
        payload = random_.randbytes(random_.randrange(60))
    if random_.random() < 0.05:
        payload = payload[: random_.randrange(len(payload) + 1)]
    return Write(dtype, count, payload, random_.random() < 0.5)


def _packed(kind: str, random_: random.Random) -> bytes:
    number = random_.choice(NUMBERS)
    try:
        return struct.pack(f">{kind}", number if kind in "fd" else int(number))
    except (struct.error, OverflowError, ValueError):
        return random_.randbytes(struct.calcsize(kind))


async def held(client: RawClient, channel: RawChannel, name: str) -> Any:
    """What the record holds, read at the IOC without the gate's code."""
    frame = await client.read(channel)
    if frame.p1 != 1:
        return f"status {frame.p1}"
    if name.endswith("$"):
        return frame.payload[: frame.count].partition(b"\0")[0].decode(errors="replace")
    if channel.dtype == 0:
        items = [
            frame.payload[n * 40 : n * 40 + 40].partition(b"\0")[0].decode(errors="replace")
            for n in range(frame.count)
        ]
    else:
        kind = FORMATS[channel.dtype]
        if name.endswith((":CHAR", ":int8", "BYTES", "P:LSO")):
            kind = "b"
        items = list(struct.unpack_from(f">{frame.count}{kind}", frame.payload))
    return items[0] if channel.count == 1 and items else items


class Tail:
    """Follows the gate's journal as it grows."""

    def __init__(self, folder: Path) -> None:
        (file,) = folder.glob("*.jsonl")
        self._file = file.open("rb")
        self._rest = b""
        self.records: dict[int, dict[str, Any]] = {}
        self.last_write = 0
        self.read()

    def read(self) -> None:
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        for line in lines:
            record = strict_json_loads(line)
            if record["event"] == "write":
                self.last_write = record["seq"]
                self.records[record["seq"]] = record
            elif record["event"] == "confirmed":
                self.records[record["of"]] |= {
                    "outcome": record["outcome"], "read_back": record["read_back"],
                }  # fmt: skip

    async def outcome_of(self, number: int) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while "outcome" not in self.records[number]:
                await asyncio.sleep(0.001)
                self.read()
        return self.records[number]

    def close(self) -> None:
        self._file.close()


@dataclass
class Bench:
    """A machine's channels, open through the gate and at the IOC."""

    direct: RawClient
    gated: RawClient
    tail: Tail
    channels: dict[str, tuple[RawChannel, RawChannel]]


@asynccontextmanager
async def bench(gate: Any, ioc: Any, names: list[str]) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        kernel = await stack.enter_async_context(gate.session())
        direct = await stack.enter_async_context(ioc.direct())
        gated = await kernel.circuit()
        channels = {name: (await direct.open(name), await gated.open(name)) for name in names}
        tail = Tail(gate.journal_folder)
        stack.callback(tail.close)
        yield Bench(direct, gated, tail, channels)


async def check(one: Bench, name: str, random_: random.Random) -> str:
    """One random write to `name`; returns what became of it."""
    at_ioc, at_gate = one.channels[name]
    write = random_write(random_, min(at_gate.count, 8), text=name.endswith("$"))
    before, last = await held(one.direct, at_ioc, name), one.tail.last_write
    heard = await one.gated.put(
        at_gate, write.dtype, write.count, write.payload, callback=write.callback, within=8
    )
    after = await held(one.direct, at_ioc, name)
    one.tail.read()
    story = f"{name}: {write}\nbefore {before!r}, after {after!r}, heard {heard}"
    if heard.refusal is not None:
        assert one.tail.last_write == last, f"refused and journalled as a write\n{story}"
        assert repr(after) == repr(before) or name == "T:LOOP", f"refused and changed\n{story}"
        assert heard.status in ({160} if write.callback else {None}), story
        assert not heard.refusal["reason"].startswith("the gate could not judge"), story
        return heard.refusal["violation_type"]
    assert one.tail.last_write > last, f"neither refused nor journalled\n{story}"
    record = await one.tail.outcome_of(one.tail.last_write)
    new = record["new"]
    story += f"\njournal {record}"
    if after == new:
        if name != "T:LOOP":
            assert record["outcome"] in {"confirmed", "alarm"}, story
        return "held"
    assert name in OWN_WILL, f"the record holds something else\n{story}"
    if name != "T:LOOP":
        assert record["outcome"] == "differs", story
        assert after == record["read_back"], story
    return "differs"


def entry(name: str) -> str:
    """The limits database's name for it."""
    return name.replace(":ALIAS", "").removesuffix("$").removesuffix(".").removesuffix(".VAL")


def names_of(prefix: str, names: list[str]) -> list[str]:
    return [prefix + name for name in names]


async def run(gate: Any, ioc: Any, names: list[str], seed: int, number: int) -> dict[str, int]:
    random_ = random.Random(seed)  # noqa: S311  (repeatable)
    gate.set_limits({entry(name): {} for name in names})
    found: dict[str, int] = {}
    for start in range(0, number, 1000):  # more refusals of one session would be slowed
        async with bench(gate, ioc, names) as one:
            for turn in range(start, min(start + 1000, number)):
                name = names[turn % len(names)] if turn < 2 * len(names) else random_.choice(names)
                kind = await check(one, name, random_)
                found[kind] = found.get(kind, 0) + 1
    return found


@pytest.mark.slow
async def test_records_hold_what_was_judged(gate: Any, machine: Any) -> None:
    found = await run(gate, machine, names_of("T:", RECORDS), 1, 1500)
    assert found["held"] > 300
    assert found["INVALID_VALUE"] > 300


@pytest.mark.slow
async def test_fields_hold_what_was_judged(gate: Any, machine: Any) -> None:
    found = await run(gate, machine, names_of("T:", FIELDS), 2, 1500)
    assert found["held"] > 200


@pytest.mark.slow
async def test_the_records_of_softioc_hold_what_was_judged(
    start_ioc: Callable[..., Any], start_gate: Callable[..., Any]
) -> None:
    with start_ioc(module="tests.gate.python_ioc") as ioc, start_gate(ioc) as gate:
        found = await run(gate, ioc, names_of("P:", PYTHON_RECORDS), 3, 500)
    assert found["held"] > 100


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 110))
async def test_ten_thousand_more_writes(
    seed: int, start_ioc: Callable[..., Any], start_gate: Callable[..., Any]
) -> None:
    with start_ioc() as ioc, start_gate(ioc) as gate:
        await run(gate, ioc, names_of("T:", RECORDS), seed, 6000)
        await run(gate, ioc, names_of("T:", FIELDS), seed, 3000)
    with start_ioc(module="tests.gate.python_ioc") as ioc, start_gate(ioc) as gate:
        await run(gate, ioc, names_of("P:", PYTHON_RECORDS), seed, 1000)
