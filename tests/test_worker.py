import inspect
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any, cast

import pytest
from temporalio.client import Client

import workflows.steps
from demo.stack import free_port
from kernels.interface import Kernels
from runpermit.config import Settings, WorkerSettings
from runpermit.payloads import data_converter
from worker import build_house, build_workers

pytestmark = pytest.mark.parts

ROOT = Path(__file__).parents[1]
SETTINGS = '[kernels]\nisolation = "none"\n'


def worker(config: Path, *, process: Any = subprocess.run, **environment: str) -> Any:
    known = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RUNPERMIT_", "TEMPORAL_"))
    }
    return process(
        [sys.executable, "worker.py", "--config", str(config)],
        cwd=ROOT,
        env=known | {"TEMPORAL_ADDRESS": "127.0.0.1:1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "runpermit.toml"
    path.write_text(SETTINGS)
    return path


def test_a_settings_mistake_is_exit_2_with_file_and_key(config: Path) -> None:
    config.write_text(SETTINGS + "[limits]\nenabeld = true\n")
    done = worker(config)
    assert done.returncode == 2
    assert str(config) in done.stderr
    assert "limits.enabeld" in done.stderr
    assert "Traceback" not in done.stderr


def test_settings_that_are_not_safe_are_exit_2_with_a_line_each(config: Path) -> None:
    config.write_text(SETTINGS + "[control_system]\nwrites_enabled = true\n")
    done = worker(config)
    assert done.returncode == 2
    for setting in ("kernels.isolation", "approval.assurance"):
        assert f"runpermit worker: {setting}" in done.stderr


def test_a_root_that_takes_no_folder_is_exit_2_with_its_path(config: Path) -> None:
    root = config.with_name("a-file")
    root.write_text("")
    config.write_text(f'{SETTINGS}[executions]\nroot = "{root}/executions"\n')
    done = worker(config)
    assert done.returncode == 2
    assert f"runpermit worker: {root} is not a folder" in done.stderr
    assert "executions.root" in done.stderr


def test_a_broken_temporal_toml_is_exit_2(config: Path, tmp_path: Path) -> None:
    broken = tmp_path / "temporal.toml"
    broken.write_text("[profile\n")
    done = worker(config, TEMPORAL_CONFIG_FILE=str(broken))
    assert done.returncode == 2
    assert "temporal.toml" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_temporal_that_does_not_answer_is_exit_4_with_its_address(config: Path) -> None:
    done = worker(config)
    assert done.returncode == 4
    assert "127.0.0.1:1" in done.stderr
    assert "TEMPORAL_ADDRESS" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def temporal() -> Iterator[str]:
    port = free_port()
    program = Path(sys.executable).parent / "temporal"
    address = f"127.0.0.1:{port}"
    command = [str(program), "server", "start-dev", "--headless", "--ip", "127.0.0.1"]
    with subprocess.Popen(
        [*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            for _ in range(100):
                asked = subprocess.run(
                    [str(program), "operator", "cluster", "health", "--address", address],
                    capture_output=True,
                    check=False,
                )
                if asked.returncode == 0:
                    break
                time.sleep(0.1)
            yield address
        finally:
            server.terminate()


async def test_every_step_of_the_lifecycle_has_its_activity_on_one_queue(temporal: str) -> None:
    client = await Client.connect(temporal, data_converter=data_converter)
    settings = Settings(worker=WorkerSettings(host="here"))
    kernels = cast("Kernels", None)  # nothing runs
    shared, own = build_workers(client, build_house(settings, kernels, temporal))
    here, there = (
        [step.__name__ for step in worker.config()["activities"]] for worker in (shared, own)
    )
    steps = [
        name for name, step in vars(workflows.steps).items() if inspect.iscoroutinefunction(step)
    ]

    assert (shared.task_queue, own.task_queue) == ("runpermit", "runpermit@here")
    assert sorted(here + there) == sorted(steps)
    # What needs no host's folder, kernel or gate session.
    assert here == ["prepare", "analyse"]


async def test_systemd_waits_for_longer_than_what_writes_may_take_to_end(temporal: str) -> None:
    client = await Client.connect(temporal, data_converter=data_converter)
    settings = Settings(worker=WorkerSettings(host="here"))
    house = build_house(settings, cast("Kernels", None), temporal)
    _, own = build_workers(client, house)
    to_its_end = own.config()["graceful_shutdown_timeout"].total_seconds()
    unit = ConfigParser(strict=False)
    unit.read(ROOT / "docker/runpermit-worker.service")
    service = unit["Service"]

    assert to_its_end == settings.timeouts.run + 60
    assert service.getfloat("TimeoutStopSec") > to_its_end
    # Else its kernels would be told to end with it, and what they apply be cut off.
    assert service["KillMode"] == "mixed"


def test_a_kernel_environment_without_python_is_exit_2(
    config: Path, temporal: str, tmp_path: Path
) -> None:
    config.write_text(SETTINGS + f'environment = "{tmp_path}"\n')
    done = worker(config, TEMPORAL_ADDRESS=temporal)
    assert done.returncode == 2
    assert f"kernels.environment = {tmp_path}" in done.stderr
    assert "Traceback" not in done.stderr


def test_where_code_cannot_be_isolated_it_is_exit_2_with_cause_and_remedy(
    config: Path, temporal: str
) -> None:
    config.write_text('[kernels]\nisolation = "full"\n')
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        # As on a host that makes no user namespaces.
        broken = Path(folder) / "bwrap"
        broken.write_text("#!/bin/sh\necho 'bwrap: Creating new namespace failed' >&2\nexit 1\n")
        broken.chmod(0o755)
        path = f"{folder}{os.pathsep}{os.environ['PATH']}"
        done = worker(config, TEMPORAL_ADDRESS=temporal, PATH=path)
    assert done.returncode == 2
    assert 'kernels.isolation = "full", but code can\'t be isolated on this host' in done.stderr
    assert "Creating new namespace failed" in done.stderr
    assert "which can then only read" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_namespace_that_temporal_does_not_have_is_exit_2(config: Path, temporal: str) -> None:
    done = worker(config, TEMPORAL_ADDRESS=temporal, TEMPORAL_NAMESPACE="nowhere")
    assert done.returncode == 2
    assert "no namespace nowhere" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_says_when_it_is_ready_and_ends_cleanly_when_told(
    config: Path, temporal: str, number: signal.Signals
) -> None:
    running = worker(config, process=subprocess.Popen, TEMPORAL_ADDRESS=temporal)
    with running:
        try:
            assert running.stdout.readline() == "ready\n"
            started = time.monotonic()
            running.send_signal(number)
            assert running.wait(30) == 0
            assert time.monotonic() - started < 12
        finally:
            running.kill()
        lines = [json.loads(line) for line in running.stderr.read().splitlines()]
    ready = next(line for line in lines if line["event"] == "worker ready")
    assert "runpermit" in ready["queues"]
    assert ready["address"] == temporal
    # Without a limits file writes are refused, and it says so at once.
    assert any("limits are not available" in line["event"] for line in lines)
