"""The project's own kernels and gate, the analysis of programs left out."""

import asyncio
import contextlib
import itertools
import json
import os
import time
from collections.abc import AsyncIterator

from gate.client import Opening, SessionMode, SessionReport
from kernels.interface import Kernel, RunOutcome
from kernels.opening import open_kernels
from kernels.pool import KernelPool
from runpermit.config import KernelsSettings
from runpermit.errors import ContainerConnectivityError, PythonExecutorException
from runpermit.models import Isolation
from tests.gate.giving_permits import of_its_own, permit
from tests.security.audit import PLAN
from tests.security.catalogue import Effect, Mode, Program
from tests.security.collect import MOST_HELD
from tests.security.findings import Finding, Result
from tests.security.lab import SANDBOX_USER, Lab
from tests.security.prologue import code_of
from tests.security.survey import survey, texts
from tests.security.watch import MEMORY, PROCESSES, Watch

GRACE = 8.0  # s from a program's time-out to the host's answer
STILL = 3.0  # s without a word of it, and another execution stands still
SETTINGS = KernelsSettings(
    pool=2,
    preload=["numpy", "epics"],
    sandbox_uid=SANDBOX_USER,
    memory=MEMORY,
    cpus=1,
    processes=PROCESSES,
    file_size=32,
    work_size=64,
    tmp_size=64,
)

FIELDS = (
    "EGU PREC HOPR LOPR HIHI LOLO HIGH LOW HHSV LLSV HSV LSV HYST ADEL MDEL DOL OMSL DTYP OROC OIF "
    "EOFF ESLO ROFF AOFF ASLO LINR SIOL SIML SIMM IVOA IVOV PINI PHAS EVNT TSE TSEL SDIS DISV DISA "
    "PRIO SCAN UDF STAT SEVR NSTA NSEV ACKS ACKT DISS LCNT PACT PUTF RPRO ASG DESC TPRO BKPT NAME"
)


class OurHost:
    """The project's own kernels and gate, the analysis of programs left out."""

    def __init__(self, lab: Lab, pool: KernelPool) -> None:
        self.lab = lab
        self._pool = pool
        self._number = 0
        self._fields = itertools.cycle(FIELDS.split())
        self._heartbeat = 0.0
        self._first_heartbeat = asyncio.Event()
        self._alarms: list[str] = []

    async def run(self, program: Program) -> Result:
        """Run a program in a kernel of the pool, with a session of the gate."""
        self._number += 1
        work = self.lab.folder / "executions" / f"w{self._number}" / "work"
        work.mkdir(parents=True)
        found: list[Finding] = []
        ending, said = "", ""
        report: SessionReport | None = None
        begun = time.monotonic()
        try:
            async with self._pool.session(work) as kernel:
                opening = await self._opening(program.mode)
                async with self.lab.gate.session(opening, kernel.listener) as session:
                    self.lab.arm()
                    begun = time.monotonic()
                    with Watch(self.lab, []) as watch:
                        outcome, beside = await asyncio.gather(
                            self._run(kernel, program), self._beside(program)
                        )
                        found += beside
                    took = time.monotonic() - begun
                    report = await session.close()
            found += watch.findings(program.effect)
            ending, said = _ending(outcome), _said(outcome)
            found += _judged(outcome, took, program)
            if program.effect is Effect.HIDDEN and not report.refused:
                found.append(Finding(Effect.HIDDEN, "the gate tells of no refusal"))
        except ContainerConnectivityError as error:
            ending = str(error)
            found.append(Finding(Effect.STUCK, f"no kernel: {error}"))
        except PythonExecutorException as error:
            ending = f"{type(error).__name__}: {error}"
        except Exception as error:  # noqa: BLE001  (whatever it is: it has no type of ours)
            ending = repr(error)
            found.append(Finding(Effect.STUCK, f"no error of ours: {error!r}"))
        if "POISONED [" in said:
            found.append(Finding(Effect.POISONED, "it found what an earlier one left"))
        found += survey(work)
        found += await self.lab.findings(program, said + texts(work), report)
        if self._alarms:
            found += [Finding(Effect.NEIGHBOUR, alarm) for alarm in self._alarms]
            self._alarms.clear()
        if time.monotonic() - self._heartbeat > STILL:
            found.append(Finding(Effect.NEIGHBOUR, "another execution stands still"))
        if program.effect in {Effect.STUCK, Effect.TOOK, Effect.COMMANDED, Effect.HURT}:
            found += await self.innocent()
        return Result(found, ending)

    async def _beside(self, program: Program) -> list[Finding]:
        """Where a program is against the gate: whether another gets through at the same time."""
        if program.group != "gate":
            return []
        await asyncio.sleep(program.seconds / 4)
        begun = time.monotonic()
        found = await self.innocent()
        if (took := time.monotonic() - begun) > program.seconds / 2:
            found.append(Finding(Effect.NEIGHBOUR, f"another program took {took:.1f} s"))
        return found

    async def innocent(self) -> list[Finding]:
        """Whether a harmless program runs as ever, with a channel that nobody asked for before."""
        self._number += 1
        work = self.lab.folder / "executions" / f"i{self._number}" / "work"
        work.mkdir(parents=True)
        code = (
            "import time, os\nbegin = time.monotonic()\n"
            f"read_channel('T:FREE.{next(self._fields)}')\n"
            "write_channel('T:FREE', 2.5)\nvalue = read_channel('T:FREE')\n"
            "open('kept.txt', 'w').write('kept')\n"
            "results = {'value': value, 'files': os.listdir('.')}\n"
        )
        self.lab.ioc.take()
        opening = await self._opening(Mode.APPLY)
        async with (
            self._pool.session(work) as kernel,
            self.lab.gate.session(opening, kernel.listener) as session,
        ):
            ended = await kernel.run(code, timeout=20, attempt=1, on_stdout=_drop)
            report = await session.close()
            outcome = await asyncio.to_thread(ended.collect, keep_files=True)
        events = self.lab.ioc.take()["events"]
        right = (
            outcome.error is None
            and outcome.results == {"value": 2.5, "files": ["kept.txt"]}
            and report.forwarded == 1
            and [event[1:] for event in events] == [["T:FREE", 2.5]]
            and (work / "kept.txt").exists()
        )
        if right:
            return []
        what = f"the next program: {outcome.error!r} {outcome.results} {report} {events}"
        return [Finding(Effect.NEIGHBOUR, what)]

    @contextlib.asynccontextmanager
    async def neighbour(self) -> AsyncIterator[None]:
        """Another execution, which goes on all the time and looks around."""
        work = self.lab.folder / "executions" / "neighbour" / "work"
        work.mkdir(parents=True)
        self.lab.extra_secrets.append(f"NEIGHBOUR-{os.urandom(6).hex()}")
        (work / "secret.txt").write_text(self.lab.extra_secrets[0])
        code = (
            "import os, time\nsecret = open('secret.txt').read()\nplaces = ('.', '/tmp')\n"
            "at_first = [os.listdir(place) for place in places]\n"
            "while True:\n"
            "    fine = at_first == [os.listdir(place) for place in places]\n"
            "    fine = fine and 'pwned' not in globals()\n"
            "    fine = fine and open('secret.txt').read() == secret\n"
            "    try:\n"
            "        fine = fine and read_channel('T:LONG') == 1\n"
            "    except Exception:\n"
            "        continue  # it stands still for as long\n"
            "    print('fine' if fine else 'HURT', flush=True)\n"
            "    time.sleep(0.4)\n"
        )

        def take(text: str) -> None:
            self._heartbeat = time.monotonic()
            self._first_heartbeat.set()
            if "HURT" in text:
                self._alarms.append("another execution was changed")

        async with self._pool.session(work) as kernel, contextlib.AsyncExitStack() as stack:
            opening = await self._opening(Mode.READ_ONLY)
            await stack.enter_async_context(self.lab.gate.session(opening, kernel.listener))
            running = asyncio.create_task(
                kernel.run(code, timeout=36000, attempt=1, on_stdout=take)
            )
            try:
                await asyncio.wait_for(self._first_heartbeat.wait(), 30)
                yield
                assert not running.done(), running.result()
            finally:
                running.cancel()
                await asyncio.wait({running})

    async def _opening(self, mode: Mode) -> Opening:
        """With a permit where it writes: for the audit's plan, or one that nothing is kept to."""
        permitted = None
        if mode.writes:
            plan = PLAN if mode is Mode.PLANNED else of_its_own()
            status = await self.lab.gate.status()
            permitted = permit(plan, "security", status.limits_sha256)
        return Opening(
            execution="security",
            run_id="run",
            attempt=1,
            mode=SessionMode.APPLY if mode.writes else SessionMode(mode.value),
            isolation=Isolation.FULL,
            permit=permitted,
        )

    async def _run(self, kernel: Kernel, program: Program) -> RunOutcome:
        async with asyncio.timeout(program.seconds + 3 * GRACE):
            ended = await kernel.run(
                code_of(program, self.lab),
                timeout=program.seconds,
                attempt=1,
                on_stdout=_drop,
                rehearse=program.mode is Mode.REHEARSE,
            )
            return await asyncio.to_thread(ended.collect, keep_files=True)


