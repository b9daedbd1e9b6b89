"""The gate's cost: the same pyepics calls in a sandboxed kernel through the gate, and directly.

The rounds of both alternate, so that whatever else the machine does meets both.
"""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.permits import declared_permit, opening
from bench.pool import filled
from bench.report import Row
from demo.ring import client_environment, ioc_environment
from demo.stack import free_port, process, toml
from gate.client import GateClient, SessionMode
from kernels.environment import INSIDE
from kernels.opening import open_kernels
from kernels.pool import KernelPool
from runpermit.config import KernelsSettings

ROUNDS = 8
CALLS = 150
DATABASE = """
record(ao, "PLAIN") { field(DRVH, "1e9") field(DRVL, "-1e9") field(PREC, "3") field(PINI, "YES") }
record(ao, "STEPPED") { field(DRVH, "1e9") field(DRVL, "-1e9") field(PREC, "3") field(PINI, "YES") }
record(waveform, "WAVE") { field(FTVL, "DOUBLE") field(NELM, "4000") }
"""
LIMITS = {
    "PLAIN": {"min_value": -1e6, "max_value": 1e6, "min_interval": 0},
    "STEPPED": {"min_value": -1e6, "max_value": 1e6, "max_step": 100, "min_interval": 0},
}
# What a get, a put and so on may cost of the direct one (design.md, Budgets).
BUDGETS = {"get": 2.2, "put": 2.5, "put with step": 2.7}
# A put of ours has round trips and a sync that a direct one has not: what it may cost of a program
# that looks, notes, writes and reads back by itself.
CAREFUL, CAREFUL_BUDGET = "careful put", 1.5
MEASURED = """
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
def medians(count):
    found = {}
    for name, call in calls.items():
        times = []
        for n in range(count):
            begun = time.perf_counter()
            call(n)
            times.append(time.perf_counter() - begun)
        found[name] = sorted(times)[count // 2]
    return found
"""
DIRECT = (
    MEASURED
    + f"""
import os
notes = open("notes", "ab", buffering=0)
def careful(n):
    plain.get(use_monitor=False)
    notes.write(b"x" * 300)
    os.fdatasync(notes.fileno())
    plain.put(n % 7, wait=True)
    plain.get(use_monitor=False)
calls["{CAREFUL}"] = careful
"""
    + """
for line in sys.stdin:
    print(json.dumps(medians(int(line))), flush=True)
"""
)
# A direct client runs through all rounds, and is warm from the second on; each kernel is a new one.
SANDBOXED = MEASURED + f"medians({CALLS // 3})\nresults = medians({CALLS})"


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
    at_port = os.environ | ioc_environment(port)
    ioc = (sys.executable, "-m", "epicscorelibs.ioc", "-d", str(database))
    gate = (sys.executable, "-m", "gate", "--config", str(config))
    async with (
        process("ioc", *ioc, directory=directory, environment=at_port, ready=None),
        process("gate", *gate, directory=directory, environment=os.environ),
    ):
        await asyncio.sleep(1)
        yield Place(f"127.0.0.1:{port}", GateClient(directory / "g.sock"), directory / "journal")


@contextlib.asynccontextmanager
async def direct_client(
    name_server: str, directory: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The measuring program as a plain process in `directory`, beside the IOC."""
    caller = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        DIRECT,
        cwd=directory,
        env=os.environ
        | client_environment(name_server)
        | {"PATH": f"{INSIDE / 'bin'}:{os.environ['PATH']}"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield caller
    finally:
        caller.kill()
        await caller.wait()


async def direct_round(caller: asyncio.subprocess.Process) -> dict[str, float]:
    """The medians of one round of each kind of call, in seconds."""
    assert caller.stdin is not None  # noqa: S101  (pipes were asked for)
    assert caller.stdout is not None  # noqa: S101
    caller.stdin.write(f"{CALLS}\n".encode())
    return dict(json.loads(await caller.stdout.readline()))


async def our_round(kernels: KernelPool, gate: GateClient, work: Path) -> dict[str, float]:
    """The same in a kernel of ours."""
    permit = await declared_permit(gate, "PLAIN", "STEPPED")
    about = opening(SessionMode.APPLY, permit)
    async with kernels.session(work) as kernel, gate.session(about, kernel.listener):
        ended = await kernel.run(SANDBOXED, timeout=60, attempt=1, on_stdout=lambda _: None)
        ran = await asyncio.to_thread(ended.collect, keep_files=True)
        if ran.error is not None:
            raise ran.error
        return dict(ran.results or {})


def fdatasync_seconds(directory: Path, times: int = 50) -> float:
    """The median of one fdatasync behind a short write, on the journal's disk, as often as puts."""
    taken = []
    with (directory / "fdatasync").open("wb", buffering=0) as file:
        for _ in range(times):
            time.sleep(0.0005)
            begun = time.perf_counter()
            file.write(b"x" * 300)
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - begun)
    return median(taken)


async def measure() -> list[Row]:
    """One row for each kind of call."""
    with tempfile.TemporaryDirectory(prefix="rp-bench-", dir="/tmp") as name:
        directory = Path(name)
        work = directory / "work"
        work.mkdir()
        async with (
            place(directory) as there,
            open_kernels(KernelsSettings(pool=1)) as kernels,
            direct_client(there.ioc, directory) as caller,
        ):
            rounds = []
            for _ in range(ROUNDS):
                await filled(kernels)
                rounds.append(
                    (
                        await our_round(kernels, there.gate, work),
                        await direct_round(caller),
                        fdatasync_seconds(directory),
                    )
                )
    careful = median(direct[CAREFUL] for _, direct, _ in rounds)
    rows = [
        Row(
            f"gate: {kind}",
            median(ours[kind] for ours, _, _ in rounds),
            median(direct[kind] for _, direct, _ in rounds),
            budget=BUDGETS.get(kind),
            allowance=median(s for _, _, s in rounds) if kind.startswith("put") else 0.0,
        )
        for kind in rounds[0][0]
    ]
    put = median(ours["put"] for ours, _, _ in rounds)
    return [*rows, Row("gate: put beside a careful one", put, careful, budget=CAREFUL_BUDGET)]
