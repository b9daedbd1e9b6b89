"""What rehearsal and apply cost: beside a plain run of the same program in a warm kernel.

Ours is all of it: a kernel claimed, a session opened, the program run, the session closed and told.
"""

import asyncio
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench.gate import place
from bench.permits import opening, permit_for
from bench.pool import filled
from bench.report import Row
from bench.warm_kernel import WarmKernel
from demo.ring import client_environment
from gate.client import GateClient, Rehearsed, SessionMode
from kernels.opening import open_kernels
from kernels.pool import KernelPool
from runpermit.config import KernelsSettings
from runpermit.models import Permit, Plan
from runpermit.plans import build_plan

ROUNDS = 8
WRITES = 40
PROGRAM = f"""
start = float(read_channel("STEPPED"))
for n in range(1, {WRITES} + 1):
    write_channel("STEPPED", start + 0.01 * n)
    read_channel("STEPPED")
write_channel("STEPPED", start)
results = {{}}
"""
# The same names in a plain kernel.
PRELUDE = """
import epics
epics.caget("STEPPED")
read_channel = epics.caget
def write_channel(name, value): epics.caput(name, value, wait=True)
"""


async def run(
    kernels: KernelPool, gate: GateClient, work: Path, permit: Permit | None
) -> tuple[float, Rehearsed | None]:
    """Seconds from claim to report: applied with `permit`, rehearsed without one."""
    await filled(kernels)
    mode = SessionMode.REHEARSE if permit is None else SessionMode.APPLY
    begun = time.perf_counter()
    async with (
        kernels.session(work) as kernel,
        gate.session(opening(mode, permit), kernel.listener) as session,
    ):
        ended = await kernel.run(
            PROGRAM, timeout=60, attempt=1, on_stdout=lambda _: None, rehearse=permit is None
        )
        report = await session.close(completed=ended.succeeded)
        taken = time.perf_counter() - begun
        outcome = await asyncio.to_thread(ended.collect, keep_files=False)
    if outcome.error is not None:
        raise outcome.error
    if permit is not None and report.forwarded != WRITES + 1:
        raise RuntimeError(f"{report.forwarded} writes were forwarded: {report}")
    return taken, report.rehearsed


def planned(told: Rehearsed) -> Plan:
    """The plan of a rehearsal."""
    return build_plan(
        **{name: getattr(told, name) for name in Rehearsed.model_fields},
        declared=[],
        problem="",
        waits=None,
        at=datetime.now(UTC),
    )


async def measure() -> list[Row]:
    """Rehearsal, apply and the plain run in turns."""
    taken = []
    with tempfile.TemporaryDirectory(prefix="rp-bench-", dir="/tmp") as name:
        directory = Path(name)
        work = directory / "work"
        work.mkdir()
        async with (
            place(directory) as there,
            open_kernels(KernelsSettings(pool=1)) as kernels,
            WarmKernel(client_environment(there.ioc)) as plain,
        ):
            await plain.run(PRELUDE)
            for _ in range(ROUNDS):
                rehearsal, told = await run(kernels, there.gate, work, None)
                if told is None:
                    raise RuntimeError("the gate tells nothing of the rehearsal")
                permit = await permit_for(there.gate, planned(told))
                apply, _ = await run(kernels, there.gate, work, permit)
                taken.append((rehearsal, apply, await plain.run(PROGRAM)))
    taken = taken[1:]  # the first of each warms caches
    bare = median(plain for _, _, plain in taken)
    return [
        Row(f"plans: rehearsal of {WRITES} writes", median(r for r, _, _ in taken), bare),
        Row(f"plans: apply of {WRITES} writes", median(a for _, a, _ in taken), bare),
    ]