@contextlib.asynccontextmanager
async def our_host(lab: Lab) -> AsyncIterator[OurHost]:
    """Our kernels in one worker, with a neighbour that runs beside each program."""
    async with open_kernels(SETTINGS) as pool:
        host = OurHost(lab, pool)
        async with host.neighbour():
            yield host


def _judged(outcome: RunOutcome, took: float, program: Program) -> list[Finding]:
    """What is wrong with an outcome, whatever the program was."""
    found = []
    if took > program.seconds + GRACE:
        found.append(Finding(Effect.STUCK, f"the answer took {took:.1f} s"))
    if outcome.error is not None and not isinstance(outcome.error, PythonExecutorException):
        found.append(Finding(Effect.STUCK, f"no error of ours: {outcome.error!r}"))
    held = len(outcome.stdout) + sum(len(figure.content) for figure in outcome.figures)
    if held > MOST_HELD:
        found.append(Finding(Effect.TOOK, f"{held >> 20} MiB taken by the host"))
    try:
        json.dumps(outcome.results, allow_nan=False)
    except (ValueError, RecursionError) as error:
        found.append(Finding(Effect.FALSE, repr(error)))
    shown = [*outcome.left_out, *(figure.name for figure in outcome.figures), str(outcome.error)]
    if any("\x1b" in text or "\u202e" in text or "\x07" in text for text in shown):
        found.append(Finding(Effect.SHOWN, "as they are"))
    return found


def _ending(outcome: RunOutcome) -> str:
    if outcome.error is None:
        return "ended by itself"
    text = str(outcome.error).replace("\n", " ")
    return f"{type(outcome.error).__name__}: {text}"


def _said(outcome: RunOutcome) -> str:
    figures = "".join(figure.content.decode("latin-1") for figure in outcome.figures)
    return f"{outcome.stdout}{outcome.results}{outcome.error}{outcome.left_out}{figures}"


def _drop(text: str) -> None:
    del text
