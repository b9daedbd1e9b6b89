"""The real gate as a process of its own, and the real command beside its settings."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETTINGS = """
[control_system]
type = "mock"
writes_enabled = true
[approval]
assurance = "claimed"
[limits]
file = "limits.json"
[gate]
socket = "gate.sock"
journal = "journal"
"""
HOST = '[worker]\nhost = "{}"\n'
READ_ONLY = SETTINGS.replace("writes_enabled = true", "writes_enabled = false")
Ran = subprocess.CompletedProcess[str]
Command = Callable[..., Ran]


class Gate:
    """The gate as a process of its own, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = folder / "runpermit.toml"
        self.settings.write_text(SETTINGS)
        (folder / "limits.json").write_text('{"SR:HCM1": {"min_value": -1, "max_value": 1}}')
        self._process: subprocess.Popen[str] | None = None

    def start(self, settings: str = SETTINGS) -> None:
        self.settings.write_text(settings)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gate", "--config", str(self.settings)],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line == "ready\n":
                return
        raise RuntimeError("the gate did not start")

    def stop(self, *, kill: bool = False) -> None:
        if self._process is not None:
            (self._process.kill if kill else self._process.terminate)()
            self._process.communicate(timeout=20)
            self._process = None


@pytest.fixture
def gate() -> Iterator[Gate]:
    # pytest's own folders have paths too long for a socket.
    with tempfile.TemporaryDirectory(prefix="rp") as folder:
        gate = Gate(Path(folder))
        yield gate
        gate.stop()


@pytest.fixture
def runpermit(gate: Gate) -> Command:
    """Runs one command in the folder of the settings."""

    def run(*arguments: str) -> Ran:
        return subprocess.run(
            [sys.executable, "-m", "runpermit.cli", *arguments],
            capture_output=True, text=True, cwd=gate.folder, timeout=60, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    return run
