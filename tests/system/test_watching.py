"""`runpermit watch` on a program that writes: each write is seen while the program goes on."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from runpermit.models import Stage
from tests.system.asking import approve, rehearsed
from tests.system.machine import Machine

pytestmark = pytest.mark.slow

# It goes on when another hand changes HCM6; a rehearsal sleeps no second of it.
HELD = """\
import time
start, held = read_channel("SR:HCM4:SP"), read_channel("SR:HCM6:SP")
write_channel("SR:HCM4:SP", start + 0.01)
for _ in range(300):
    if read_channel("SR:HCM6:SP") != held:
        break
    time.sleep(0.1)
write_channel("SR:HCM4:SP", start)
results = {}
"""
WRITE = "SR:HCM4:SP: "


async def line_of(stream: asyncio.StreamReader, beginning: str) -> str:
    """The next line that begins so."""
    async with asyncio.timeout(30):
        while not (said := (await stream.readline()).decode()).startswith(beginning):
            assert said, f"it ended without a line {beginning!r}"
        return said


async def test_a_write_is_seen_while_its_program_goes_on(
    house: Any, machine: Machine, tmp_path: Path
) -> None:
    handle, pending = await rehearsed(house, machine, HELD)
    watch = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "runpermit.cli", "watch", handle.id),
        *("--address", house.stack.address, "--namespace", house.client.namespace),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "80"},
    )
    try:
        assert watch.stderr is not None
        held = await machine.number("SR:HCM6:SP")
        await approve(handle, pending)
        assert (await line_of(watch.stderr, WRITE)).endswith(", confirmed\n")
        assert (await house.state(handle)).current_stage is Stage.APPLYING
        await machine.set("SR:HCM6:SP", held + 0.001)
        out, errors = await asyncio.wait_for(watch.communicate(), 60)
    finally:
        if watch.returncode is None:
            watch.kill()
            await watch.wait()
    assert watch.returncode == 0, errors.decode()
    assert errors.decode().count(WRITE) == 1
    assert out.decode().count(f"write     {WRITE}") == 2
