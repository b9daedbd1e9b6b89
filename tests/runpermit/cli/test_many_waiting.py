"""A thousand executions that wait, and no worker: the list comes all the same."""

import asyncio
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from runpermit.models import PythonExecutionRequest
from runpermit.names import WORKFLOW
from tests.runpermit.conftest import DevServer

pytestmark = pytest.mark.slow

MANY = 1001  # Temporal serves 1000 a page
MEMORY_BYTES = 2 << 30  # of address space: Temporal's core maps most of it and uses little


@pytest.fixture(scope="module")
def crowded() -> Iterator[DevServer]:
    """A server of its own, where all that runs waits for an operator."""
    server = DevServer()
    server.stop_worker()
    server.call(_start_all, server)
    yield server
    server.close()


async def _start_all(server: DevServer) -> None:
    request = PythonExecutionRequest(
        user_query="q", task_objective="t", execution_folder_name="many"
    )
    at_once = asyncio.Semaphore(50)

    async def start(number: int) -> None:
        left = number == MANY // 2
        memo: dict[str, Any] = {
            "stage": "awaiting_restore" if left else "awaiting_approval",
            "question": f"{number} writes: SR:HCM1 → 0.2 A",
            "sha256": f"{number:064x}",
            "requester": "alice",
            "asked_at": f"2026-01-02T03:{number // 60:02}:{number % 60:02}Z",
        }
        async with at_once:
            await server.client.start_workflow(
                WORKFLOW, request, id=f"many-{number}", task_queue="nobody", memo=memo
            )

    await asyncio.gather(*(start(number) for number in range(MANY)))
    async with asyncio.timeout(60):  # visibility comes a moment later
        while (await server.client.count_workflows()).count < MANY:  # noqa: ASYNC110
            await asyncio.sleep(0.2)


def pending(server: DevServer, *options: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "runpermit.cli", "pending", "--address", server.address, *options],
        capture_output=True, text=True, check=True, timeout=60, env={**os.environ, "COLUMNS": "80"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES)),
    ).stdout  # fmt: skip


def test_all_are_listed_the_machine_left_changed_first_then_the_longest_waiting(
    crowded: DevServer,
) -> None:
    told = pending(crowded).splitlines()
    assert told[0] == f"{MANY} waiting: 1 left the machine changed, {MANY - 1} for approval."
    rows = [line for line in told if line.startswith("many-")]
    ids = [row.split()[0] for row in rows]
    others = [number for number in range(MANY) if number != MANY // 2]
    assert ids == [f"many-{number}" for number in (MANY // 2, *others)]
    assert "MACHINE LEFT CHANGED" in rows[0]
    assert rows[1].endswith("alice     0 writes: SR:HCM1 → 0.2 A")


def test_json_lists_them_all_with_the_keys_that_are_documented(crowded: DevServer) -> None:
    document = json.loads(pending(crowded, "--json"))
    assert len(document["pending"]) == MANY
    assert document["pending"][1].items() >= {
        "id": "many-0", "stage": "awaiting_approval", "sha256": "0" * 64, "revision": "000000",
        "requester": "alice", "asked_at": "2026-01-02T03:00:00Z",
    }.items()  # fmt: skip
