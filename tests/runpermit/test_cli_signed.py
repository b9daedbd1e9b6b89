"""`approve --sign` and `restore --sign`: what was printed is what is signed."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gate.permits.signatures import Signatures
from runpermit.client import RunpermitClient
from runpermit.config import ApprovalSettings
from runpermit.models import Decision, Statement, Verb
from tests.gate.conftest import serving_ioc
from tests.runpermit.gate_process import SETTINGS, Gate
from tests.runpermit.test_cli_left import LINE, _wrote
from tests.signing import Keys

# Each command is a process of its own and takes a second.
pytestmark = [pytest.mark.slow, pytest.mark.parts]
Ran = subprocess.CompletedProcess[str]
Cli = Callable[..., Ran]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


@pytest.fixture
def cli(server: Any, tmp_path: Path, keys: Keys) -> Cli:
    def run(*arguments: str) -> Ran:
        known = {"COLUMNS": "80", "HOME": str(tmp_path)}
        hidden = {"SSH_AUTH_SOCK"}
        return subprocess.run(
            [sys.executable, "-m", "runpermit.cli", *arguments, "--address", server.address],
            capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False,
            stdin=subprocess.DEVNULL,
            env={name: v for name, v in os.environ.items() if name not in hidden} | known
            | {"RUNPERMIT_SIGNING_KEY": str(keys.private("ann"))},
        )  # fmt: skip

    return run


def waiting(cli: Cli, task: str) -> str:
    ran = cli("run", "--query", "q", "--task", task, "--no-wait", "--json")
    return str(json.loads(ran.stdout)["id"])


def received(server: Any, name: str) -> Decision:
    handle = server.client.get_workflow_handle(name)

    async def ask() -> Decision:
        decision: Decision = await handle.query("received", result_type=Decision)
        return decision

    found = server.call(ask)
    assert isinstance(found, Decision)
    return found


def signer(keys: Keys, decision: Decision, binds: Any, verb: Verb) -> str:
    """Who signed, as the gate finds it."""
    file = keys.folder / "allowed"
    file.write_text(keys.line("ann") + keys.line("other"))
    file.chmod(0o644)
    statement = Statement(
        workflow_id=binds.workflow_id,
        first_run_id=binds.first_run_id,
        sha256=decision.sha256 or "",
        decision=verb,
    )
    signatures = Signatures(ApprovalSettings(allowed_signers=file))
    assert decision.signature is not None
    return asyncio.run(signatures.signer(statement, decision.signature, None)).name


def pending(server: Any, name: str, what: str) -> Any:
    async def ask() -> Any:
        client = await RunpermitClient.connect(server.address)
        return await getattr(client.handle(name), what)()

    return asyncio.run(ask())


def test_it_signs_by_itself_where_the_rule_says_so(cli: Cli, server: Any, keys: Keys) -> None:
    name = waiting(cli, "ask signed")
    question = pending(server, name, "pending_approval")
    ran = cli("approve", name, "--yes", "--key", str(keys.private("other")))
    assert ran.returncode == 0, ran.stderr
    assert f"Signing approve of {question.revision} with {keys.private('other')}, SHA256:" in (
        ran.stderr
    )
    assert "write_channel('SR:HCM1', 0.2)" in ran.stderr
    decision = received(server, name)
    assert (decision.sha256, decision.operator) == (question.sha256, None)
    assert signer(keys, decision, question.binds, Verb.APPROVE) == "other"


@pytest.mark.parametrize("how", [(), ("--sign",), ("--sign", "--identity", "ann@lab")])
def test_else_where_it_is_told_to(cli: Cli, server: Any, keys: Keys, how: tuple[str, ...]) -> None:
    name = waiting(cli, "ask")
    question = pending(server, name, "pending_approval")
    assert cli("approve", name, "--yes", *how).returncode == 0
    decision = received(server, name)
    if not how:
        assert decision.signature is None
        assert decision.operator is not None
        return
    assert decision.operator == (how[-1] if "--identity" in how else None)
    assert signer(keys, decision, question.binds, Verb.APPROVE) == "ann"


def test_a_few_digits_do_not_stand_for_what_is_signed(cli: Cli, server: Any) -> None:
    name = waiting(cli, "ask signed")
    question = pending(server, name, "pending_approval")
    few = cli("approve", name, "--sha256", question.revision)
    assert few.returncode == 2
    assert "write_channel('SR:HCM1', 0.2)" in few.stderr
    assert "There is no terminal to ask on" in few.stderr
    assert "all 64 digits" in " ".join(few.stderr.split())
    all_of_them = cli("approve", name, "--sha256", question.sha256)
    assert all_of_them.returncode == 0
    assert "write_channel" not in all_of_them.stderr


def test_what_is_signed_is_what_is_printed_not_what_waits(cli: Cli, server: Any) -> None:
    name = waiting(cli, "forge")
    ran = cli("approve", name, "--yes", "--sign")
    assert ran.returncode == 1
    assert "write_channel('SR:HCM1', 99)" in ran.stderr
    assert pending(server, name, "pending_approval") is not None


def test_without_a_key_nothing_is_sent(cli: Cli, server: Any, tmp_path: Path) -> None:
    name = waiting(cli, "ask signed")
    ran = cli("approve", name, "--yes", "--key", str(tmp_path / "none"), "--json")
    assert ran.returncode == 2
    assert "There is no SSH key at" in json.loads(ran.stdout)["error"]["message"]
    assert pending(server, name, "pending_approval") is not None


def test_a_restore_is_signed_likewise(cli: Cli, server: Any, keys: Keys) -> None:
    name = waiting(cli, "leave changed signed")
    question = pending(server, name, "pending_restore")
    assert cli("restore", name, "--yes").returncode == 0
    decision = received(server, name)
    assert signer(keys, decision, question.binds, Verb.RESTORE) == "ann"


def test_to_leave_needs_no_signature(cli: Cli, server: Any) -> None:
    name = waiting(cli, "leave changed signed")
    assert cli("leave", name, "--yes").returncode == 0
    assert received(server, name).signature is None


def test_a_restore_at_the_gate_itself_is_signed_over_what_it_lists(
    cli: Cli, gate: Gate, keys: Keys
) -> None:
    signers = keys.folder / "allowed"
    signers.write_text(keys.line("ann"))
    signers.chmod(0o644)
    with serving_ioc() as ioc:
        asyncio.run(ioc.set("T:AO", 1))
        asyncio.run(_wrote(gate))
        (gate.folder / "limits.json").write_text('{"T:AO": {"min_interval": 0}}')
        gate.start(
            SETTINGS.replace("[approval]", f'name_servers = ["127.0.0.1:{ioc.port}"]\n[approval]')
            .replace('"claimed"', f'"signed"\nallowed_signers = "{signers}"')
        )  # fmt: skip
        here = ("--config", str(gate.settings))
        ran = cli("restore", "gone", "--yes", *here, "--key", str(keys.private("eve")))
        assert ran.returncode == 1
        assert "may not sign here now" in ran.stderr
        assert asyncio.run(ioc.value("T:AO")) == 1
        ran = cli("restore", "gone", "--yes", *here)
        assert ran.returncode == 0, ran.stderr
        assert "T:AO" in ran.stderr
        assert "Signing restore of" in ran.stderr
        assert asyncio.run(ioc.value("T:AO")) == 0
        assert LINE not in cli("pending", *here).stdout
        told = cli("audit", "gone", *here).stdout
        assert "RESTORE REFUSED" in told
        assert "restore begun, asked for by ann (signed SHA256:" in told
