"""A dev server, a house with real kernels behind a real gate, and the workflow's messages."""

import asyncio
import json
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment, WorkflowEnvironment

from activities.generators.mock_generator import MockGenerator
from activities.house import House
from activities.inputs import manifest
from demo.stack import ROOT, free_port, toml
from gate.client import GateClient
from kernels.opening import open_kernels
from kernels.pool import KernelPool
from runpermit.config import KernelsSettings, LimitsSettings, Settings, limits_file
from runpermit.gate_control import ask
from runpermit.models import (
    NotebookAttempt,
    NotebookType,
    Permit,
    Plan,
    PythonExecutionRequest,
    Revision,
    RunProgress,
)
from runpermit.models.permit import Yes
from runpermit.payloads import data_converter
from tests.gate.giving_permits import planned
from workflows.steps import ApplyTask, ExecuteTask, Folder, PrepareTask, RehearseTask

STARTED = datetime(2026, 10, 31, 23, 59, 59, tzinfo=UTC)
PACKAGES = "python 3, 2 packages, abc"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def dev_server() -> AsyncIterator[WorkflowEnvironment]:
    program = shutil.which("temporal") or str(Path(__file__).parents[2] / ".venv/bin/temporal")
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=program, data_converter=data_converter
    ) as server:
        yield server


@pytest_asyncio.fixture
async def client(dev_server: WorkflowEnvironment) -> Client:
    """A client of this test's own event loop."""
    config = dev_server.client.service_client.config
    return await Client.connect(config.target_host, data_converter=data_converter)


@dataclass
class Desk:
    """Makes settings, houses and tasks below one folder."""

    root: Path
    gate_socket: Path = Path("/nowhere/gate.sock")
    kernels: KernelPool | None = None
    limits: Path | None = None

    def settings(self, **sections: dict[str, Any]) -> Settings:
        """A worker's settings that allow writes to the demo's machine."""
        base: dict[str, dict[str, Any]] = {
            "executions": {"root": self.root},
            "control_system": {"type": "mock", "writes_enabled": True},
            "approval": {"assurance": "claimed"},
            "worker": {"host": "here"},
            "limits": {"file": self.limits},
        }
        for name, values in sections.items():
            base[name] = base.get(name, {}) | values
        return Settings(**base)

    def house(self, **sections: dict[str, Any]) -> House:
        """What the activities of a worker share."""
        settings = self.settings(**sections)
        return House(
            settings=settings,
            limits=limits_file(settings.limits),
            kernels=self.kernels or cast("KernelPool", None),
            gate=GateClient(self.gate_socket),
            generator=MockGenerator,
            kernel_environment=PACKAGES,
            address="127.0.0.1:7233",
        )

    def request(self, **fields: Any) -> PythonExecutionRequest:
        """A request."""
        known = {
            "user_query": "What?",
            "task_objective": "Tell.",
            "execution_folder_name": "beam",
        }
        return PythonExecutionRequest.model_validate(known | fields)

    def prepare_task(
        self, workflow_id: str = "wf", first_run_id: str = "run", **fields: Any
    ) -> PrepareTask:
        """The first step of an execution."""
        return PrepareTask(
            request=self.request(**fields),
            workflow_id=workflow_id,
            first_run_id=first_run_id,
            started_at=STARTED,
        )

    def folder(self, name: str = "2026-10/beam_1", suffix: str = "", **fields: Any) -> Folder:
        """A prepared folder with its stored request."""
        request = self.request(**fields)
        path = self.root / name
        folder = Folder(path=path, link=path.as_uri(), suffix=suffix, request_sha256=request.sha256)
        folder.attempts.mkdir(parents=True, exist_ok=True)
        folder.work.mkdir(exist_ok=True)
        (path / f"request{suffix}.json").write_text(request.model_dump_json())
        return folder

    def notebook(self, folder: Folder, stage: str = "execution") -> NotebookAttempt:
        """The record of one notebook of the way."""
        path = folder.attempts / f"01_{stage}.ipynb"
        return NotebookAttempt(
            notebook_type=NotebookType.EXECUTION_ATTEMPT,
            attempt_number=1,
            stage=stage,
            notebook_path=path,
            notebook_link=folder.link_to(path),
            created_at="2026-10-31T23:59:59Z",
        )

    def execute_task(self, folder: Folder, code: str, **fields: Any) -> ExecuteTask:
        """A run of `code`."""
        known: dict[str, Any] = {
            "folder": folder,
            "code": code,
            "attempt": 1,
            "timeout": 30.0,
            "notebook": self.notebook(folder),
        }
        return ExecuteTask(**(known | fields))

    def rehearse_task(self, folder: Folder, code: str, **fields: Any) -> RehearseTask:
        """A rehearsal of `code`."""
        known: dict[str, Any] = {
            "folder": folder,
            "code": code,
            "attempt": 1,
            "timeout": 30.0,
            "run_seconds": 600.0,
            "guards": [],
            "notebook": self.notebook(folder, "rehearsal"),
        }
        return RehearseTask(**(known | fields))

    def apply_task(
        self, folder: Folder, code: str, plan: Plan | None = None, **fields: Any
    ) -> ApplyTask:
        """A run of `code`, to whose `plan` somebody said yes just now."""
        known: dict[str, Any] = {
            "folder": folder,
            "attempt": 1,
            "timeout": 30.0,
            "notebook": self.notebook(folder, "apply"),
            "guards": [],
        }
        if "permit" not in fields:
            binds = self.revision(
                code=code, plan=plan or planned([("SR:HCM1:SP", 0.1)]), inputs=manifest(folder.work)
            )
            known["permit"] = self.permit(binds)
        return ApplyTask(**(known | fields))

    def permit(self, revision: Revision, **fields: Any) -> Permit:
        """A yes to `revision`, just now."""
        known: dict[str, Any] = {"decided_at": datetime.now(UTC), "approvals": [Yes(operator="jd")]}
        return Permit(revision=revision, **(known | fields))

    def revision(self, **fields: Any) -> Revision:
        """What an operator approved, like no other: of the limits, those of the gate."""
        limits = LimitsSettings(file=self.gate_socket.parent / "limits.json")
        known: dict[str, Any] = {
            "workflow_id": f"wf-{secrets.token_hex(8)}",
            "first_run_id": "test-run",
            "number": 1,
            "code": "results = {}",
            "plan": planned([("SR:HCM1:SP", 0.1)]),
            "limits_sha256": limits_file(limits).status().binds,
            "inputs": {},
            "kernel_environment": PACKAGES,
        }
        return Revision(**(known | fields))


