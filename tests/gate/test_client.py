"""The worker's end of the control socket, against gates that are not what they should be."""

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gate import client as client_module
from gate import client_session
from gate.client import GateClient, Opening, SessionMode
from gate.client_session import line
from gate.control.wire_errors import told
from runpermit.errors import (
    CodeAnalysisError,
    ContainerConfigurationError,
    PlanOutdatedError,
    PythonExecutorException,
    ServiceUnavailableError,
    WorkflowError,
)
from runpermit.limits import LimitsStatus
from runpermit.models import Isolation

OPENING = Opening(
    execution="e", run_id="r", attempt=1, mode=SessionMode.APPLY, isolation=Isolation.FULL
)


@pytest.fixture
def path() -> Path:
    return Path(tempfile.mkdtemp(prefix="gt")) / "s"


@pytest.fixture
async def listener() -> AsyncIterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


class FakeGate:
    """Answers each line with the next of `answers`, and then ends."""

    def __init__(self, path: Path, *answers: bytes) -> None:
        self._path = path
        self._answers = answers

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in self._answers:
            await reader.readline()
            writer.write(answer)
        writer.close()

    async def __aenter__(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self._path)

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await asyncio.sleep(0.02)


async def test_without_a_gate_it_says_how_to_start_it(path: Path, listener: socket.socket) -> None:
    client = GateClient(path)
    with pytest.raises(ServiceUnavailableError, match="Start it: python -m gate"):
        await client.status()
    with pytest.raises(ServiceUnavailableError, match="Start it: python -m gate"):
        async with client.session(OPENING, listener):
            pass


@pytest.mark.parametrize("answer", [b"", b"hello\n", b"[]\n", b"\xff\n", b'{"session"'])
async def test_what_answers_otherwise_is_no_gate(
    path: Path, listener: socket.socket, answer: bytes
) -> None:
    async with FakeGate(path, answer):
        with pytest.raises(ServiceUnavailableError, match="control socket"):
            async with GateClient(path).session(OPENING, listener):
                pass


@pytest.mark.parametrize(
    ("category", "kind"),
    [
        ("configuration", ContainerConfigurationError),
        ("infrastructure", ServiceUnavailableError),
    ],
)
async def test_its_refusal_has_its_category(
    path: Path, listener: socket.socket, category: str, kind: type[Exception]
) -> None:
    async with FakeGate(path, b'{"error": "no", "category": "%s"}\n' % category.encode()):
        with pytest.raises(kind, match="The gate refused: no"):
            async with GateClient(path).session(OPENING, listener):
                pass


async def test_a_gate_that_is_silent_at_closing_counts_as_lost(
    path: Path, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_session, "CLOSE_SECONDS", 0.2)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b'{"session": "s"}\n')
        await reader.read()
        writer.close()

    async with await asyncio.start_unix_server(serve, path):
        async with GateClient(path).session(OPENING, listener) as session:
            with pytest.raises(ServiceUnavailableError, match="session s was open"):
                await session.close()
            assert not session.lost.done()
        await asyncio.sleep(0.02)


async def test_lost_tells_when_the_gate_is_gone(path: Path, listener: socket.socket) -> None:
    async with (
        FakeGate(path, b'{"session": "s"}\n'),
        GateClient(path).session(OPENING, listener) as session,
    ):
        await asyncio.wait_for(asyncio.shield(session.lost), 30)
        assert not session.refused.done()


LIMITS = LimitsStatus(
    enabled=True, path="/limits.json", sha256="abc", channels=1, allow_unlisted=False, error=None
)


