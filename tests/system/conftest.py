"""One stack for the whole session; what must differ gets a namespace and a worker of its own."""

import asyncio
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest
import pytest_asyncio
from google.protobuf.message import Message
from playwright.async_api import Browser, Page
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle

from demo.model_server import ModelServer
from demo.stack import (
    ROOT,
    Gate,
    Stack,
    demo_settings,
    running_gate,
    running_stack,
    running_worker,
    toml,
)
from runpermit.errors import PythonExecutorException
from runpermit.failures import unwrap
from runpermit.models import (
    PendingApproval,
    PythonExecutionState,
    PythonServiceResult,
    Stage,
)
from runpermit.payloads import data_converter
from tests.system.browser import CHROMIUM, new_page, running_browser
from tests.system.machine import Machine, to_its_start

CANARY = "sk-canary-5e1f0c7a9d"  # the model key of every worker; it must turn up nowhere

# None waits: those that a test sees run programs, and a dozen workers fill no memory with theirs.
KERNELS = {"kernels": {"pool": 0, "preload": []}}

READ_CURRENT = 'results = {"current": float(read_channel("SR:BEAM:CURRENT"))}'


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.system)
            if isinstance(item, pytest.Function) and asyncio.iscoroutinefunction(item.function):
                item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@dataclass
class Eventually:
    """Waits until a condition holds."""

    async def __call__(
        self, what: Callable[[], Any], *, within: float = 30.0, every: float = 0.1
    ) -> Any:
        """The first true answer of `what`, which may be a coroutine function."""
        deadline = time.monotonic() + within
        while True:
            answer = what()
            if isinstance(answer, Awaitable):
                answer = await answer
            if answer:
                return answer
            assert time.monotonic() < deadline, f"not within {within} s; at last: {answer!r}"
            await asyncio.sleep(every)


@dataclass
class House:
    """One namespace of the Temporal server, and how its tests speak to it."""

    name: str
    stack: Stack
    client: Client
    worker_pid: int = 0
    started: int = field(default=0, init=False)
    seen: set[int] = field(default_factory=set, init=False)

    async def start(
        self,
        code: str | None = None,
        *,
        id: str = "",  # noqa: A002  (Temporal's word)
        **fields: Any,
    ) -> WorkflowHandle:
        """Start an execution: given code, or none and then the recorded model's."""
        request = {
            "user_query": "a system test",
            "task_objective": "see how it works",
            "execution_folder_name": "system_test",
            **({"approved_code": code} if code is not None else {}),
            **fields,
        }
        return await self.start_raw([request], id=id)

    async def start_raw(self, inputs: list[Any], *, id: str = "") -> WorkflowHandle:  # noqa: A002  (Temporal's word)
        """Start the workflow with any inputs at all."""
        self.started += 1
        return await self.client.start_workflow(
            "PythonExecution",
            args=inputs,
            id=id or f"{self.name}-{self.started}",
            task_queue="runpermit",
        )

    async def result(self, handle: WorkflowHandle) -> PythonServiceResult:
        """The result, or the exception that a caller gets."""
        typed = self.client.get_workflow_handle(handle.id, result_type=PythonServiceResult)
        try:
            return await typed.result()
        except WorkflowFailureError as failure:
            raise unwrap(failure) from failure

    async def failure(self, handle: WorkflowHandle) -> PythonExecutorException:
        """The exception with which it ends."""
        with pytest.raises(PythonExecutorException) as raised:
            await self.result(handle)
        return raised.value

    async def run(self, code: str | None = None, **fields: Any) -> PythonServiceResult:
        """Start and wait."""
        return await self.result(await self.start(code, **fields))

    async def run_to_failure(self, code: str | None = None, **fields: Any) -> Any:
        """Start and wait for the exception."""
        return await self.failure(await self.start(code, **fields))

    async def state(self, handle: WorkflowHandle) -> PythonExecutionState:
        """What the query `state` answers."""
        state: PythonExecutionState = await handle.query("state", result_type=PythonExecutionState)
        return state

    async def reach(
        self, handle: WorkflowHandle, stage: Stage, within: float = 30.0
    ) -> PythonExecutionState:
        """Wait until it is at `stage`; another end than that fails at once."""
        deadline = time.monotonic() + within
        while True:
            state = await self.state(handle)
            if state.current_stage is stage:
                return state
            assert not state.current_stage.is_final, f"{state.current_stage} {state.failure_reason}"
            assert time.monotonic() < deadline, f"still {state.current_stage}"
            await asyncio.sleep(0.1)

    async def question(self, handle: WorkflowHandle) -> PendingApproval:
        """Wait until something waits for approval."""
        state = await self.reach(handle, Stage.AWAITING_APPROVAL)
        assert state.approval_interrupt_data is not None
        return state.approval_interrupt_data

    async def histories(self) -> dict[str, Any]:
        """The whole history of every execution of this namespace, by workflow id."""
        found = {}
        async for listed in self.client.list_workflows():
            handle = self.client.get_workflow_handle(listed.id, run_id=listed.run_id)
            events = [event async for event in handle.fetch_history_events()]
            found[listed.id] = events
        return found

    def kernels(self) -> list[int]:
        """The processes of this house's worker that run programs, also where it is gone."""
        self.seen.update(pid for pid in _descendants(self.worker_pid) if _is_kernel(pid))
        return [pid for pid in self.seen if _is_kernel(pid)]


