"""Stop and audit on the host of a real gate, where nothing else answers."""

import json

import pytest

from tests.runpermit.gate_process import Command, Gate

pytestmark = [pytest.mark.slow, pytest.mark.parts]

NOWHERE = ("--address", "127.0.0.1:1")
STOP = ("stop", "scan-42", "--reason", "beam lost", "--operator", "jd", *NOWHERE)


@pytest.fixture(autouse=True)
def _running(gate: Gate) -> None:
    gate.start()


def test_a_stop_counts_at_the_gate_alone_and_the_journal_tells_it(runpermit: Command) -> None:
    stopped = runpermit(*STOP)
    assert stopped.returncode == 4
    assert "gate: no session was open" in stopped.stdout
    told = runpermit("audit", "scan-42")
    assert told.returncode == 0, told.stderr
    assert "STOPPED by jd: beam lost" in told.stdout
    assert "of the journal hold." in told.stdout


def test_a_stop_of_all_reaches_the_gate(runpermit: Command) -> None:
    ran = runpermit("stop", "--all", "--reason", "vacuum", "--json", *NOWHERE)
    assert json.loads(ran.stdout)["gate"] == {"stopped": [], "missed": {}, "error": None}


def test_an_audit_of_a_changed_journal_says_where_it_breaks(gate: Gate, runpermit: Command) -> None:
    assert runpermit(*STOP).returncode == 4
    assert runpermit(*STOP).returncode == 4
    [file] = (gate.folder / "journal").glob("*.jsonl")
    file.write_bytes(file.read_bytes().replace(b"beam lost", b"beam kept", 1))
    told = runpermit("audit", "scan-42", "--json")
    assert told.returncode == 1
    assert "one of them was changed" in json.loads(told.stdout)["chain"]["broken"]
    assert "JOURNAL BROKEN" in runpermit("audit", "scan-42").stdout
