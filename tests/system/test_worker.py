"""The worker's own start, its settings, and what goes on where a part of the house is missing."""
# ruff: noqa: ASYNC240  (a test may wait for its own disk)

import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from demo.model_server import ModelServer, Reply
from demo.stack import ROOT
from runpermit.models import Stage

STEP = 'write_channel("SR:HCM1:SP", 0.1)\nresults = {}'


def test_a_worker_without_temporal_says_where_it_looked(start_worker: Any) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    ended = start_worker(TEMPORAL_ADDRESS=address)
    assert ended.returncode == 4
    assert f"Temporal is not reachable at {address}" in ended.stderr
    assert "TEMPORAL_ADDRESS" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("[executions]\nrot = 'x'\n", "executions.rot"),
        ("[timeouts]\nrun = -1\n", "timeouts.run"),
        ("[approval\n", "line 1"),
        ("[control_system]\nwrites_enabled = 'perhaps'\n", "control_system.writes_enabled"),
        ("[kernels]\nisolation = 'some'\n", "kernels.isolation"),
    ],
)
def test_a_worker_with_a_wrong_setting_names_key_and_file(
    start_worker: Any, tmp_path: Path, settings: str, said: str
) -> None:
    file = tmp_path / "runpermit.toml"
    file.write_text(settings)
    ended = start_worker("--config", str(file))
    assert ended.returncode == 2
    assert said in ended.stderr
    assert str(file) in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ('[control_system]\ntype = "mock"\nwrites_enabled = true\n', "approval.assurance"),
        ('[approval]\nassurance = "claimed"\nmode = "disabled"\n[control_system]\ntype = "mock"\n'
         "writes_enabled = true\n", "approval.mode"),
        ('[control_system]\nwrites_enabled = true\n[approval]\nassurance = "claimed"\n',
         'kernels.isolation = "none" never writes'),
    ],
)  # fmt: skip
def test_a_worker_does_not_start_with_writes_that_nobody_guards(
    start_worker: Any, tmp_path: Path, settings: str, said: str
) -> None:
    file = tmp_path / "runpermit.toml"
    file.write_text(settings + '[kernels]\nisolation = "none"\n')
    ended = start_worker("--config", str(file))
    assert ended.returncode == 2
    assert said in ended.stderr


def test_a_worker_refuses_a_variable_that_is_no_setting(start_worker: Any) -> None:
    ended = start_worker(RUNPERMIT_WRITES_ENABLED="true")
    assert ended.returncode == 2
    assert "RUNPERMIT_WRITES_ENABLED" in ended.stderr


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def limits_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("limits") / "limits.json"
    file.write_text((ROOT / "demo" / "limits.json").read_text())
    return file


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def keyless(open_house: Any, worker_of: Any, limits_file: Path) -> AsyncIterator[Any]:
    """A house without a key for the model, and with a limits file of its own."""
    house = await open_house(
        "keyless", {"limits": {"file": str(limits_file)}}, {"OPENAI_API_KEY": None}
    )
    async with worker_of(house):
        yield house


async def test_without_a_model_key_given_code_runs(keyless: Any, read_current: str) -> None:
    assert (await keyless.run(read_current)).execution_result.results["current"] > 0


async def test_without_a_model_key_generation_fails_and_names_it(keyless: Any) -> None:
    error = await keyless.run_to_failure(task_objective="Measure the beam current.")
    assert type(error).__name__ == "ContainerConfigurationError"
    assert "OPENAI_API_KEY" in str(error)


async def test_a_broken_limits_file_refuses_writes_until_it_is_mended(
    keyless: Any, limits_file: Path, read_current: str, ring: Any
) -> None:
    good = limits_file.read_text()
    before = ring.puts()
    try:
        limits_file.write_text('{\n  "SR:HCM1:SP": {"min_value": -1,}\n}\n')
        error = await keyless.run_to_failure(STEP)
        assert type(error).__name__ == "ContainerConfigurationError"
        assert str(limits_file) in str(error)
        assert "line 2" in str(error)
        assert (await keyless.run(read_current)).execution_result.results["current"] > 0

        limits_file.write_text(json.dumps({"SR:HCM1:SP": {"min_value": 2, "max_value": 1}}))
        error = await keyless.run_to_failure(STEP)
        assert "SR:HCM1:SP" in str(error)

        limits_file.unlink()
        error = await keyless.run_to_failure(STEP)
        assert str(limits_file) in str(error)
    finally:
        limits_file.write_text(good)
    handle = await keyless.start(STEP)
    await keyless.question(handle)
    assert ring.puts() == before
    await handle.signal("reject")
    await keyless.failure(handle)


async def test_a_constant_beyond_its_limits_is_refused_before_anybody_is_asked(
    keyless: Any, ring: Any
) -> None:
    before = ring.puts()
    handle = await keyless.start('write_channel("SR:HCM1:SP", 7.5)\nresults = {}')
    error = await keyless.failure(handle)
    assert type(error).__name__ == "ChannelLimitsViolationError"
    assert (error.channel_address, error.attempted_value) == ("SR:HCM1:SP", 7.5)
    assert error.max_value == 5.0
    stages = [change.stage for change in (await keyless.state(handle)).stages]
    assert Stage.AWAITING_APPROVAL not in stages
    assert ring.puts() == before


async def test_a_key_that_the_endpoint_refuses_is_not_repeated_by_our_error(
    open_house: Any, worker_of: Any, canary: str
) -> None:
    """Endpoints quote the key that they refuse."""
    message = f"Incorrect API key provided: {canary}."
    reply = Reply(status=401, error={"message": message, "code": "invalid_api_key"})
    with ModelServer(replies=[reply]) as endpoint:
        house = await open_house("refused-key", environment={"OPENAI_BASE_URL": endpoint.base_url})
        async with worker_of(house):
            error = await house.run_to_failure(task_objective="Measure the beam current.")
    assert type(error).__name__ == "ContainerConfigurationError"
    assert "OPENAI_API_KEY" in str(error)
    assert canary not in repr(vars(error))