@pytest.mark.parametrize(
    ("said", "inhibited", "writes", "error"),
    [
        (b"{}", "unknown", False, "unknown"),
        (
            b'{"inhibit": {"refusal": null}, "limits": %b, "writes": true}'
            % LIMITS.model_dump_json().encode(),
            None,
            True,
            None,
        ),
        (b'{"inhibit": 1, "limits": [], "writes": 1}', "unknown", False, "unknown"),
    ],
)
async def test_what_a_status_does_not_say_counts_as_bad(
    path: Path, said: bytes, inhibited: str | None, *, writes: bool, error: str | None
) -> None:
    async with FakeGate(path, said + b"\n"):
        status = await GateClient(path).status()
    assert (status.inhibited, status.writes, status.limits_error) == (inhibited, writes, error)
    assert status.limits_enabled is writes
    assert (status.limits_sha256 == LIMITS.binds) is writes


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (PlanOutdatedError("it moved", ["A reads 1"]), {"changed": ["A reads 1"]}),
        (WorkflowError("used", "stopped"), {"stage": "stopped"}),
        (ServiceUnavailableError("held", "gate", 3.0), {"service": "gate", "retry_after": 3.0}),
        (ContainerConfigurationError("set it"), {}),
        (CodeAnalysisError("no such channel", ["A"]), {"issues": ["A"]}),
    ],
)
async def test_its_refusals_are_the_very_exceptions(
    path: Path, error: PythonExecutorException, fields: dict[str, Any]
) -> None:
    error.technical_details["verdict"] = "not_opened"
    async with FakeGate(path, line(told(error))):
        with pytest.raises(type(error), match=f"The gate refused: {error.message}") as raised:
            await GateClient(path).verdict("p", "e")
    assert type(raised.value) is type(error)
    assert raised.value.category is error.category
    assert raised.value.technical_details == {"verdict": "not_opened"}
    assert {name: getattr(raised.value, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"error": "no", "category": "workflow"}, WorkflowError),
        ({"error": "no", "kind": "WorkflowError", "fields": {"x": 1}}, ServiceUnavailableError),
        ({"error": "no", "kind": "SystemExit", "fields": {}}, ServiceUnavailableError),
        ({"error": "no", "technical_details": 5}, ServiceUnavailableError),
    ],
)
async def test_a_refusal_of_an_unknown_kind_is_told_by_its_category(
    path: Path, answer: dict[str, Any], kind: type[Exception]
) -> None:
    async with FakeGate(path, line(answer)):
        with pytest.raises(kind):
            await GateClient(path).records("e")


ASKED: list[Callable[[GateClient], Awaitable[object]]] = [
    lambda gate: gate.verdict("p", "e"),
    lambda gate: gate.records("e"),
    lambda gate: gate.describe(["A"]),
    lambda gate: gate.verify("p", "e"),
    lambda gate: gate.restore("e", "jd"),
    lambda gate: gate.stop(None, "jd", ""),
]


@pytest.mark.parametrize("ask", ASKED)
async def test_whatever_is_asked_a_gate_without_answer_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[GateClient], Awaitable[object]]
) -> None:
    monkeypatch.setattr(client_module, "ANSWER_SECONDS", 0.2)
    gate = GateClient(path)
    with pytest.raises(ServiceUnavailableError, match="Start it: python -m gate"):
        await ask(gate)
    wrong = (b"{}\n", b'{"verdict": 1, "journal": 1, "channels": 1, "verified": 1}\n', b"")
    for answer in wrong:
        async with FakeGate(path, answer):
            with pytest.raises(ServiceUnavailableError, match="control socket"):
                await ask(gate)

    async def stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_unix_server(stay_silent, path):
        with pytest.raises(ServiceUnavailableError, match="control socket"):
            await ask(gate)
        await asyncio.sleep(0.02)


async def test_a_gate_that_says_that_it_is_at_work_is_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "ANSWER_SECONDS", 2)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        for _ in range(10):
            await asyncio.sleep(0.25)
            writer.write(b"\n")
        writer.write(line({"restored": {"channels": [], "operator": "jd"}}))
        writer.close()

    async with await asyncio.start_unix_server(serve, path):
        report = await GateClient(path).restore("e", "jd")
    assert (report.channels, report.operator) == ([], "jd")


async def test_who_does_not_renew_by_hand_says_nothing(path: Path, listener: socket.socket) -> None:
    said = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b'{"session": "s", "lease": 1}\n')
        while chunk := await reader.read(100):
            said.extend(chunk)
        writer.close()

    async with await asyncio.start_unix_server(serve, path):
        client = GateClient(path)
        async with client.session(OPENING, listener, self_renewing=False) as session:
            await asyncio.sleep(0.5)
            assert said == b""
            session.renew()
            async with asyncio.timeout(30):
                while not said:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert said == b"\n"
        await asyncio.sleep(0.02)
