"""What ended executions left changed, as the gate of this host lists it: real gate, real IOC."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gate.journal.journal import Journal
from tests.gate.conftest import Ioc, serving_ioc
from tests.runpermit.gate_process import HOST, SETTINGS, Command, Gate, Ran

# Each command is a process of its own and takes a second.
pytestmark = [pytest.mark.slow, pytest.mark.parts]
CLOSED_PORT = "127.0.0.1:1"
LINE = "MACHINE LEFT CHANGED (execution ended): gone, T:AO, since 20"


async def _wrote(gate: Gate, execution: str = "gone") -> None:
    """As a gate's journal has it that saw 1 written to T:AO by an execution that is gone."""
    journal = Journal.open(gate.folder / "journal")
    identity = {"execution": execution, "permit": "ab" * 32, "session": "apply-1", "attempt": 1}
    await journal.write("permit_consumed", **identity, first_run_id="r", channels={"T:AO": ""})
    seq = await journal.write("write", **identity, channel="T:AO", old=0, new=1)
    journal.note("confirmed", permit="ab" * 32, of=seq, outcome="confirmed", read_back=1)
    await journal.write("session_closed", **identity, forwarded=1, completed=False)
    await journal.close()


@pytest.fixture
def machine(gate: Gate) -> Iterator[Ioc]:
    """An IOC whose T:AO was left at 1, and its gate, which was started since."""
    with serving_ioc() as ioc:
        asyncio.run(ioc.set("T:AO", 1))
        asyncio.run(_wrote(gate))
        servers = f'name_servers = ["127.0.0.1:{ioc.port}"]\n[approval]'
        (gate.folder / "limits.json").write_text('{"T:AO": {"min_interval": 0}}')
        gate.start(SETTINGS.replace("[approval]", servers))
        yield ioc


@pytest.fixture
def cli(server: Any, runpermit: Command) -> Callable[..., Ran]:
    return lambda *arguments: runpermit(*arguments, "--address", server.address)


@pytest.mark.usefixtures("machine")
def test_pending_doctor_and_inhibit_status_list_it(
    cli: Command, runpermit: Command, gate: Gate
) -> None:
    ran = cli("pending")
    assert LINE in ran.stdout
    assert re.search(r"T:AO, since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\n", ran.stdout)
    assert re.search(r"To put it back: runpermit restore gone --address \S+\n", ran.stdout)
    named = cli("pending", "--config", str(gate.settings)).stdout
    for verb in ("restore", "leave"):
        assert re.search(rf"runpermit {verb} gone --address \S+ --config {gate.settings}\n", named)
    (left,) = json.loads(cli("pending", "--json").stdout)["left"]
    assert (left["execution"], left["permit"], left["channels"]) == ("gone", "ab" * 32, ["T:AO"])
    # Where Temporal can't be asked, it is told all the same.
    for address in (cli, lambda *words: runpermit(*words, "--address", CLOSED_PORT)):
        status = address("inhibit", "status")
        assert (status.returncode, LINE in status.stdout) == (0, True)
        told = json.loads(address("inhibit", "status", "--json").stdout)
        assert [one["execution"] for one in told["left"]] == ["gone"]
        checks = json.loads(address("doctor", "--json").stdout)["checks"]
        (machine,) = [check for check in checks if check["name"] == "machine"]
        assert machine["verdict"] == "warn"
        assert LINE in machine["found"]
        assert "runpermit restore gone" in machine["remedy"]
    gate.stop()
    assert cli("pending").returncode == 0
    assert json.loads(cli("pending", "--json").stdout)["left"] == []


def test_restore_goes_to_the_gate_and_says_so(cli: Command, machine: Ioc) -> None:
    unasked = cli("restore", "gone")
    assert unasked.returncode == 2
    assert "MACHINE LEFT CHANGED: 1 channel, T:AO" in unasked.stderr
    assert "before 0, written 1, read" in unasked.stderr
    assert "answer what is shown with --yes" in unasked.stderr
    assert "--sha256" not in unasked.stderr
    assert asyncio.run(machine.value("T:AO")) == 1
    ran = cli("restore", "gone", "--yes", "--operator", "jd")
    assert ran.returncode == 0, ran.stderr
    assert "the gate of this host puts back" in ran.stderr
    assert "gate: T:AO: restored, reads 0" in ran.stdout
    assert "gate: everything is back" in ran.stdout
    assert asyncio.run(machine.value("T:AO")) == 0
    assert LINE not in cli("pending").stdout
    again = cli("restore", "gone", "--yes", "--json")
    assert again.returncode == 1
    assert "lists nothing" in json.loads(again.stdout)["error"]["message"]


