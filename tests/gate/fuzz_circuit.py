"""A client circuit and its judge, fed with anything, before an IOC that watches what it receives.

`python -m tests.gate.fuzz_circuit -max_total_time=60` runs it under atheris, guided by coverage.
"""

import asyncio
import struct
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

try:
    import atheris
except ImportError:  # no wheel for this Python
    atheris = None

with (
    atheris.instrument_imports(include=["gate"])
    if atheris and __name__ == "__main__"
    else nullcontext()
):
    from gate.channel_access.frames import (
        OWN_IDS,
        PROTOCOL,
        Command,
        Frame,
        FrameReader,
        pack,
        text_of,
    )
    from gate.channel_access.ioc_circuit import IocCircuit
    from gate.messages import SessionMode
    from gate.policy import writing
    from gate.policy.writing import Writer
    from gate.rehearsal.rehearsal import Facilities, Rehearsal
    from gate.sessions import client_channels, client_writes
    from gate.sessions.client_circuit import ClientCircuit
from runpermit.config import GateSettings
from runpermit.limits import LimitsFile

HIGHEST = 10.0
LIMITS = (
    '{"defaults": {"min_interval": 0}, "A": {"max_value": 10}, "M": {}, "W": {"max_value": 10}}'
)
DOUBLE, ENUM, CHAR = 6, 3, 4
# Native type, elements and text of what the IOC has.
CHANNELS = {"A": (DOUBLE, 1), "M": (ENUM, 1), "W": (DOUBLE, 3)}
FORMATS = {DOUBLE: "d", ENUM: "H"}
FACTS = {"NAME$": None, "RTYP": {"A": "ao", "M": "mbbo", "W": "waveform"}, "FTVL": {"W": "DOUBLE"}}


class Transport:
    """What asyncio would give a protocol; `take` gets what is written."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self.closing = False

    def write(self, data: bytes) -> None:
        if not self.closing:
            self._take(bytes(data))

    def abort(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def is_reading(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class WatchingIoc(IocCircuit):
    """The gate's end of a circuit, and the IOC behind it, which asserts what it may receive."""

    writes = 0
    rehearsed = 0
    may_write = True

    async def _connect(self) -> None:
        self._frames = FrameReader(2**20)
        self._open: dict[int, str] = {}
        self._values: dict[str, tuple[float, ...]] = {"A": (0.0,), "M": (0,), "W": (0.0,)}
        self.connection_made(Transport(self._receive))  # type: ignore[arg-type]

    def _receive(self, data: bytes) -> None:
        assert len(data) % 8 == 0
        self._frames.feed(data)
        for frame in self._frames.frames(10_000):
            self._handle(frame)
        assert self._frames.waiting == 0

    def _say(self, data: bytes) -> None:
        asyncio.get_running_loop().call_soon(self.data_received, data)

    def _handle(self, frame: Frame) -> None:
        match frame.command:
            case Command.CREATE_CHAN:
                self._create(frame.p1, text_of(frame.payload).decode())
            case Command.READ_NOTIFY:
                self._read(frame)
            case Command.WRITE | Command.WRITE_NOTIFY:
                self._write(frame)
            case Command.EVENT_ADD | Command.EVENT_CANCEL:
                assert frame.p1 in self._open
                assert frame.p2 < OWN_IDS
                if frame.command == Command.EVENT_CANCEL:
                    self._say(pack(Command.EVENT_ADD, frame.dtype, 0, frame.p1, frame.p2))
            case Command.CLEAR_CHANNEL:
                del self._open[frame.p1]  # a known one, and once only
                self._say(pack(Command.CLEAR_CHANNEL, p1=frame.p1, p2=frame.p2))
            case other:
                assert other in {
                    Command.VERSION, Command.HOST_NAME, Command.CLIENT_NAME, Command.EVENTS_OFF,
                    Command.EVENTS_ON, Command.READ_SYNC, Command.ECHO,
                }  # fmt: skip

    def _create(self, cid: int, name: str) -> None:
        record, _, field = name.partition(".")
        if name in CHANNELS:
            dtype, count = CHANNELS[name]
        elif record in CHANNELS and field in FACTS:
            dtype, count = (CHAR, 61) if field.endswith("$") else (0, 1)
        else:
            self._say(pack(Command.CREATE_CH_FAIL, p1=cid))
            return
        sid = 500 + len(self._open) + 1000 * len(self._values) + cid % 7 * 100_000
        while sid in self._open:
            sid += 1
        self._open[sid] = name
        self._say(
            pack(Command.ACCESS_RIGHTS, p1=cid, p2=3)
            + pack(Command.CREATE_CHAN, dtype, count, cid, sid)
        )

    def _read(self, frame: Frame) -> None:
        assert frame.p1 in self._open
        name = self._open[frame.p1]
        record, _, field = name.partition(".")
        if field:
            facts = FACTS[field]
            payload = (facts[record] if facts else record).encode() + b"\0"
            self._say(pack(Command.READ_NOTIFY, frame.dtype, len(payload), 1, frame.p2, payload))
            return
        values = self._values[name]
        dtype = CHANNELS[name][0]
        payload = struct.pack(f">{len(values)}{FORMATS[dtype]}", *values)
        if frame.dtype == 24:
            states = b"".join(state.ljust(26, b"\0") for state in (b"10", b"1")).ljust(416, b"\0")
            payload = struct.pack(">hhH", 0, 0, 2) + states + payload
        elif frame.dtype == dtype + 7:
            payload = struct.pack(">hh", 0, 0) + bytes(4 if dtype == DOUBLE else 0) + payload
        elif frame.dtype != dtype:
            self._say(pack(Command.READ_NOTIFY, frame.dtype, 0, 114, frame.p2))
            return
        self._say(pack(Command.READ_NOTIFY, frame.dtype, len(values), 1, frame.p2, payload))

    def _write(self, frame: Frame) -> None:
        assert WatchingIoc.may_write, "a write in a session that may not write"
        name = self._open[frame.p1]
        dtype, most = CHANNELS[name]
        assert frame.dtype == dtype
        assert 1 <= frame.count <= most
        values = struct.unpack_from(f">{frame.count}{FORMATS[dtype]}", frame.payload)
        if dtype == DOUBLE:
            assert all(-1.8e308 < value <= HIGHEST for value in values), values
        else:
            assert values[0] < 2
        WatchingIoc.writes += 1
        self._values[name] = values
        if frame.command == Command.WRITE_NOTIFY:
            self._say(pack(Command.WRITE_NOTIFY, frame.dtype, frame.count, 1, frame.p2))


