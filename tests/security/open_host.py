"""A host as hosts are without care, with a kernel that nothing protects."""

import json
import subprocess
import sys
from pathlib import Path

import ipykernel

from tests.security.catalogue import Effect, Program
from tests.security.collect import MOST_HELD, collect
from tests.security.findings import Finding, Result
from tests.security.lab import Lab
from tests.security.marks import MARK
from tests.security.open_kernel import OpenKernel
from tests.security.prologue import PROLOGUE, code_of
from tests.security.survey import survey
from tests.security.watch import Watch

# s; a plain kernel that has not answered by then is stuck.
_SECONDS, _STUCK = 8.0, 3.0


class OpenHost:
    """Runs programs in plain kernels: follows links, waits for pipes, keeps all that it is told."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._python = _own_environment(lab.folder / "venv")
        self._number = 0
        self._kernel: OpenKernel | None = None
        self._victim: OpenKernel | None = None

    async def run(self, program: Program) -> Result:
        """Run a program in an unprotected kernel."""
        kernel = await self._fresh()
        victim = await self._neighbour()
        self.lab.arm()
        with Watch(self.lab, [kernel.process.pid]) as watch:
            status, said, images = await kernel.run(code_of(program, self.lab), _seconds(program))
        found = watch.findings(program.effect)
        found += survey(kernel.folder)
        collected, problems = await collect(kernel.folder)
        found += problems
        held = len(said) + sum(map(len, images)) + sum(map(len, collected))
        if held > MOST_HELD:
            found.append(Finding(Effect.TOOK, f"{held >> 20} MiB taken by the host"))
        if program.effect is Effect.SHOWN and ("\x1b" in said or "\u202e" in said):
            found.append(Finding(Effect.SHOWN, "as they are"))
        found += await self._end(program, kernel, answered=status is not None)
        said += "".join(content.decode("latin-1") for content in collected)
        found += await self.lab.findings(program, said, None)
        if any(f.effect is Effect.WRITTEN for f in found) and status == "ok":
            # Nothing told the host that a write was tried which should not have been.
            found.append(Finding(Effect.HIDDEN, "the host was told nothing"))
        found += await self._aftermath(program, victim)
        self._tidy(kernel)
        return Result(found, status or "no answer")

    def renew(self) -> None:
        """Use no kernel again in which a program has run."""
        if self._kernel is not None:
            self._kernel.kill()

    def close(self) -> None:
        """End both kernels."""
        for kernel in (self._kernel, self._victim):
            if kernel is not None:
                kernel.kill()

    async def _end(self, program: Program, kernel: OpenKernel, *, answered: bool) -> list[Finding]:
        """End the kernel where it must not go on, and tell what is left of it."""
        found = []
        if not await kernel.answers() or not answered:
            found.append(Finding(Effect.STUCK, "the kernel gives no answer"))
            kernel.kill()
        if program.effect is Effect.HURT and kernel.process.poll() is not None:
            found.append(Finding(Effect.HURT, "what started the kernel is dead"))
        if program.effect in {Effect.OUTLIVED, Effect.POISONED, Effect.STUCK}:
            kernel.kill()
        return found

    async def _aftermath(self, program: Program, victim: OpenKernel) -> list[Finding]:
        """What another kernel, and the next one, find of it."""
        if program.effect is Effect.NEIGHBOUR:
            _, answer, _ = await victim.run("print('pwned' in globals())", 3)
            if "True" in answer:
                return [Finding(Effect.NEIGHBOUR, "code ran in another kernel")]
        if program.effect is Effect.POISONED:
            parameters = json.dumps(self.lab.parameters(program.mode))
            kernel = await self._fresh()
            _, answer, _ = await kernel.run(PROLOGUE.format(parameters=parameters), 5)
            kernel.kill()
            left = sorted((self.lab.folder / "venv").rglob(f"*{MARK}*"))
            if "POISONED" in answer or left:
                return [Finding(Effect.POISONED, f"the next kernel found it, or would: {left}")]
        return []

    def _tidy(self, kernel: OpenKernel) -> None:
        marked = (self.lab.folder / name for name in ("home", "venv"))
        for path in (*kernel.folder.iterdir(), *(p for f in marked for p in f.rglob(f"*{MARK}*"))):
            # As rm does it: there may be a thousand folders, each in the other.
            subprocess.run(["rm", "-rf", path], check=True)

    async def _fresh(self) -> OpenKernel:
        """A kernel that answers: the last one as long as it does."""
        self._kernel = await self._answering(self._kernel)
        return self._kernel

    async def _neighbour(self) -> OpenKernel:
        self._victim = await self._answering(self._victim)
        return self._victim

    async def _answering(self, kernel: OpenKernel | None) -> OpenKernel:
        if kernel is not None and await kernel.answers():
            return kernel
        if kernel is not None:
            kernel.kill()
        self._number += 1
        kernel = OpenKernel(self.lab, f"k{self._number}", self._python)
        await kernel.ready()
        return kernel


def _seconds(program: Program) -> float:
    """How long a plain kernel is waited for; one that is to be stuck, not for long."""
    return _STUCK if program.effect is Effect.STUCK else max(_SECONDS, program.seconds / 2)


def _own_environment(folder: Path) -> Path:
    """A virtual environment of the lab's own: a program may poison it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "main.pth").write_text(str(Path(ipykernel.__file__).parents[1]) + "\n")
    return folder / "bin" / "python"
