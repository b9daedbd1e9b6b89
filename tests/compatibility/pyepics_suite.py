"""The pyepics project's own tests, directly at its IOC and through the gate: `make compatibility`.

They come from the sdist of the version that is installed. Exits 1 where a test that passes directly
fails through the gate, but for those in EXPECTED, each with its reason.
"""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import tarfile
import tempfile
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path

from bench.permits import declared_permit, opening
from demo.ring import client_environment, ioc_environment
from demo.stack import free_port, process, toml
from gate.client import GateClient, SessionMode
from kernels.environment import INSIDE

EXPECTED: dict[str, str] = {}
SECONDS = 600
ARRAY_BYTES = "20100300"
LENIENT_GATE = "tests.gate.lenient_gate"
_RESULT = re.compile(r"^(\S+::\S+) (PASSED|FAILED|ERROR|SKIPPED)", re.MULTILINE)


def sources(directory: Path) -> Path:
    """The unpacked sdist of the installed pyepics."""
    wanted = f"pyepics=={version('pyepics')}"
    options = ("--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(directory))
    subprocess.run([sys.executable, "-m", "pip", "download", *options, wanted], check=True)
    (archive,) = directory.glob("pyepics*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(directory, filter="data")
    (folder,) = directory.glob("pyepics*/tests")
    return folder


def settings(directory: Path, port: int) -> Path:
    """A gate that lets everything be written which the tests write."""
    limits = directory / "limits.json"
    # Fields are written by their exact names alone.
    fields = [f"PyTest:{name}" for name in ("ao1.DESC", "ao1.PROC")]
    fields += [f"PyTest:subArr{n}.{field}" for n in range(1, 5) for field in ("NELM", "INDX")]
    limits.write_text(json.dumps({name: {"min_interval": 0} for name in fields}))
    config = directory / "runpermit.toml"
    config.write_text(
        toml(
            {
                "control_system": {
                    "type": "mock",
                    "writes_enabled": True,
                    "name_servers": [f"127.0.0.1:{port}"],
                },
                "approval": {"assurance": "claimed"},
                "limits": {"file": str(limits), "allow_unlisted": True},
                "gate": {
                    "socket": str(directory / "g.sock"),
                    "journal": str(directory / "journal"),
                    "circuits_per_session": 64,
                    "circuits_per_ioc": 512,
                    "array_bytes": 32 * 1024 * 1024,
                },
            }
        )
    )
    return config


def suite_environment(name_server: str) -> dict[str, str]:
    """Where a client finds the tests' channels."""
    # The tests start `python` for others of them.
    path = f"{INSIDE / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    own = {"EPICS_CA_MAX_ARRAY_BYTES": ARRAY_BYTES, "PATH": path, "PYTHONPATH": ""}
    return os.environ | client_environment(name_server) | own


def test_files(tests: Path) -> list[str]:
    """The names of the files with tests."""
    return sorted(file.name for file in tests.glob("test_*.py"))


async def run_suite(tests: Path, name_server: str) -> dict[str, str]:
    """What became of each test; one process for each file, as the project runs them."""
    results: dict[str, str] = {}
    log = tests / f"output-{name_server.replace(':', '-')}.txt"
    for file in test_files(tests):
        suite = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-o", "addopts="),
            *("-c", os.devnull, "--rootdir", str(tests), "--timeout", "60", file),
            cwd=tests,
            env=suite_environment(name_server),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(suite.communicate(), SECONDS)
        text = output.decode(errors="replace")
        with log.open("a") as kept:
            kept.write(text)
        results |= {name.rpartition("/")[2]: result for name, result in _RESULT.findall(text)}
    return results


async def compare(directory: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The results directly and through the gate."""
    tests = sources(directory)
    port = free_port()
    at_port = os.environ | ioc_environment(port) | {"EPICS_CA_MAX_ARRAY_BYTES": ARRAY_BYTES}
    ioc = (sys.executable, "-m", "epicscorelibs.ioc")
    setup = tests / "Setup"
    databases = directory / "all.db"
    databases.write_text(
        (setup / "pydebug.db").read_text().replace("$(P)", "PyTest:")
        + (setup / "pyclearcache.db").read_text().replace("$(P)", "PyTestClearCache:")
    )
    async with AsyncExitStack() as stack:
        start = stack.enter_async_context
        await start(
            process(
                "ioc",
                *(*ioc, "-d", str(databases)),
                directory=directory,
                environment=at_port,
                ready=None,
            )
        )
        await asyncio.sleep(2)
        await start(
            process(
                "simulator",
                *(sys.executable, str(setup / "simulator.py")),
                directory=directory,
                environment=suite_environment(f"127.0.0.1:{port}"),
                ready=None,
            )
        )
        command = (sys.executable, "-m", LENIENT_GATE, "--config", str(settings(directory, port)))
        await start(process("gate", *command, directory=directory, environment=os.environ))
        await asyncio.sleep(3)
        direct = await run_suite(tests, f"127.0.0.1:{port}")
        listener = socket.create_server(("127.0.0.1", 0))
        gate = GateClient(directory / "g.sock")
        about = opening(SessionMode.APPLY, await declared_permit(gate, "PyTest:ao1"))
        session = await start(gate.session(about, listener))
        gated = await run_suite(tests, f"127.0.0.1:{listener.getsockname()[1]}")
        report = await session.close()
        print(
            f"gate: {report.forwarded} writes forwarded, {report.refused} refused, {report.notes}"
        )
        for refusal in report.refusals[:5]:
            print(f"  refused: {refusal.channel} = {refusal.value}: {refusal.reason}")
        return direct, gated


def main() -> int:
    """Run both and tell the difference."""
    directory = Path(tempfile.mkdtemp(prefix="rp-pyepics-", dir="/tmp"))
    direct, gated = asyncio.run(compare(directory))
    for name, results in (("directly", direct), ("through the gate", gated)):
        passed = sum(result == "PASSED" for result in results.values())
        print(f"{name}: {passed} of {len(results)} passed")
    worse = [
        test for test, result in direct.items() if result == "PASSED" != gated.get(test, "missing")
    ]
    for test in sorted(worse):
        print(f"fails through the gate alone: {test}: {EXPECTED.get(test, 'no reason is known')}")
    for test, result in sorted(direct.items()):
        if result != "PASSED":
            print(f"fails directly as well: {test} ({result})")
    print(f"Output: {directory}")
    return int(any(test not in EXPECTED for test in worse))


if __name__ == "__main__":
    sys.exit(main())