class _Journal:
    def __init__(self) -> None:
        self.intended = 0

    async def write(self, event: str, **_: Any) -> int:
        self.intended += event == "write"
        return self.intended

    def note(self, event: str, **_: Any) -> int:
        self.intended -= event == "not_forwarded"
        return 0


class _Session:
    def __init__(self, shared: Any, mode: SessionMode) -> None:
        self.shared = shared
        self.name = "s"
        self.opening = SimpleNamespace(mode=mode, guards=[])
        self.identity: dict[str, object] = {}
        self.enforcement = None
        self.circuits: set[ClientCircuit] = set()
        self.channels = 0
        self.port = 5064
        self.rehearsal: Rehearsal | None = None
        self.is_open = True
        self.may_write = mode is SessionMode.APPLY
        self.tasks: set[asyncio.Task[Any]] = set()

    async def find(self, name: str) -> tuple[str, int] | None:
        return None if name.startswith("x") else ("127.0.0.1", 1)

    def judging(self, task: asyncio.Task[Any]) -> None:
        self.tasks.add(task)

    def forwarded(self, task: asyncio.Task[Any], _: asyncio.Future[bool] | None) -> None:
        self.tasks.add(task)

    def refused(self, _: object) -> None: ...

    def has_room_for(self, _: object) -> bool:
        return True

    async def slow_down(self) -> None: ...

    def take_circuit(self, address: tuple[str, int]) -> bool:
        taken = self.shared.circuits
        taken[address] = taken.get(address, 0) + 1
        return True

    def lost_circuit(self, address: tuple[str, int]) -> None:
        self.shared.circuits[address] -= 1

    def note(self, _: str) -> None: ...


MODES = {0: SessionMode.READ_ONLY, 1: SessionMode.REHEARSE}
COMMANDS = [0, 1, 2, 4, 4, 6, 8, 9, 10, 12, 15, 18, 19, 19, 19, 20, 21, 23, 3, 27]
IDS = [1, 2, 3, 4, 5, 0, 7, OWN_IDS, 2**32 - 1]
NAMES = [b"A\0", b"M\0", b"W\0", b"xyz\0", b"A.NAME$\0", b"\0", b"A b\0", b"A" * 300]
NUMBERS = [struct.pack(">d", number) for number in (0, 1, 9.5, 10, 10.5, -1e308, float("nan"))]
MASK = b"\0" * 12 + b"\0\5\0\0"


