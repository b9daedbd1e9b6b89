"""A machine before which things are put back."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.gate.aftermath_bench import Bench, bench_for


@pytest.fixture
async def bench(machine: Any, tmp_path: Path) -> AsyncIterator[Bench]:
    for channel in ("T:AO", "T:AO2", "T:CLAMP", "T:LO"):
        await machine.set(channel, 1)
    async with bench_for(tmp_path, machine.port) as bench:
        yield bench
