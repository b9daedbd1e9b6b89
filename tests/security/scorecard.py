"""`python -m tests.security.scorecard [WORD...]`: all programs against both kernels, as a table."""

import argparse
import asyncio
import contextlib
import fcntl
import os
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from tests.security.catalogue import PROGRAMS, Effect, Program
from tests.security.findings import Result
from tests.security.lab import lab
from tests.security.open_host import OpenHost
from tests.security.our_host import OurHost, our_host

LOCK = Path("/tmp/runpermit-scorecard.lock")  # noqa: S108  (empty, and only locked)
_WIDTHS = (46, 60, 12, 10)
# What these take is seen in the machine as a whole, so that their twins can't run beside them.
_ALONE = {Effect.TOOK, Effect.HURT, Effect.POISONED}


@dataclass(frozen=True)
class Score:
    """One program in both kernels."""

    program: Program
    unprotected: Result
    ours: Result
    seconds: float = 0

    @property
    def effective(self) -> bool:
        return self.program.ours_alone or self.program.effect in self.unprotected.effects

    @property
    def contained(self) -> bool:
        return not self.ours.findings

    def __str__(self) -> str:
        words = "; ".join(f"{finding.effect}: {finding.what}" for finding in self.ours.findings)
        cells = (
            self.program.identity,
            self.program.route,
            "-" if self.program.ours_alone else "effective" if self.effective else "NO EFFECT",
            "contained" if self.contained else "ESCAPED",
        )
        row = "  ".join(
            cell[:width].ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)
        )
        text = f"{row}  {self.seconds:4.1f} s  {ascii(self.ours.ending)[1:-1][:90]}"
        if not self.contained:
            text += f"\n    ours: {words[:2000]}"
        if not self.effective:
            effects = "; ".join(f"{f.effect}: {f.what}" for f in self.unprotected.findings)
            text += f"\n    unprotected: {self.unprotected.ending}, {effects[:600] or 'nothing'}"
        return text


class Range:
    """Both kernels in their labs."""

    def __init__(self, open_host: OpenHost, our: OurHost) -> None:
        self._open = open_host
        self.ours = our

    async def score(self, program: Program) -> Score:
        """Run one program in both kernels."""
        begun = time.monotonic()
        score = await self._score(program)
        if not score.effective:
            # An earlier program, or a busy machine, may have spoilt it; there is no second try of
            # what is to be contained.
            self._open.renew()
            score = replace(score, unprotected=await self._open.run(program))
        return replace(score, seconds=time.monotonic() - begun)

    async def _score(self, program: Program) -> Score:
        if program.ours_alone:
            return Score(program, Result([], ""), await self.ours.run(program))
        if program.effect in _ALONE:
            unprotected = await self._open.run(program)
            return Score(program, unprotected, await self.ours.run(program))
        unprotected, ours = await asyncio.gather(self._open.run(program), self.ours.run(program))
        return Score(program, unprotected, ours)


@contextlib.asynccontextmanager
async def shooting_range() -> AsyncIterator[Range]:
    """Everything that all programs need, started once."""
    # Canaries are known by their users, and marks by their names: one at a time.
    with await asyncio.to_thread(LOCK.open, "w") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        async with _labs() as here:
            yield here


@contextlib.asynccontextmanager
async def _labs() -> AsyncIterator[Range]:
    before = os.environ.get("OPENAI_API_KEY")
    interfaces = [repr(name) for _, name in socket.if_nameindex() if name != "lo"]
    secret = f"CANARY-{secrets.token_hex(12)}"
    os.environ["OPENAI_API_KEY"] = secret
    try:
        async with lab("open", secret) as open_lab, lab("ours", secret) as our_lab:
            for one in (open_lab, our_lab):
                one.extra_secrets += interfaces
            open_host = OpenHost(open_lab)
            try:
                async with our_host(our_lab) as ours:
                    yield Range(open_host, ours)
            finally:
                open_host.close()
    finally:
        os.environ.pop("OPENAI_API_KEY")
        if before is not None:
            os.environ["OPENAI_API_KEY"] = before


def judged_here(program: Program) -> bool:
    """Whether a program can be effective for this user."""
    return not program.root or os.geteuid() == 0


async def _main(words: list[str]) -> int:
    chosen = [
        program
        for program in PROGRAMS
        if judged_here(program) and (not words or any(word in program.identity for word in words))
    ]
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    begun = time.monotonic()
    bad = 0
    async with shooting_range() as here:
        for program in chosen:
            score = await here.score(program)
            bad += not (score.effective and score.contained)
            print(score, flush=True)  # noqa: T201
        last = await here.ours.innocent()
        print("after all of them, a harmless program:", last or "as ever")  # noqa: T201
    skipped = sum(not judged_here(program) for program in PROGRAMS)
    print(  # noqa: T201
        f"{len(chosen)} programs, {len(chosen) - bad} effective and contained, {bad} not; "
        f"{skipped} need root to be effective and were left out; {time.monotonic() - begun:.0f} s"
    )
    return bool(bad or last)


def main() -> int:
    """Run and print; the exit status is 1 where a program has no effect, or escaped."""
    parser = argparse.ArgumentParser(prog="python -m tests.security.scorecard", description=__doc__)
    parser.add_argument("words", nargs="*", help="only programs with one of these in their names")
    return asyncio.run(_main(parser.parse_args().words))


if __name__ == "__main__":
    sys.exit(main())
