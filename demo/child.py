"""A child process of the demo: started, ready, and gone with all that it started."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
START_SECONDS = 60.0
_STOP_SECONDS = 10.0


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
            line = await asyncio.wait_for(_ready_line(child, ready), START_SECONDS)
        if child.returncode is not None or (ready and not line):
            raise RuntimeError(f"{name} did not start:\n{log.read_text()[-2000:]}")
        yield child, line
    finally:
        await _end(child)


async def _ready_line(child: asyncio.subprocess.Process, word: str) -> str:
    assert child.stdout is not None  # noqa: S101  (a pipe was asked for)
    async for raw in child.stdout:
        line = raw.decode(errors="replace").strip()
        if line.startswith(word):
            return line
    return ""


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
