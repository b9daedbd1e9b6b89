"""A machine of real IOCs, a real gate before it, and clients behind it."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from demo.stack import free_port, toml
from gate.client import GateClient, GateSession, Opening, SessionMode
from gate.journal.reading import records
from runpermit.errors import ContainerConfigurationError
from runpermit.gate_control import GateUnreachableError, ask
from runpermit.limits import LimitsDatabase
from runpermit.models import Isolation, Permit, Plan
from tests.gate.giving_permits import of_its_own, permit
from tests.gate.raw_client import RawClient

ROOT = Path(__file__).parents[2]
STUBS = ROOT / "kernels" / "inside" / "bin"
FREE: dict[str, Any] = {"defaults": {"min_interval": 0}}


_PARTS = {"machine", "gate", "enforcing", "start_ioc", "start_gate"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _PARTS & set(getattr(item, "fixturenames", ())):
            item.add_marker("parts")


@dataclass
class Process:
    process: subprocess.Popen[str]

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def memory(self) -> float:
        """Its resident memory in MiB."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        (line,) = (line for line in text.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))


@contextmanager
def started(log: Path | None, *command: str, **variables: str) -> Iterator[Process]:
    """A child that has said `ready`."""
    with ExitStack() as stack:
        errors = stack.enter_context(log.open("ab")) if log else subprocess.DEVNULL
        process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=os.environ | variables,
            )
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line == "ready\n", log.read_text() if log else line
            yield Process(process)
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


def _state(task: Path) -> str:
    return (task / "stat").read_text().rpartition(")")[2].split()[0]


@dataclass
class Ioc(Process):
    port: int

    def freeze(self) -> None:
        """Stop it, and wait until each of its threads has stopped."""
        self.signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self.pid}/task")
        while any(_state(task) != "T" for task in tasks.iterdir()):
            time.sleep(0.001)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    @asynccontextmanager
    async def direct(self) -> AsyncIterator[RawClient]:
        """A client at the IOC itself."""
        client = await RawClient.connect(self.port)
        try:
            yield client
        finally:
            await client.close()

    async def value(self, name: str) -> Any:
        """What a channel reads, at the IOC itself."""
        async with self.direct() as client:
            return await client.value(await client.open(name))

    async def set(self, name: str, number: float) -> None:
        """Set a channel at the IOC itself, past the gate."""
        async with self.direct() as client:
            # Without a callback: an IOC may crash where a circuit ends right behind its answer.
            answer = await client.put_number(await client.open(name), number, callback=False)
            assert answer.error is None


@contextmanager
def serving_ioc(
    *options: str, port: int | None = None, module: str = "tests.gate.soft_ioc"
) -> Iterator[Ioc]:
    port = port or free_port()
    command = ("-m", module, "--port", str(port), "--until-eof", *options)
    with started(None, *command) as process:
        yield Ioc(process.process, port)


@dataclass
class Kernel:
    """A session's end that a kernel has."""

    port: int
    listener: socket.socket
    session: GateSession
    clients: list[RawClient] = field(default_factory=list)

    async def circuit(self) -> RawClient:
        client = await RawClient.connect(self.port)
        self.clients.append(client)
        return client

    async def epics(self, code: str, within: float = 60) -> Any:
        """Run pyepics code that leaves an `answer` in a process behind the gate; returns it."""
        return await run_epics(self.port, code, within)


_EPICS = """
import json, time
import epics
from epics import PV, caget, caput, ca
ca.DEFAULT_CONNECTION_TIMEOUT = 10
"""


async def run_epics(port: int, code: str, within: float = 60) -> Any:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        f"{_EPICS}{code}\nprint(json.dumps(answer))",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ
        | {
            "EPICS_CA_NAME_SERVERS": f"127.0.0.1:{port}",
            "EPICS_CA_ADDR_LIST": "",
            "EPICS_CA_AUTO_ADDR_LIST": "NO",
            "PATH": f"{STUBS}:{os.environ['PATH']}",
        },
    )
    try:
        out, errors = await asyncio.wait_for(process.communicate(), within)
    except TimeoutError:
        process.kill()
        await process.communicate()
        raise
    assert process.returncode == 0, errors.decode()
    return json.loads(out.decode().splitlines()[-1])


