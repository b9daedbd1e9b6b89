"""`runpermit inhibit`, and the doctor's look at the gate: against the real gate."""

import json
import re
import threading
from typing import Any

import pytest

from tests.runpermit.gate_process import HOST, READ_ONLY, SETTINGS, Command, Gate, Ran

pytestmark = [pytest.mark.slow, pytest.mark.parts]


def told(ran: Ran) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(ran.stdout)
    return document


def test_on_asks_nothing_and_says_what_is_in_force_and_off_lifts_it(
    gate: Gate, runpermit: Command
) -> None:
    gate.start()
    ran = runpermit("inhibit", "on", "--operator", "jd", "--reason", "vacuum \x1b[2J")
    assert ran.returncode == 0
    assert ran.stdout.startswith("INHIBITED: All writes of this host are inhibited by jd since ")
    assert "vacuum \\x1b[2J. To lift it: runpermit inhibit off\nSwitch: on by jd at " in ran.stdout
    assert "Inhibit channel: none is set (gate.inhibit_channel)\n" in ran.stdout
    inhibit = told(runpermit("inhibit", "status", "--json"))["inhibit"]
    assert (inhibit["on"], inhibit["by"], inhibit["channel"]) == (True, "jd", None)
    ran = runpermit("inhibit", "off", "--operator", "mk")
    assert ran.returncode == 0
    assert ran.stdout.startswith("Not inhibited: writes pass where limits and approval allow them.")
    assert re.search(r"Switch: off by mk at [\d-]{10} [\d:]{8} UTC\n", ran.stdout)


def test_what_would_write_on_an_inhibited_host_is_shown_with_it_and_not_approved(
    gate: Gate, runpermit: Command, server: Any
) -> None:
    gate.start(SETTINGS + HOST.format("demo"))
    name, address = f"asked-before-{gate.folder.name}", ("--address", server.address)
    runpermit("run", "--query", "q", "--task", "ask", "--no-wait", "--id", name, *address)
    while not told(shown := runpermit("show", name, "--json", *address)).get("pending"):
        assert shown.returncode in {0, 4}, shown.stdout
    assert told(shown)["inhibited"] is None
    assert "INHIBITED" not in runpermit("show", name, *address).stdout
    runpermit("inhibit", "on", "--operator", "jd", "--reason", "vacuum")
    refusal = "INHIBITED NOW: All writes of this host are inhibited by jd since "
    assert runpermit("show", name, *address).stdout.startswith(refusal)
    assert "vacuum" in told(runpermit("show", name, "--json", *address))["inhibited"]
    refused = runpermit("approve", name, "--yes", *address)
    assert refused.returncode == 1
    assert refused.stderr.startswith(refusal)
    assert "To lift it: runpermit inhibit off" in refused.stderr
    assert "Nothing was sent, and the question goes on waiting" in refused.stderr
    assert told(runpermit("show", name, "--json", *address))["pending"]
    # Another host's gate is none of this question's business.
    gate.settings.write_text(SETTINGS + HOST.format("another"))
    approved = runpermit("approve", name, "--yes", *address)
    assert approved.returncode == 0
    assert approved.stderr.startswith(refusal)


def test_it_lasts_over_a_restart_of_the_gate_and_over_its_crash(
    gate: Gate, runpermit: Command
) -> None:
    gate.start()
    runpermit("inhibit", "on", "--operator", "jd", "--reason", "vacuum")
    for kill in (False, True):
        gate.stop(kill=kill)
        gate.start()
        inhibit = told(runpermit("inhibit", "status", "--json"))["inhibit"]
        assert (inhibit["on"], inhibit["by"], inhibit["reason"]) == (True, "jd", "vacuum")


def test_off_does_not_hide_that_the_inhibit_channel_still_refuses(
    gate: Gate, runpermit: Command
) -> None:
    gate.start(SETTINGS + 'inhibit_channel = "SR:PERMIT"\ninhibit_value = 1\n')
    ran = runpermit("inhibit", "off")
    assert ran.returncode == 0
    assert "INHIBITED: the inhibit channel SR:PERMIT" in ran.stdout
    assert "Switch: off by " in ran.stdout
    assert "Inhibit channel: SR:PERMIT\n" in ran.stdout


@pytest.mark.parametrize("verb", ["on", "off", "status"])
def test_no_gate_is_code_4_with_the_command_that_starts_it(
    gate: Gate, runpermit: Command, verb: str
) -> None:
    ran = runpermit("inhibit", verb)
    assert ran.returncode == 4
    assert f"{gate.folder}/gate.sock" in ran.stderr
    assert "python -m gate" in ran.stderr
    assert told(runpermit("inhibit", verb, "--json"))["error"]["exit_code"] == 4


