"""What stays behind: no secret, and nothing but strict JSON, in any history, file or log."""

import json
from collections.abc import Iterator
from typing import Any, NoReturn

from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload

PRINT_ENVIRONMENT = """\
import json, os
text = json.dumps(dict(os.environ))
with open("environment.json", "w") as file:
    file.write(text)
print(text)
results = {"environment": dict(os.environ), "nan": float("nan")}
"""
HUNT = """\
from pathlib import Path
seen = []
for name in ("environ", "cmdline"):
    seen.append(Path(f"/proc/self/{name}").read_bytes().decode(errors="replace"))
results = {"seen": seen}
"""


async def test_the_code_sees_no_variable_of_the_worker(house: Any, canary: str) -> None:
    result = await house.run(PRINT_ENVIRONMENT)
    environment = result.execution_result.results["environment"]
    assert canary not in str(result)
    assert not {
        name for name in environment if name.startswith(("OPENAI", "TEMPORAL", "RUNPERMIT"))
    }
    result = await house.run(HUNT)
    assert canary not in str(result)


async def test_the_model_key_is_in_no_history_file_or_log(
    house: Any, houses: list[Any], canary: str, recorded_model: Any
) -> None:
    await house.run(PRINT_ENVIRONMENT)
    error = await house.run_to_failure(task_objective="Run the recorded runtime error.", retries=1)
    assert "ZeroDivisionError" in str(error)
    # The key was in use, so that there was something to find.
    assert recorded_model.requests[-1].headers["authorization"] == f"Bearer {canary}"

    needle = canary.encode()
    seen = 0
    for each in houses:
        for name, events in (await each.histories()).items():
            for event in events:
                seen += 1
                assert needle not in event.SerializeToString(), (name, event.event_id)
    assert seen > 10
    files = [path for path in house.stack.directory.rglob("*") if path.is_file()]
    assert {"worker.log", "notebook.ipynb", "environment.json"} <= {path.name for path in files}
    assert [path for path in files if needle in path.read_bytes()] == []


async def test_every_payload_of_every_history_is_strict_json(house: Any, houses: list[Any]) -> None:
    await house.run("results = {'nan': float('nan'), 'inf': [float('inf')]}")
    await house.run_to_failure("raise ValueError(float('nan'))")
    ours = 0
    for each in houses:
        for name, events in (await each.histories()).items():
            for event in events:
                if _is_a_strangers(event):
                    continue
                for payload in _payloads(event):
                    if payload.metadata["encoding"] == b"json/plain":
                        ours += 1
                        text = payload.data.decode()
                        json.loads(text, parse_constant=_refuse), (name, event.event_id)
    assert ours > 10


def _refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is not JSON")


def _is_a_strangers(event: Any) -> bool:
    """Whether its payloads came from outside, where tests send rubbish on purpose."""
    return event.WhichOneof("attributes") in {
        "workflow_execution_started_event_attributes",
        "workflow_execution_signaled_event_attributes",
    }


def _payloads(message: Message) -> Iterator[Payload]:
    """All payloads, however deep."""
    if isinstance(message, Payload):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if not field.is_repeated:
            yield from _payloads(value)
        elif field.message_type.GetOptions().map_entry:
            for item in value.values():
                if isinstance(item, Message):
                    yield from _payloads(item)
        else:
            for item in value:
                yield from _payloads(item)
