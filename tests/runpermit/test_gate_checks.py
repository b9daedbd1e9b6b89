"""What the doctor says of approvals at a real gate."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runpermit.cli.checks import Check
from runpermit.cli.gate_checks import check_gate
from runpermit.config import load_settings
from tests.runpermit.gate_process import SETTINGS, Gate

pytestmark = pytest.mark.parts

SIGNED = SETTINGS.replace('"claimed"', '"signed"\nallowed_signers = "allowed_signers"')


@pytest.fixture
def approval(gate: Gate) -> Callable[..., Check]:
    def approval(settings: str, workers: str | None = None) -> Check:
        gate.start(settings)
        file = gate.folder / "workers.toml"
        file.write_text(workers or settings)
        (found,) = [one for one in check_gate(load_settings(file)) if one.name == "approval"]
        return found

    return approval


def test_below_signed_the_gate_takes_the_workers_word(approval: Callable[..., Check]) -> None:
    found = approval(SETTINGS)
    assert found.verdict == "warn"
    assert found.found == "claimed: the gate takes the worker's word for who approved"


def test_gate_and_worker_that_ask_for_different_things(approval: Callable[..., Check]) -> None:
    found = approval(SETTINGS, SIGNED)
    assert found.verdict == "fail"
    assert "needs claimed approvals, this worker asks for signed ones" in found.found


def test_gate_and_worker_that_need_different_persons(
    gate: Gate, approval: Callable[..., Check]
) -> None:
    file = gate.folder / "allowed_signers"
    file.write_text("")
    file.chmod(0o600)
    two = SIGNED.replace('"signed"', '"signed"\npersons = 2')
    found = approval(two, SIGNED)
    assert found.verdict == "fail"
    assert "approval.persons" in found.remedy


def test_where_nobody_can_sign_it_says_why(approval: Callable[..., Check]) -> None:
    found = approval(SIGNED)
    assert found.verdict == "fail"
    assert "allowed_signers (approval.allowed_signers) can't be read" in found.found


def test_a_gate_without_ssh_keygen(
    approval: Callable[..., Check], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    found = approval(SIGNED)
    assert found.verdict == "fail"
    assert "Install openssh-client" in found.found


def test_who_could_change_the_signers_is_named(gate: Gate, approval: Callable[..., Check]) -> None:
    """The test asks as the gate's own user."""
    file: Path = gate.folder / "allowed_signers"
    file.write_text("")
    file.chmod(0o644)
    found = approval(SIGNED)
    assert found.verdict == "warn"
    assert "could change who may sign" in found.found