def test_on_waits_for_a_gate_that_is_being_started_again(gate: Gate, runpermit: Command) -> None:
    starting = threading.Timer(1.0, gate.start)
    starting.start()
    ran = runpermit("inhibit", "on", "--operator", "jd")
    starting.join()
    assert ran.returncode == 0, ran.stderr
    assert "INHIBITED" in ran.stdout


def test_on_without_a_gate_says_that_nothing_is_inhibited(runpermit: Command) -> None:
    ran = runpermit("inhibit", "on")
    assert ran.returncode == 4
    assert "NOT INHIBITED" in ran.stderr


def test_the_socket_can_be_named_where_the_settings_cannot_be_read(
    gate: Gate, runpermit: Command
) -> None:
    gate.start()
    gate.settings.write_text("no settings")
    ran = runpermit("inhibit", "on")
    assert ran.returncode == 2
    assert "--socket PATH" in ran.stderr
    assert runpermit("inhibit", "on", "--socket", f"{gate.folder}/gate.sock").returncode == 0


def test_what_the_gate_could_not_keep_is_code_1_and_tells_what_is_in_force(
    gate: Gate, runpermit: Command
) -> None:
    (gate.folder / "journal" / "inhibit.json").mkdir(parents=True)
    gate.start()
    assert "can't be read" in runpermit("inhibit", "status").stdout
    ran = runpermit("inhibit", "off")
    assert ran.returncode == 1
    assert "Writes stay refused" in ran.stderr
    assert "INHIBITED" in runpermit("inhibit", "status").stdout


def doctors(runpermit: Command) -> dict[str, dict[str, str]]:
    ran = runpermit("doctor", "--json", "--address", "127.0.0.1:1")
    return {check["name"]: check for check in told(ran)["checks"]}


def test_the_doctor_tells_what_is_in_force_at_the_gate(gate: Gate, runpermit: Command) -> None:
    gate.start()
    checks = doctors(runpermit)
    assert checks["gate"]["verdict"] == "ok"
    assert "lets writes pass" in checks["gate"]["found"]
    assert checks["gate's limits"]["found"].startswith(f"1 channels in {gate.folder}/limits.json")
    assert checks["inhibit"]["verdict"] == "ok"
    assert checks["journal"]["found"].startswith("journal not protected from the worker")
    assert checks["journal"]["verdict"] == "warn"
    runpermit("inhibit", "on", "--operator", "jd")
    (gate.folder / "limits.json").write_text("{")
    checks = doctors(runpermit)
    assert checks["inhibit"]["verdict"] == "warn"
    assert "by jd" in checks["inhibit"]["found"]
    assert checks["gate's limits"]["verdict"] == "fail"


def test_the_doctor_compares_the_gate_s_limits_with_the_worker_s(
    gate: Gate, runpermit: Command
) -> None:
    gate.start()
    (gate.folder / "others.json").write_text("{}")
    gate.settings.write_text(SETTINGS.replace("limits.json", "others.json"))
    check = doctors(runpermit)["gate's limits"]
    assert check["verdict"] == "warn"
    assert "LIMITS DIFFER" in check["found"]
    assert "others.json" in check["found"]


def test_on_a_real_machine_an_unprotected_journal_fails_as_its_writes_would(
    gate: Gate, runpermit: Command
) -> None:
    gate.start(SETTINGS.replace('"mock"', '"epics"'))
    check = doctors(runpermit)["journal"]
    assert check["verdict"] == "fail"
    assert "gate.shared_user = true" in check["found"]
    gate.stop()
    gate.start(SETTINGS.replace('"mock"', '"epics"') + "shared_user = true\n")
    # It is the gate's own settings that count.
    gate.settings.write_text(SETTINGS.replace('"mock"', '"epics"'))
    assert doctors(runpermit)["journal"]["verdict"] == "warn"


def test_no_gate_is_told_with_its_remedy_and_fails_where_writes_are_enabled(
    gate: Gate, runpermit: Command
) -> None:
    missing = doctors(runpermit)["gate"]
    assert missing["verdict"] == "fail"
    assert "python -m gate" in missing["found"]
    gate.settings.write_text(READ_ONLY)
    assert doctors(runpermit)["gate"]["verdict"] == "warn"


def test_a_gate_that_lets_nothing_write_is_told_and_fails_where_writes_are_enabled(
    gate: Gate, runpermit: Command
) -> None:
    gate.start(READ_ONLY)
    assert "control_system.writes_enabled = false" in runpermit("inhibit", "status").stdout
    assert doctors(runpermit)["gate"]["verdict"] == "ok"
    gate.settings.write_text(SETTINGS)
    checks = doctors(runpermit)
    assert checks["gate"]["verdict"] == "fail"
    assert "lets nothing write" in checks["gate"]["found"]