def _descendants(pid: int) -> list[int]:
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    children = [int(child) for child in listed.split()]
    return children + [below for child in children for below in _descendants(child)]


def _is_kernel(pid: int) -> bool:
    """Whether a process runs a kernel; one that is dead and not buried does not."""
    try:
        program, *arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"python" in program and any(arg.endswith(b"/launch.py") for arg in arguments)


@dataclass(frozen=True)
class Ring:
    """The IOC, as a Channel Access client in a process of its own sees it."""

    port: int

    def get(self, *channels: str) -> list[Any]:
        """The values of channels."""
        code = (
            "import json, sys, epics\n"
            "print(json.dumps([epics.caget(name, timeout=5) for name in sys.argv[1:]]))"
        )
        environment = os.environ | {
            "EPICS_CA_NAME_SERVERS": f"127.0.0.1:{self.port}",
            "EPICS_CA_ADDR_LIST": "",
            "EPICS_CA_AUTO_ADDR_LIST": "NO",
        }
        done = subprocess.run(
            [sys.executable, "-c", code, *channels],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        values: list[Any] = json.loads(done.stdout.splitlines()[-1])
        assert None not in values, channels
        return values

    def puts(self) -> list[int]:
        """How many puts each setpoint of the ring received since its start."""
        correctors = [f"SR:HCM{number}:PUTS" for number in range(1, 7)]
        return [int(v) for v in self.get(*correctors, "SR:MODE:PUTS", "SR:OPERATOR:NOTE:PUTS")]


@pytest.fixture(scope="session")
def eventually() -> Eventually:
    return Eventually()


@pytest.fixture(scope="session")
def canary() -> str:
    return CANARY


@pytest.fixture(scope="session")
def read_current() -> str:
    return READ_CURRENT


@pytest.fixture(scope="session")
def recorded_model() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(
    tmp_path_factory: pytest.TempPathFactory, recorded_model: ModelServer
) -> AsyncIterator[Stack]:
    model = {"OPENAI_BASE_URL": recorded_model.base_url, "OPENAI_API_KEY": CANARY}
    directory = tmp_path_factory.mktemp("stack")
    async with running_stack(
        directory, settings=KERNELS, model=model, gate=False, worker=False
    ) as house:
        yield house


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gate(stack: Stack) -> AsyncIterator[Gate]:
    """The gate of all houses; it is started again when a test kills it."""
    async with running_gate(stack) as running:
        yield running


@pytest.fixture(scope="session")
def ring(stack: Stack) -> Ring:
    return Ring(stack.ring_port)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def houses(stack: Stack, gate: Gate) -> AsyncIterator[list[House]]:
    """All houses of the session. What no history and file may hold is looked for at its end.

    `make test` has several sessions at once, each with some of the tests and a stack of its own.
    """
    del gate  # it runs before every house
    opened: list[House] = []
    yield opened
    await key_is_kept_nowhere(stack, opened)
    await payloads_are_strict_json(opened)


@pytest.fixture
def look_for_the_key(stack: Stack, houses: list[House]) -> Callable[[], Awaitable[int]]:
    return lambda: key_is_kept_nowhere(stack, houses)


@pytest.fixture
def look_for_strict_json(houses: list[House]) -> Callable[[], Awaitable[int]]:
    return lambda: payloads_are_strict_json(houses)


async def key_is_kept_nowhere(stack: Stack, houses: list[House]) -> int:
    """No history, file or log holds the model key; returns how many events were searched."""
    needle = CANARY.encode()
    seen = 0
    for house in houses:
        for name, events in (await house.histories()).items():
            for event in events:
                seen += 1
                assert needle not in event.SerializeToString(), (name, event.event_id)
    files = [path for path in stack.directory.rglob("*") if path.is_file()]
    assert [path for path in files if needle in path.read_bytes()] == []
    return seen


async def payloads_are_strict_json(houses: list[House]) -> int:
    """Each JSON payload that we made is strict JSON; returns how many there were."""
    ours = 0
    for house in houses:
        for events in (await house.histories()).values():
            for event in events:
                if event.WhichOneof("attributes") in _STRANGERS:
                    continue
                for payload in _payloads(event):
                    if payload.metadata["encoding"] == b"json/plain":
                        ours += 1
                        json.loads(payload.data, parse_constant=_refuse)
    return ours


# Their payloads came from outside, where tests send rubbish on purpose.
_STRANGERS = {
    "workflow_execution_started_event_attributes",
    "workflow_execution_signaled_event_attributes",
}


def _refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is not JSON")


def _payloads(message: Message) -> Iterator[Payload]:
    """All payloads, however deep."""
    if isinstance(message, Payload):
        yield message
        return
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None:
            continue
        if not descriptor.is_repeated:
            yield from _payloads(value)
        elif descriptor.message_type.GetOptions().map_entry:
            for item in value.values():
                if isinstance(item, Message):
                    yield from _payloads(item)
        else:
            for item in value:
                yield from _payloads(item)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def house(stack: Stack, houses: list[House]) -> AsyncIterator[House]:
    """The house that most tests share."""
    client = await Client.connect(stack.address, data_converter=data_converter)
    async with running_worker(stack) as worker:
        shared = House("shared", stack, client, worker.pid)
        houses.append(shared)
        yield shared


OpenHouse = Callable[..., Awaitable[House]]
Temporal = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def open_house(stack: Stack, houses: list[House], temporal: Temporal) -> OpenHouse:
    """Makes a house on the same server, without a worker: own namespace, settings, environment."""

    async def create(
        name: str,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        environment: Mapping[str, str | None] | None = None,
    ) -> House:
        directory = stack.directory / name
        directory.mkdir()
        config = directory / "runpermit.toml"
        config.write_text(toml(demo_settings(stack, {**KERNELS, **(settings or {})})))
        made = temporal("operator", "namespace", "create", "--namespace", name)
        assert made.returncode == 0, made.stderr
        variables = {**stack.environment, **(environment or {})}
        own = {"TEMPORAL_NAMESPACE": name, "RUNPERMIT_CONFIG": str(config)}
        present = {key: value for key, value in variables.items() if value is not None} | own
        apart = dataclasses.replace(stack, directory=directory, config=config, environment=present)
        client = await Client.connect(stack.address, namespace=name, data_converter=data_converter)
        houses.append(House(name, apart, client))
        return houses[-1]

    return create


@pytest.fixture(scope="session")
def worker_of() -> Callable[[House], AbstractAsyncContextManager[asyncio.subprocess.Process]]:
    """Runs one worker for a house."""

    @asynccontextmanager
    async def run(house: House) -> AsyncIterator[asyncio.subprocess.Process]:
        async with running_worker(house.stack) as worker:
            house.worker_pid = worker.pid
            yield worker

    return run


@pytest.fixture(scope="session")
def temporal(stack: Stack) -> Temporal:
    """Runs Temporal's own command line against the stack."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program("temporal"), *arguments, "--address", stack.address],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def start_worker(stack: Stack) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Starts `worker.py` where it must end by itself."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "worker.py", *arguments],
            cwd=ROOT,
            env={**stack.environment, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def program(name: str) -> str:
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert found is not None, f"{name} is not on PATH"
    return found


@pytest.fixture
def fresh(request: pytest.FixtureRequest) -> str:
    """A workflow id, and a folder name, of this test's own."""
    return re.sub(r"[^A-Za-z0-9]+", "-", request.node.name).strip("-")[:50]


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def ring_at_its_start(stack: Stack) -> None:
    """Each file finds the ring as it began: from there the steps that it takes are allowed."""
    await to_its_start(Machine(stack.ring_port))


@pytest.fixture
def machine(stack: Stack) -> Machine:
    """The truth: the ring itself, past every gate."""
    return Machine(stack.ring_port)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip("chromium is missing: apt-get install chromium")
    async with running_browser() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    async with new_page(browser) as page:
        yield page
