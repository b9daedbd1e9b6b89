import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.ring import client_environment

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class RingServer:
    """The soft IOC in a process of its own."""

    port: int
    process: subprocess.Popen[str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python in a process whose libca knows this IOC alone."""
        environment = os.environ | client_environment(f"127.0.0.1:{self.port}")
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def client(self, code: str) -> Any:
        """Run pyepics code that leaves an `answer`; returns it."""
        whole = f"import json, time\nfrom epics import PV, caget, caput\n{code}\n"
        done = self.run("-c", whole + "print(json.dumps(answer))")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def serving(*options: str) -> Iterator[RingServer]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "demo.ring", "--port", str(port), "--until-eof", *options],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield RingServer(port, process)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def ring() -> Iterator[RingServer]:
    with serving("--seed", "1") as server:
        yield server


@pytest.fixture
def start_ring() -> Callable[..., Any]:
    return serving