@dataclass
class Gate:
    """A gate's folder with settings and limits, and its process while one runs."""

    folder: Path
    module: str
    process: Process | None = None

    @property
    def control(self) -> Path:
        return self.folder / "gate.sock"

    @property
    def journal_folder(self) -> Path:
        return self.folder / "journal"

    @property
    def client(self) -> GateClient:
        return GateClient(self.control)

    @property
    def running(self) -> Process:
        assert self.process is not None
        return self.process

    def set_limits(self, limits: Mapping[str, Any] | str) -> None:
        text = limits if isinstance(limits, str) else json.dumps({**FREE, **limits})
        new = self.folder / "limits.new"
        new.write_text(text)
        new.replace(self.folder / "limits.json")
        with contextlib.suppress(GateUnreachableError):
            while not self._has(text.encode()):
                time.sleep(0.02)

    def _has(self, content: bytes) -> bool:
        """Whether a gate that runs judges by these limits, or refuses them as broken."""
        found = ask(self.control, {"do": "status"})["limits"]
        try:
            wanted = LimitsDatabase.from_bytes(content, Path("limits.json")).sha256
        except ContainerConfigurationError:
            wanted = None
        return found["sha256"] == wanted and "being read" not in (found["error"] or "")

    def journal(self, event: str | None = None) -> list[dict[str, Any]]:
        found = records(self.journal_folder)
        return [record for record in found if event in {None, record["event"]}]

    async def journalled(self, event: str, **fields: Any) -> dict[str, Any]:
        """The last record of `event` with these fields; it may still be on its way."""
        until = time.monotonic() + 30
        while time.monotonic() < until:
            found = [r for r in self.journal(event) if fields.items() <= r.items()]
            if found:
                return found[-1]
            await asyncio.sleep(0.02)
        raise AssertionError(f"no {event} with {fields} in the journal")

    def log(self) -> str:
        return (self.folder / "gate.log").read_text()

    @contextmanager
    def serving(self) -> Iterator["Gate"]:
        command = ("-m", self.module, "--config", str(self.folder / "runpermit.toml"))
        with started(self.folder / "gate.log", *command) as self.process:
            yield self
        self.process = None

    async def permit(self, plan: Plan, execution: str = "e", **fields: Any) -> Permit:
        """A yes to `plan`, under the limits that are in force now."""
        status = await self.client.status()
        return permit(plan, execution, status.limits_sha256, **fields)

    @asynccontextmanager
    async def session(
        self,
        mode: str = "apply",
        execution: str = "e",
        isolation: Isolation = Isolation.FULL,
        plan: Plan | None = None,
        *,
        self_renewing: bool = True,
        **fields: Any,
    ) -> AsyncIterator[Kernel]:
        if mode == "apply" and "permit" not in fields:
            fields["permit"] = await self.permit(plan or of_its_own(), execution)
        opening = Opening(
            execution=execution,
            run_id="r",
            attempt=1,
            mode=SessionMode(mode),
            isolation=isolation,
            **fields,
        )
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(16)
            port = listener.getsockname()[1]
            opened = self.client.session(opening, listener, self_renewing=self_renewing)
            async with opened as session:
                kernel = Kernel(port, listener, session)
                try:
                    yield kernel
                finally:
                    for client in kernel.clients:
                        await client.close()


@contextmanager
def gate_for(
    *iocs: Ioc,
    limits: Mapping[str, Any] | None = None,
    limits_section: Mapping[str, Any] | None = None,
    serve: bool = True,
    enforced: bool = False,
    **sections: Mapping[str, Any],
) -> Iterator[Gate]:
    """A gate for `iocs`; `sections` go over settings that let everything pass.

    Only where it is `enforced` do plans keep writes within themselves.
    """
    folder = Path(tempfile.mkdtemp(prefix="gt"))
    base: dict[str, dict[str, Any]] = {
        "control_system": {
            "type": "mock",
            "writes_enabled": True,
            "name_servers": [f"127.0.0.1:{ioc.port}" for ioc in iocs],
        },
        "limits": {"file": "limits.json", "allow_unlisted": True, **(limits_section or {})},
        "approval": {"assurance": "claimed"},
        "kernels": {"isolation": "full"},
        "gate": {"socket": "gate.sock", "journal": "journal"},
    }
    for section, values in sections.items():
        base[section] = {**base.get(section, {}), **values}
    try:
        (folder / "runpermit.toml").write_text(toml(base))
        gate = Gate(folder, "gate" if enforced else "tests.gate.lenient_gate")
        gate.set_limits(limits or {})
        if serve:
            with gate.serving():
                yield gate
        else:
            yield gate
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def machine() -> Iterator[Ioc]:
    """An IOC with every record type."""
    with serving_ioc() as ioc:
        yield ioc


@pytest.fixture(scope="module")
def gate(machine: Ioc) -> Iterator[Gate]:
    """A gate for that IOC; a test sets the limits that it needs."""
    with gate_for(machine) as gate:
        yield gate


@pytest.fixture(scope="module")
def enforcing(machine: Ioc) -> Iterator[Gate]:
    """A gate for that IOC that keeps writes within their plans."""
    with gate_for(machine, enforced=True) as gate:
        yield gate


@pytest.fixture
def start_ioc() -> Callable[..., AbstractContextManager[Ioc]]:
    return serving_ioc


@pytest.fixture
def start_gate() -> Callable[..., AbstractContextManager[Gate]]:
    return gate_for
