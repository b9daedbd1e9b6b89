"""What stays behind: no secret, and nothing but strict JSON, in any history, file or log."""

from typing import Any

import pytest

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
    house: Any, recorded_model: Any, canary: str, look_for_the_key: Any
) -> None:
    await house.run(PRINT_ENVIRONMENT)
    error = await house.run_to_failure(task_objective="Run the recorded runtime error.", retries=1)
    assert "ZeroDivisionError" in str(error)
    # The key was in use, so that there was something to find.
    assert recorded_model.requests[-1].headers["authorization"] == f"Bearer {canary}"

    assert await look_for_the_key() > 10
    files = {path.name for path in house.stack.directory.rglob("*") if path.is_file()}
    assert {"worker.log", "notebook.ipynb", "environment.json"} <= files


async def test_a_key_that_is_kept_is_found(house: Any, canary: str, look_for_the_key: Any) -> None:
    kept = house.stack.directory / "kept"
    kept.write_text(f"key={canary}")
    with pytest.raises(AssertionError, match="kept"):
        await look_for_the_key()
    kept.unlink()


async def test_every_payload_of_every_history_is_strict_json(
    house: Any, look_for_strict_json: Any
) -> None:
    await house.run("results = {'nan': float('nan'), 'inf': [float('inf')]}")
    await house.run_to_failure("raise ValueError(float('nan'))")
    assert await look_for_strict_json() > 10
