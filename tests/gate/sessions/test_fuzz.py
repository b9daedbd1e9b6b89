"""Whatever a client says, an IOC receives no write that was not judged and journalled."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gate.conftest import ROOT
from tests.gate.fuzz_circuit import Fuzzer, WatchingIoc, atheris

OPERATIONS = st.lists(
    st.tuples(*[st.integers(0, 255)] * 6, st.binary(max_size=47)).map(
        lambda operation: bytes(operation[:6]) + operation[6]
    ),
    max_size=15,
).map(b"".join)


@pytest.fixture(scope="module")
def fuzzer() -> Fuzzer:
    return Fuzzer(Path(tempfile.mkdtemp(prefix="gt")))


# What a client says: command, type, count, ids and size, as `fuzz_circuit.messages` reads them.
WRITE_9_5 = bytes([12, 6, 1, 0, 0, 128])
WRITE_10_5 = bytes([12, 6, 1, 0, 0, 130])


def test_the_fuzzer_reaches_the_ioc_and_the_judge(fuzzer: Fuzzer) -> None:
    written = []
    in_a_read_only_session = bytes([24, *WRITE_9_5[1:]])
    in_a_rehearsal = bytes([33, *WRITE_9_5[1:]])
    for operation in (WRITE_9_5, WRITE_10_5, in_a_read_only_session, in_a_rehearsal):
        fuzzer(operation * 2)
        written.append((WatchingIoc.writes, WatchingIoc.rehearsed))
    assert written == [(2, 0), (0, 0), (0, 0), (0, 2)]


@settings(max_examples=400, deadline=None)
@given(st.one_of(OPERATIONS, st.binary(max_size=300)))
def test_no_input_passes_the_judge(fuzzer: Fuzzer, data: bytes) -> None:
    fuzzer(data)


@pytest.mark.soak
@pytest.mark.skipif(atheris is None, reason="atheris has no wheel for this Python")
def test_no_input_that_coverage_leads_to_passes_the_judge() -> None:
    seconds = os.environ.get("FUZZ_SECONDS", "120")
    with tempfile.TemporaryDirectory() as corpus:
        seed = Path(corpus) / "seed"
        seed.write_bytes((WRITE_9_5 + WRITE_10_5) * 3)
        done = subprocess.run(
            [sys.executable, "-m", "tests.gate.fuzz_circuit", corpus, f"-max_total_time={seconds}",
             "-max_len=400", "-timeout=20", f"-artifact_prefix={corpus}/"],
            cwd=ROOT, capture_output=True, text=True, check=False,
            env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'client'}"},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-6000:]
