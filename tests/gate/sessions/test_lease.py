"""A worker that is frozen loses its session, and with it the program loses the machine."""

import asyncio
import os
import signal
import sys
import time
from functools import partial
from typing import Any

import pytest

from tests.gate.giving_permits import of_its_own
from tests.gate.punctual import Span, in_time
from tests.gate.raw_client import RawClient

LEASE = 2.0
WORKER = """
import asyncio, socket, sys
from pathlib import Path
from gate.client import GateClient, Opening
from runpermit.models import Permit

async def main():
    listener = socket.create_server(("127.0.0.1", 0))
    permit = Permit.model_validate_json(sys.argv[2])
    opening = Opening(
        execution="f", run_id="r", attempt=1, mode="apply", isolation="full", permit=permit
    )
    async with GateClient(Path(sys.argv[1])).session(opening, listener):
        print(listener.getsockname()[1], flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.alone
async def test_a_frozen_worker_loses_its_session_and_a_running_one_keeps_it(
    machine: Any, start_gate: Any
) -> None:
    async def losing(gate: Any) -> Span:
        permit = (await gate.permit(of_its_own(), "f")).model_dump_json()
        worker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", WORKER, str(gate.control), permit),
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert worker.stdout is not None
            client = await RawClient.connect(int(await worker.stdout.readline()))
            channel = await client.open("T:AO")
            await asyncio.sleep(2 * LEASE)
            assert (await client.put_number(channel, 1)).status == 1
            os.kill(worker.pid, signal.SIGSTOP)
            start = time.monotonic()
            session = (await gate.journalled("session_opened", execution="f"))["session"]
            record = await gate.journalled("session_closed", session=session)
            at = time.monotonic()
            assert "gate.lease" in record["ended"]
            await client.close()
        finally:
            worker.kill()
            await worker.wait()
        return start, at

    with start_gate(machine, gate={"lease": LEASE}) as gate:
        await in_time(partial(losing, gate), 3 * LEASE)
