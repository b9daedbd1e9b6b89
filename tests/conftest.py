"""What holds for all tests: missing tools are told by name, and CI allows no skip.

`make test` runs several processes, each with whole files, so that a file's tests share its servers.
A test that drives real parts and fails is run once more, and the summary says so (RERUN): a stalled
machine fails it once, a broken product each time. Look at what it tells, it may be a race.
All must collect the same: parametrize over no set, for its order changes from process to process.
"""

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# Temporal's servers come from PyPI and lie beside the interpreter, activated or not.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
# Fixtures behind which a server, a kernel or an IOC runs.
_REAL_PARTS = {
    "server",
    "lab",
    "idle_lab",
    "ring",
    "start_ring",
    "gate",
    "client",
    "serve",
    "serve_bytes",
}
# So long a test that failed waits before it is run again.
_REST_SECONDS = 5
_TOOLS = {
    "chromium": "the Web UI tests are skipped; apt-get install chromium",
    "ssh-keygen": "the tests of signed decisions fail; apt-get install openssh-client",
}


def pytest_report_header() -> list[str]:
    return [
        f"missing: {tool} ({what})" for tool, what in _TOOLS.items() if shutil.which(tool) is None
    ]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if "kernels" in item.path.parts or fixtures & _REAL_PARTS:
            item.add_marker("parts")
        if any(item.get_closest_marker(mark) for mark in ("parts", "system")):
            item.add_marker(pytest.mark.flaky(reruns=1, reruns_delay=_REST_SECONDS))
    if not os.environ.get("SOAK"):
        items[:] = [item for item in items if item.get_closest_marker("soak") is None]
    if shutil.which("chromium") is None:
        for item in items:
            if item.get_closest_marker("chromium") is not None:
                item.add_marker(pytest.mark.skip(reason="chromium is missing"))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    # Outside of pytest-timeout's wrapper: to wait for one's turn takes none of a test's time.
    with _turn(item):
        return (yield)


@contextmanager
def _turn(item: pytest.Item) -> Iterator[None]:
    """Let a test marked `alone` run while the other processes run none."""
    if not hasattr(item.config, "workerinput"):
        yield  # the only process
        return
    shared = Path(item.config.option.basetemp).parent
    with (shared / "turn").open("w") as turn, (shared / "running").open("w") as running:
        # Who wants to be alone keeps the turn, so that nobody overtakes it while it waits.
        fcntl.flock(turn, fcntl.LOCK_EX)
        if item.get_closest_marker("alone"):
            fcntl.flock(running, fcntl.LOCK_EX)
        else:
            fcntl.flock(running, fcntl.LOCK_SH)
            fcntl.flock(turn, fcntl.LOCK_UN)
        try:
            yield
        finally:
            # By hand: a process that the test forked may hold the files open.
            fcntl.flock(running, fcntl.LOCK_UN)
            fcntl.flock(turn, fcntl.LOCK_UN)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if os.environ.get("ALLOW_NO_SKIP") and terminalreporter.stats.get("skipped"):
        terminalreporter.section("skipped tests are not allowed here", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped") if reporter else None
    if os.environ.get("ALLOW_NO_SKIP") and skipped and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
