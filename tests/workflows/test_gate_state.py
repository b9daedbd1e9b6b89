"""What is in force at the gate, on every question and result."""

import contextlib
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from runpermit.errors import ServiceUnavailableError, WorkflowError
from runpermit.models import (
    GateStatus,
    Isolation,
    Verdict,
    WriteOutcome,
    WriteRecord,
    WriteReport,
)
from workflows.steps import Settled

INHIBITED = "All writes of this host are inhibited by jd. To lift it: runpermit inhibit off"


def status(**fields: Any) -> GateStatus:
    open_gate = {
        "inhibited": None,
        "writes": True,
        "limits_error": None,
        "limits_enabled": True,
        "limits_sha256": "",
        "journal_protected": True,
    }
    return GateStatus(**(open_gate | fields))


async def asked(lab: Any) -> Any:
    lab.script.programs = [lab.programs.write]
    return await (await lab.start()).pending()


async def test_where_nothing_is_wrong_nothing_is_warned_of(lab: Any) -> None:
    pending = await asked(lab)
    assert pending.warnings == ["approver not verified: any signal can approve."]


async def test_a_question_tells_first_that_the_host_is_inhibited(lab: Any) -> None:
    lab.script.gates = [status(), status(inhibited=INHIBITED)]
    pending = await asked(lab)
    first = pending.warnings[0]
    assert first.startswith(f"INHIBITED: every write is refused. {INHIBITED}")
    assert "inhibit off. So it was when this was asked; runpermit inhibit status" in first


async def test_a_question_tells_that_the_worker_could_change_the_journal(lab: Any) -> None:
    lab.script.gates = [status(journal_protected=False)]
    pending = await asked(lab)
    assert any("journal not protected from the worker" in line for line in pending.warnings)


LIMITS_WARNINGS = [
    ({"limits_sha256": "0" * 64}, "LIMITS DIFFER: the gate enforces another limits database"),
    ({"limits_enabled": False}, "LIMITS OFF at the gate"),
]


@pytest.mark.parametrize(("gate", "warning"), LIMITS_WARNINGS)
async def test_a_question_tells_of_other_limits_at_the_gate_and_binds_those(
    lab: Any, gate: dict[str, Any], warning: str
) -> None:
    lab.script.gates = [status(), status(**gate)]
    pending = await asked(lab)
    assert any(line.startswith(warning) for line in pending.warnings)
    assert pending.binds.limits_sha256 == lab.script.gate(1).limits_sha256


@pytest.mark.parametrize(("gate", "warning"), LIMITS_WARNINGS)
async def test_a_result_tells_of_other_limits_at_the_gate(
    lab: Any, gate: dict[str, Any], warning: str
) -> None:
    lab.script.gates = [status(), status(), status(**gate)]
    lab.script.programs = [lab.programs.write]
    running = await lab.start()
    await running.pending()
    await running.signal("approve")
    warnings = (await running.result()).analysis_warnings
    assert any(line.startswith(warning) for line in warnings)


async def test_a_result_tells_the_gate_s_state_of_its_run_and_not_of_the_question(
    lab: Any,
) -> None:
    lab.script.gates = [status(inhibited=INHIBITED), status(inhibited=INHIBITED), status()]
    result = await (await lab.start()).result()
    assert not any("INHIBITED" in line for line in result.analysis_warnings)


async def test_a_result_tells_that_the_host_is_inhibited(lab: Any) -> None:
    lab.script.gates = [status(inhibited=INHIBITED, journal_protected=False)]
    result = await (await lab.start()).result()
    assert any(INHIBITED in line for line in result.analysis_warnings)
    # A run that only read has nothing in the journal that could be changed.
    assert not any("journal" in line for line in result.analysis_warnings)


@pytest.mark.parametrize("isolation", list(Isolation))
async def test_a_question_about_reading_says_where_there_is_no_sandbox(
    lab: Any, isolation: Isolation
) -> None:
    lab.script.deployment = {"approval_mode": "all_code", "isolation": isolation}
    pending = await (await lab.start()).pending()
    warned = any("It only reads" in line for line in pending.warnings)
    assert warned is (isolation is Isolation.NONE)


async def test_a_result_tells_what_was_written_and_what_is_doubtful(lab: Any) -> None:
    record = WriteRecord(
        channel="SR:HCM1:SP", old=0.0, new=0.1, outcome=WriteOutcome.DIFFERS, read_back=0.09
    )
    doubt = "Write not confirmed: SR:HCM1:SP"

    async def settled(task: Any) -> Settled:
        [applied] = lab.script.tasks("apply")
        executed = lab.script.executed(
            applied, {"done": True}, warnings=[doubt], isolation=Isolation.CONTAINER
        )
        plain: Settled = lab.script.told(Verdict.COMPLETED, executed=executed)
        report = WriteReport.of([record], 1, task.folder.journal)
        return plain.model_copy(update={"writes": report})

    lab.script.gates = [status(journal_protected=False)]
    lab.script.verdicts = [settled]
    result = await (await lab.approved()).result()

    assert result.writes.writes == [record]
    assert result.writes.forwarded == 1
    assert result.isolation is Isolation.CONTAINER  # where it ran, not where it was prepared
    assert doubt in result.analysis_warnings
    assert any("journal not protected" in line for line in result.analysis_warnings)
    [conclusion] = lab.script.tasks("conclude")
    assert conclusion.isolation is Isolation.CONTAINER
    assert conclusion.writes == result.writes


@pytest.mark.parametrize(
    ("verdict", "wrote"),
    [
        (Verdict.COMPLETED, True),
        (Verdict.PARTIAL, True),
        (Verdict.UNKNOWN, True),
        (Verdict.NOTHING_FORWARDED, False),
        (Verdict.NOT_OPENED, False),
    ],
)
async def test_the_notebook_hears_what_the_journal_says_was_written(
    lab: Any, verdict: Verdict, *, wrote: bool
) -> None:
    lab.script.applies = [WorkflowError("the kernel died", "applying")]
    lab.script.verdicts = [lab.script.told(verdict)]
    running = await lab.approved()
    with contextlib.suppress(WorkflowFailureError):
        await running.handle.result()
    [conclusion] = lab.script.tasks("conclude")
    assert conclusion.wrote is wrote
    assert conclusion.verdict is verdict


async def test_a_run_that_only_reads_has_no_report_of_writes(lab: Any) -> None:
    assert (await (await lab.start()).result()).writes is None


async def test_a_gate_that_does_not_answer_is_waited_for(lab: Any) -> None:
    down = ServiceUnavailableError("The gate does not answer", "gate")
    lab.script.preparations, lab.script.drafts = [down, None], [down, None]
    await asked(lab)
    assert len(lab.script.tasks("prepare")) == 2
    assert len(lab.script.tasks("draft")) == 2
