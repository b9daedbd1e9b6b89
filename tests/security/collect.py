"""How a host collects figures and results that trusts its kernels: it follows links, and waits."""

import asyncio
import contextlib
import json
import os
import threading
import time
from pathlib import Path

from tests.security.catalogue import Effect
from tests.security.findings import Finding
from tests.security.survey import DEEPEST, MOST_FILES

MOST_HELD = 80_000_000  # bytes that a host takes from one run
_PATIENCE = 2.0  # s
_WANTED = (".png", ".jpeg", "results.json", "output.txt")


async def collect(folder: Path) -> tuple[list[bytes], list[Finding]]:
    """The contents of what is wanted in `folder`, and what went wrong."""
    contents: list[bytes] = []
    done = threading.Event()
    threading.Thread(target=_take, args=(folder, contents, done), daemon=True).start()
    found = []
    if not await asyncio.to_thread(done.wait, _PATIENCE):
        found.append(Finding(Effect.STUCK, "the host waits for a file"))
    found += await asyncio.to_thread(_false_results, folder / "results.json")
    await asyncio.to_thread(_release, folder)
    return contents, found


def _take(folder: Path, contents: list[bytes], done: threading.Event) -> None:
    for top, _, names in os.walk(folder, followlinks=True):
        for name in names:
            if name.endswith(_WANTED):
                with contextlib.suppress(OSError):
                    contents.append(_read(Path(top, name)))
        if top.count("/") > 2 * DEEPEST or len(contents) > MOST_FILES:
            break
    done.set()


def _false_results(file: Path) -> list[Finding]:
    if not file.is_file():
        return []
    try:
        if "NaN" in json.dumps(json.loads(file.read_bytes())):
            return [Finding(Effect.FALSE, "NaN in JSON")]
    except (ValueError, RecursionError) as error:
        return [Finding(Effect.FALSE, type(error).__name__)]
    return []


def _release(folder: Path) -> None:
    """Let those go on who wait for a pipe's writer."""
    for path in folder.iterdir():
        if path.is_fifo():
            os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))


def _read(path: Path) -> bytes:
    """All of a file, but for one without end."""
    content = b""
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            content += piece
            if len(content) > 4 * MOST_HELD:
                # On and on it goes; the collector is not back.
                time.sleep(3)
                break
    return content