def messages(data: bytes) -> list[bytes]:
    """What a client may say, chosen by `data`; some of it is `data` itself."""
    found = []
    position = 0
    while position + 6 <= len(data):
        kind, dtype, count, p1, p2, size = data[position : position + 6]
        position += 6
        rest = data[position : position + size % 48]
        if kind > 240:
            found.append(rest)
        else:
            command = COMMANDS[kind % len(COMMANDS)]
            payload = rest
            if command in {6, 18}:
                payload = NAMES[size % len(NAMES)]
            elif command == 1:
                payload = MASK
            elif size >= 128:
                payload = NUMBERS[size % len(NUMBERS)] * (1 + count % 4)
                rest = b""
            found.append(
                pack(command, dtype % 9 if dtype < 240 else dtype, count % 6,
                     IDS[p1 % len(IDS)], IDS[p2 % len(IDS)], payload)
            )  # fmt: skip
        position += len(rest)
    return found


async def circuit_with(data: bytes, limits: LimitsFile) -> None:
    """Feed one circuit; asserts at the IOC, and that nothing is left over."""
    loop = asyncio.get_running_loop()
    faults: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: faults.append(context))
    journal = _Journal()
    inhibit = SimpleNamespace(refusal=lambda: None)
    writer = Writer(limits=limits, journal=journal, inhibit=inhibit, conditions=None)  # type: ignore[arg-type]
    quotas = GateSettings(channels_per_session=4, array_bytes=2048)
    directory = SimpleNamespace(forget=lambda _: None)
    shared = SimpleNamespace(directory=directory, writer=writer, quotas=quotas, circuits={})
    mode = MODES.get(data[0] % 8, SessionMode.APPLY) if data else SessionMode.APPLY
    WatchingIoc.may_write = mode is SessionMode.APPLY
    WatchingIoc.writes = WatchingIoc.rehearsed = 0
    session = _Session(shared, mode)
    if mode is SessionMode.REHEARSE:
        facilities = Facilities(directory, limits, None, journal, quotas)  # type: ignore[arg-type]
        session.rehearsal = Rehearsal(session, facilities, None)  # type: ignore[arg-type]
    heard = FrameReader(2**20)
    circuit = ClientCircuit(session)  # type: ignore[arg-type]
    transport = Transport(heard.feed)
    circuit.connection_made(transport)  # type: ignore[arg-type]
    for cid, name in enumerate((b"A\0", b"M\0", b"W\0"), 1):
        circuit.data_received(pack(Command.CREATE_CHAN, p1=cid, p2=PROTOCOL, payload=name))
    await settled(session)
    for turn, message in enumerate(messages(data)):
        if transport.closing:
            break
        circuit.data_received(message)
        if turn % 3 == 0:
            await settled(session)
    await settled(session)
    for frame in heard.frames(10_000):
        assert frame.p1 < OWN_IDS or frame.command == Command.SEARCH
    assert heard.waiting == 0
    assert session.channels == len(circuit.channels._channels) + len(circuit.channels._opening)
    assert 0 <= session.channels <= 4
    assert WatchingIoc.writes == journal.intended, "forwarded without a record"
    if session.rehearsal is not None:
        rehearsed = session.rehearsal.recorder.rehearsed("")
        assert all(write.new <= HIGHEST for write in rehearsed.writes if write.channel == "A")
        WatchingIoc.rehearsed = len(rehearsed.writes)
    circuit.connection_lost(None)
    await settled(session)
    assert (session.channels, session.circuits, shared.circuits) in (
        (0, set(), {}),
        (0, set(), {("127.0.0.1", 1): 0}),
    )
    assert not faults, faults


async def settled(session: _Session) -> None:
    for _ in range(200):
        await asyncio.sleep(0)
        if all(task.done() for task in session.tasks):
            break
    for _ in range(30):  # a rehearsing circuit asks what stands behind each channel
        await asyncio.sleep(0)
    for task in session.tasks:
        assert task.done(), task
        task.result()
    session.tasks.clear()


class Fuzzer:
    """Runs inputs one after another, in one event loop."""

    def __init__(self, folder: Path) -> None:
        (folder / "limits.json").write_text(LIMITS)
        self._limits = LimitsFile(folder / "limits.json")

    def __call__(self, data: bytes) -> None:
        with (
            mock.patch.object(client_channels, "IocCircuit", WatchingIoc),
            mock.patch.object(client_writes.log, "exception", _fail),
            mock.patch.object(writing, "now", return_value=""),
        ):
            asyncio.run(circuit_with(data, self._limits))


def _fail(*told: object, **more: object) -> None:
    raise AssertionError(told, more) from sys.exc_info()[1]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        atheris.Setup(sys.argv, Fuzzer(Path(folder)))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