@dataclass
class GateServer:
    """The gate in a process of its own. `lease` in seconds."""

    folder: Path
    ring_port: int
    process: subprocess.Popen[str] | None = None
    lease: float = 3.0

    @property
    def socket(self) -> Path:
        return self.folder / "gate.sock"

    def start(self) -> None:
        """Start it, or start it again."""
        command = [sys.executable, "-m", "gate", "--config", str(self.folder / "runpermit.toml")]
        with (self.folder / "gate.log").open("a") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n", (self.folder / "gate.log").read_text()

    def kill(self) -> None:
        """End it as a crash would."""
        assert self.process is not None
        with self.process:
            self.process.kill()

    def inhibit(self, *, on: bool) -> None:
        """Turn the switch of the host."""
        ask(self.socket, {"do": "inhibit", "on": on, "operator": "jd", "reason": "maintenance"})

    def stop(self, execution: str, operator: str, reason: str) -> None:
        """Stop an execution, on the gate's host."""
        request = {"do": "stop", "execution": execution, "operator": operator, "reason": reason}
        ask(self.socket, request)

    def get(self, channel: str) -> float:
        """What the ring holds, read past the gate."""
        return float(self._past("print(epics.caget(sys.argv[1], timeout=5))", channel))

    def put(self, channel: str, value: float) -> None:
        """Have the ring hold `value`, past the gate."""
        self._past("epics.caput(sys.argv[1], sys.argv[2], wait=True)", channel, str(value))

    def _past(self, code: str, *arguments: str) -> str:
        environment = {
            "EPICS_CA_NAME_SERVERS": f"127.0.0.1:{self.ring_port}",
            "EPICS_CA_ADDR_LIST": "",
            "EPICS_CA_AUTO_ADDR_LIST": "NO",
        }
        return subprocess.run(
            [sys.executable, "-c", f"import sys, epics\n{code}", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout


@pytest.fixture(scope="session")
def ring_port() -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "demo.ring", "--port", str(port), "--until-eof"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield port
        process.terminate()


@pytest.fixture(scope="session")
def gate(ring_port: int) -> Iterator[GateServer]:
    """The gate before the demo's ring; its limits are for three correctors."""
    with tempfile.TemporaryDirectory(prefix="runpermit-") as name:
        folder = Path(name)
        server = GateServer(folder, ring_port)
        corrector = {"min_value": -1, "max_value": 1, "min_interval": 0}
        limits = {
            "SR:HCM1:SP": corrector | {"max_step": 0.5},
            "SR:HCM2:SP": {"min_value": -50, "max_value": 50},  # the IOC clips at 10
            "SR:HCM3:SP": corrector | {"min_interval": 60},
        }
        (folder / "limits.json").write_text(json.dumps(limits))
        settings = {
            "control_system": {
                "type": "mock",
                "writes_enabled": True,
                "name_servers": [f"127.0.0.1:{ring_port}"],
            },
            "approval": {"assurance": "claimed"},
            "limits": {"file": "limits.json"},
            "gate": {"socket": "gate.sock", "journal": "journal", "lease": server.lease},
        }
        (folder / "runpermit.toml").write_text(toml(settings))
        server.start()
        yield server
        assert server.process is not None
        with server.process:
            server.process.send_signal(signal.SIGTERM)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.delenv("RUNPERMIT_RERUN_WRITES", raising=False)
    root = tmp_path / "executions"
    root.mkdir()
    return Desk(root)


@pytest.fixture
def gated(desk: Desk, gate: GateServer) -> Desk:
    """The desk whose houses reach a gate."""
    desk.gate_socket = gate.socket
    desk.limits = gate.folder / "limits.json"
    return desk


@pytest.fixture
async def running(gated: Desk) -> AsyncIterator[Desk]:
    """The desk whose houses run code, in sandboxes that are started when they are needed."""
    async with open_kernels(KernelsSettings(pool=0, preload=[])) as kernels:
        gated.kernels = kernels
        yield gated


class Temporal:
    """Takes a step's heartbeats as a server does, or answers them with `error`."""

    def __init__(self) -> None:
        self.heartbeats: list[RunProgress] = []
        self.error: Exception | None = None
        self.told = asyncio.Event()

    def get_async_activity_handle(self, *, task_token: bytes) -> "Temporal":
        del task_token
        return self

    async def heartbeat(self, progress: RunProgress) -> None:
        self.heartbeats.append(progress)
        if progress.stdout_tail:
            self.told.set()
        if self.error is not None:
            raise self.error


@pytest.fixture
def temporal() -> Temporal:
    return Temporal()


@pytest.fixture
def in_activity(
    client: Client,
) -> Callable[[Callable[[Any], Awaitable[Any]], Any], Awaitable[Any]]:
    """Runs an activity's function as a worker that is connected to the dev server would."""

    async def run(function: Callable[[Any], Awaitable[Any]], task: Any) -> Any:
        return await ActivityEnvironment(client).run(function, task)

    return run
