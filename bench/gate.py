"""The gate's cost: the same pyepics calls directly at an IOC, through the gate, and sandboxed.

The rounds of the three clients alternate, so that whatever else the machine does meets them all.
"""

import asyncio
import contextlib
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.report import Row
from demo.stack import free_port, process, toml
from gate.client import GateClient, Opening, SessionMode
from runpermit.models import Isolation

ROUNDS = 12
CALLS = 150
DATABASE = """
record(ao, "PLAIN") { field(DRVH, "1e9") field(DRVL, "-1e9") field(PREC, "3") }
record(ao, "STEPPED") { field(DRVH, "1e9") field(DRVL, "-1e9") field(PREC, "3") }
record(waveform, "WAVE") { field(FTVL, "DOUBLE") field(NELM, "4000") }
"""
LIMITS = {
    "PLAIN": {"min_value": -1e6, "max_value": 1e6, "min_interval": 0},
    "STEPPED": {"min_value": -1e6, "max_value": 1e6, "max_step": 100, "min_interval": 0},
}
# What a get, a put and so on may cost of the direct one (design.md, Budgets).
BUDGETS = {"get": 2.2, "put": 2.5, "put with step": 2.7}
CLIENT = """
import json, sys, time
import epics
plain, stepped, wave = (epics.PV(name, auto_monitor=False) for name in ("PLAIN", "STEPPED", "WAVE"))
for pv in (plain, stepped, wave):
    assert pv.wait_for_connection(5), pv
plain.put(1, wait=True); stepped.put(1, wait=True)
calls = {
    "get": lambda n: plain.get(use_monitor=False),
    "put": lambda n: plain.put(n % 7, wait=True),
    "put with step": lambda n: stepped.put(n % 7, wait=True),
    "control variables": lambda n: plain.get_ctrlvars(),
    "4000 doubles": lambda n: wave.get(use_monitor=False),
}
for line in sys.stdin:
    times = {}
    for name, call in calls.items():
        times[name] = []
        for n in range(int(line)):
            begun = time.perf_counter()
            call(n)
            times[name].append(time.perf_counter() - begun)
    print(json.dumps({name: sorted(taken)[len(taken) // 2] for name, taken in times.items()}),
          flush=True)
"""


@dataclass(frozen=True)
class Place:
    """An IOC, a gate before it, and how to reach both."""

    ioc: str
    gate: GateClient
    journal: Path


@contextlib.asynccontextmanager
async def place(directory: Path) -> AsyncIterator[Place]:
    """A plain softIoc, and a gate that leads to it."""
    port = free_port()
    database, limits, config = (
        directory / name for name in ("bench.db", "limits.json", "runpermit.toml")
    )
    database.write_text(DATABASE)
    limits.write_text(json.dumps(LIMITS))
    settings: dict[str, dict[str, Any]] = {
        "control_system": {
            "type": "mock",
            "writes_enabled": True,
            "name_servers": [f"127.0.0.1:{port}"],
        },
        "approval": {"assurance": "claimed"},
        "limits": {"file": str(limits)},
        "gate": {"socket": str(directory / "g.sock"), "journal": str(directory / "journal")},
    }
    config.write_text(toml(settings))
    ioc_environment = os.environ | {
        "EPICS_CAS_INTF_ADDR_LIST": "127.0.0.1",
        "EPICS_CAS_SERVER_PORT": str(port),
        "EPICS_CAS_AUTO_BEACON_ADDR_LIST": "NO",
        "EPICS_CAS_BEACON_ADDR_LIST": "127.0.0.1",
    }
    ioc = (sys.executable, "-m", "epicscorelibs.ioc", "-d", str(database))
    gate = (sys.executable, "-m", "gate", "--config", str(config))
    async with (
        process("ioc", *ioc, directory=directory, environment=ioc_environment, ready=None),
        process("gate", *gate, directory=directory, environment=os.environ),
    ):
        await asyncio.sleep(1)
        yield Place(f"127.0.0.1:{port}", GateClient(directory / "g.sock"), directory / "journal")


@contextlib.asynccontextmanager
async def client(name_server: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The measuring program, with one place to find its channels."""
    caller = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        CLIENT,
        env=os.environ
        | {
            "EPICS_CA_NAME_SERVERS": name_server,
            "EPICS_CA_ADDR_LIST": "",
            "EPICS_CA_AUTO_ADDR_LIST": "NO",
        },
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield caller
    finally:
        caller.kill()
        await caller.wait()


async def one_round(caller: asyncio.subprocess.Process, calls: int) -> dict[str, float]:
    """The medians of `calls` calls of each kind, in seconds."""
    assert caller.stdin is not None  # noqa: S101  (pipes were asked for)
    assert caller.stdout is not None  # noqa: S101
    caller.stdin.write(f"{calls}\n".encode())
    return dict(json.loads(await caller.stdout.readline()))


def fdatasync_seconds(directory: Path, times: int = 50) -> float:
    """The median of one fdatasync behind a short write, on the journal's disk."""
    taken = []
    with (directory / "fdatasync").open("wb", buffering=0) as file:
        for _ in range(times):
            begun = time.perf_counter()
            file.write(b"x" * 300)
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - begun)
    return median(taken)


async def measure() -> list[Row]:
    """One row for each kind of call."""
    with tempfile.TemporaryDirectory(prefix="rp-bench-", dir="/tmp") as name:
        directory = Path(name)
        async with place(directory) as there:
            listener = socket.create_server(("127.0.0.1", 0))
            opening = Opening(
                execution="bench",
                run_id="bench",
                attempt=1,
                mode=SessionMode.APPLY,
                isolation=Isolation.FULL,
            )
            async with (
                there.gate.session(opening, listener),
                client(there.ioc) as direct,
                client(f"127.0.0.1:{listener.getsockname()[1]}") as gated,
            ):
                await one_round(direct, 20)
                await one_round(gated, 20)
                rounds = [
                    (
                        await one_round(direct, CALLS),
                        await one_round(gated, CALLS),
                        fdatasync_seconds(directory),
                    )
                    for _ in range(ROUNDS)
                ]
    return [
        Row(
            f"gate: {kind}",
            median(gated[kind] for _, gated, _ in rounds),
            median(direct[kind] for direct, _, _ in rounds),
            budget=BUDGETS.get(kind),
            allowance=median(s for _, _, s in rounds) if kind.startswith("put") else 0.0,
        )
        for kind in rounds[0][0]
    ]
