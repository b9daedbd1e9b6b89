"""The demo as its user has it: one process, three tasks, and nothing left behind."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.system]


class Demo:
    """`python -m demo` in a session of its own; every process of it knows its folder."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.output = directory.with_suffix(".txt")
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")
        }
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "demo"],
                cwd=ROOT,
                env=environment | {"DEMO_APPROVE": "1", "DEMO_DIRECTORY": str(directory)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self.output.read_text()

    def wait_for(self, words: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while words not in self.text:
            assert time.monotonic() < end, f"{words!r} was not printed:\n{self.text}"
            assert self.process.poll() is None, self.text
            time.sleep(0.02)

    def processes(self) -> list[str]:
        """What runs with the demo's folder in its environment, and the kernels of those."""
        marks = (f"DEMO_DIRECTORY={self.directory}\0".encode(), f"{self.directory}/".encode())
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                environment = (entry / "environ").read_bytes() + b"\0"
                place = os.fsencode((entry / "cwd").readlink()) + b"/"
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if command and any(mark in environment or mark in place for mark in marks):
                found.append(f"{entry.name} {command!r}")
        return found


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    running = Demo(tmp_path / "demo")
    try:
        yield running
    finally:
        left = [int(line.split()[0]) for line in running.processes()]
        running.process.kill()
        running.process.wait()
        for process in left:
            if process != running.process.pid:
                os.kill(process, signal.SIGKILL)


@pytest.fixture
def gone(demo: Demo) -> Callable[[], None]:
    """Asserts that nothing of the demo runs any more; a kernel may take a moment."""

    def check() -> None:
        end = time.monotonic() + 20
        while (left := demo.processes()) and time.monotonic() < end:
            time.sleep(0.1)
        assert left == []

    return check


def test_all_tasks_run_and_everything_is_taken_down(demo: Demo, gone: Callable[[], None]) -> None:
    demo.wait_for("execution ")
    assert len(demo.processes()) >= 5  # itself, Temporal, the ring, the model, the worker
    assert demo.process.wait(120) == 0, demo.text
    gone()
    text = demo.text
    assert re.search(r"Temporal Web UI: http://127\.0\.0\.1:\d+$", text, re.MULTILINE)
    assert re.search(
        r"runpermit doctor --address 127\.0\.0\.1:\d+ --config \S+\.toml$", text, re.MULTILINE
    )
    assert 'base_url = "http://' in (demo.directory / "runpermit.toml").read_text()
    assert re.search(r"/namespaces/default/workflows/\S+/user-metadata", text)
    revision = re.search(r"sending the signal approve-([0-9a-f]{6})", text)
    assert revision
    assert re.search(
        rf"runpermit approve (?=.*--address 127\.0\.0\.1:\d+)(?=.*--sha256 {revision[1]})", text
    )
    assert "mean_beam_current_mA" in text
    assert "orbit_change_mm" in text
    ramp, stopped = text.split("\n2. ")[1].split("\n3. ")
    assert re.search(r"IT WAITS FOR YOU: 1 setpoint, 10 writes, .*\+0\.200 A.* Plan COMPLETE", ramp)
    assert ramp.count("Written:  SR:HCM1:SP: ") == 10
    assert ramp.count(", confirmed") == 10
    assert "Verified: SR:HCM1:SP and SR:HCM1:RB: followed" in ramp
    assert "No result" not in ramp
    assert "MACHINE LEFT CHANGED: 1 channel, SR:HCM4:SP" in stopped
    assert re.search(r"sending the signal restore-[0-9a-f]{6}", stopped)
    assert re.search(r"Put back:  SR:HCM4:SP: restored, reads 0\.27", stopped)
    assert "No result" in stopped
    notebooks = [
        demo.directory / line.removeprefix("Notebook: ")
        for line in map(str.strip, text.splitlines())
        if line.startswith("Notebook: ")
    ]
    assert len(notebooks) == 2
    assert all(notebook.is_file() for notebook in notebooks)
    assert re.search(r"Figure: +\S+\.png", text)
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGINT, "Starting Temporal"),
        pytest.param(signal.SIGTERM, "Starting Temporal", marks=pytest.mark.soak),
        pytest.param(signal.SIGHUP, "Temporal Web UI", marks=pytest.mark.soak),
        pytest.param(signal.SIGTERM, "• executing", marks=pytest.mark.soak),
        (signal.SIGINT, "IT WAITS FOR YOU"),
        pytest.param(signal.SIGINT, "• applying", marks=pytest.mark.soak),
    ],
)
def test_whoever_ends_it_everything_is_taken_down(
    demo: Demo, gone: Callable[[], None], number: signal.Signals, moment: str
) -> None:
    demo.wait_for(moment)
    if moment == "Starting Temporal":
        time.sleep(0.4)
    demo.process.send_signal(number)
    assert demo.process.wait(40) == 130, demo.text
    gone()
    assert "everything was taken down" in demo.text
    assert "Traceback" not in demo.text


def test_an_impatient_ctrl_c_takes_everything_down_as_well(
    demo: Demo, gone: Callable[[], None]
) -> None:
    demo.wait_for("execution ")
    for _ in range(6):
        demo.process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        if demo.process.poll() is not None:
            break
    assert demo.process.wait(40) == 130, demo.text
    gone()