def test_who_may_lift_an_inhibit_is_told_what_moves_the_machine_then(
    cli: Command, machine: Ioc
) -> None:
    assert "RESTORE" not in cli("inhibit", "on", "--reason", "a test").stdout
    with ThreadPoolExecutor() as beside:
        restoring = beside.submit(cli, "restore", "gone", "--yes")
        while "RESTORE WAITS: gone. It moves the machine" not in cli("inhibit", "status").stdout:
            assert not restoring.done(), restoring.result().stderr
        assert cli("pending").stdout.startswith("RESTORE WAITS: gone. It moves the machine")
        assert asyncio.run(machine.value("T:AO")) == 1
        cli("inhibit", "off")
        assert restoring.result().returncode == 0
    assert asyncio.run(machine.value("T:AO")) == 0
    assert "RESTORE" not in cli("inhibit", "status").stdout


def test_what_is_not_all_back_is_code_1_and_stays_listed(cli: Command, machine: Ioc) -> None:
    asyncio.run(machine.set("T:AO", 5))
    ran = cli("restore", "gone", "--yes", "--json")
    assert ran.returncode == 1
    (channel,) = json.loads(ran.stdout)["gate"]["restored"]["channels"]
    assert channel["outcome"] == "another_hand"
    assert LINE in cli("pending").stdout


def test_leave_goes_to_the_gate_and_writes_nothing(cli: Command, machine: Ioc) -> None:
    ran = cli("leave", "gone", "--yes", "--operator", "jd", "--json")
    assert ran.returncode == 0
    assert json.loads(ran.stdout) == {"id": "gone", "gate": {"was_listed": True}}
    assert asyncio.run(machine.value("T:AO")) == 1
    assert LINE not in cli("inhibit", "status").stdout


@pytest.mark.usefixtures("machine")
def test_an_execution_that_still_runs_is_asked_itself(cli: Command) -> None:
    ran = cli("run", "--query", "q", "--task", "ask", "--no-wait", "--json", "--id", "gone")
    assert ran.returncode == 5, ran.stderr
    assert LINE not in cli("pending").stdout
    assert LINE not in cli("inhibit", "status").stdout
    refused = cli("restore", "gone", "--yes", "--json")
    assert refused.returncode == 1
    message = json.loads(refused.stdout)["error"]["message"]
    assert "No restore waits in gone, but an approval of revision " in message
    assert cli("reject", "gone", "--reason", "r").returncode == 0


@pytest.fixture
def lost(cli: Command, gate: Gate) -> str:
    """The id of an execution that ended because its host did not tell what it wrote."""
    gate.settings.write_text(SETTINGS + HOST.format("demo"))
    ran = cli("run", "--query", "q", "--task", "lose demo", "--json")
    return str(json.loads(ran.stdout)["id"])


def _pending(cli: Command) -> list[str]:
    return [one["id"] for one in json.loads(cli("pending", "--json").stdout)["pending"]]


def test_what_nobody_could_ask_about_is_listed_with_what_to_do(cli: Command, lost: str) -> None:
    told = cli("pending").stdout
    assert "MACHINE STATE UNKNOWN: host demo, 1 channel: T:AO" in told
    assert re.search(rf"On demo, once it is back: runpermit audit {lost} --address", told)
    assert f"runpermit leave {lost}" in told


def test_it_is_listed_until_its_gate_tells_or_somebody_leaves_it(
    cli: Command, gate: Gate, lost: str
) -> None:
    gate.start(SETTINGS + HOST.format("another"))
    elsewhere = cli("leave", lost, "--yes", "--json")
    assert elsewhere.returncode == 1
    assert "Ask on the host where it wrote" in json.loads(elsewhere.stdout)["error"]["message"]
    assert lost in _pending(cli)
    # A journal that tells nothing of it is no word for it.
    gate.settings.write_text(SETTINGS + HOST.format("demo"))
    assert lost in _pending(cli)
    assert cli("restore", lost, "--yes").returncode == 1
    ran = cli("leave", lost, "--yes", "--operator", "jd")
    assert ran.returncode == 0, ran.stderr
    assert f"MACHINE STATE UNKNOWN: {lost}" in ran.stderr
    assert lost not in _pending(cli)


def test_what_the_journal_of_its_gate_tells_is_listed_as_what_it_is(
    cli: Command, gate: Gate, lost: str
) -> None:
    asyncio.run(_wrote(gate, lost))
    gate.start(SETTINGS + HOST.format("demo"))
    told = json.loads(cli("pending", "--json").stdout)
    assert lost not in [one["id"] for one in told["pending"]]
    assert [one["execution"] for one in told["left"]] == [lost]
