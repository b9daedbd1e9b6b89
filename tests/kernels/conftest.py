import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kernels import local
from kernels.interface import RunOutcome
from kernels.local import LocalKernels
from runpermit.models import ExecutionMode

ROOT = Path(__file__).parents[2]
RunProgram = Callable[..., Awaitable[RunOutcome]]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which the test's own kernels have their sockets and homes."""
    with tempfile.TemporaryDirectory(prefix="rt-", dir=local.RUNTIME_ROOT) as folder:
        monkeypatch.setattr(local, "RUNTIME_ROOT", folder)
        yield Path(folder)


@pytest.fixture
def run_program(work: Path) -> RunProgram:
    """Runs code in a fresh kernel in `work`."""

    async def run(
        code: str,
        *,
        kernels: LocalKernels | None = None,
        mode: ExecutionMode = ExecutionMode.READ_ONLY,
        timeout: float = 30,
        on_stdout: Callable[[str], None] = lambda _: None,
    ) -> RunOutcome:
        async with (kernels or LocalKernels()).session(mode, work) as kernel:
            return await kernel.run(code, timeout=timeout, attempt=2, on_stdout=on_stdout)

    return run


@pytest.fixture
def processes() -> Callable[[str], list[int]]:
    """The ids of the processes whose command line holds a text."""

    def holding(text: str) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    command = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if text.encode() in command:
                    found.append(int(entry.name))
        return found

    return holding


@pytest.fixture(scope="module")
def ring_server() -> Iterator[str]:
    """`host:port` of a running demo ring."""
    with _serving() as address:
        yield address


@contextmanager
def _serving() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "demo.ring", "--port", str(port), "--until-eof"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()
