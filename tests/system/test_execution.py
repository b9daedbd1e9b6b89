"""An execution from request to result, by every door that is open."""

import json
from typing import Any

from runpermit.models import (
    DecisionWay,
    ExecutionMode,
    FollowOutcome,
    Isolation,
    PlanKind,
    Stage,
    Verb,
    WriteOutcome,
)

TASK = "Read the beam current and the orbit, and plot them."
STEP = """\
start = float(read_channel("SR:HCM2:SP"))
write_channel("SR:HCM2:SP", -0.2)
write_channel("SR:HCM2:SP", -0.1)
results = {"start": start, "end": float(read_channel("SR:HCM2:SP"))}
"""


async def test_a_generated_program_that_only_reads_runs_without_approval(
    house: Any, ring: Any
) -> None:
    before = ring.puts()
    handle = await house.start(
        user_query="How is the beam?",
        task_objective="Measure the beam current and plot it.",
        execution_folder_name="beam",
    )
    result = await house.result(handle)
    state = await house.state(handle)
    success = result.execution_result
    assert 0 < success.results["mean_beam_current_mA"] < 1000
    assert "20/20" in success.stdout
    assert success.execution_time > 9
    assert [path.read_bytes()[:4] for path in success.figure_paths] == [b"\x89PNG"]
    assert json.loads((success.folder_path / "results.json").read_text()) == success.results
    assert success.notebook_path.is_file()
    assert success.folder_path.is_relative_to(house.stack.executions)
    assert [change.stage for change in state.stages] == [
        Stage.PREPARING,
        Stage.GENERATING,
        Stage.ANALYSING,
        Stage.EXECUTING,
        Stage.SUCCEEDED,
    ]
    assert state.is_successful
    assert state.requires_approval is None
    assert result.isolation is Isolation.FULL
    assert result.writes is None
    assert result.plan is None
    assert result.decisions == []
    assert ring.puts() == before


async def test_a_program_that_writes_waits_and_puts_exactly_what_was_approved(
    house: Any, ring: Any
) -> None:
    before = ring.puts()
    handle = await house.start(STEP)
    pending = await house.question(handle)
    assert ring.puts() == before
    assert pending.execution_mode is ExecutionMode.WRITE_ACCESS
    assert [(write.channel, write.new) for write in pending.plan.writes] == [
        ("SR:HCM2:SP", -0.2),
        ("SR:HCM2:SP", -0.1),
    ]
    assert pending.plan.kind is PlanKind.COMPLETE
    assert pending.warnings == [
        "journal not protected from the worker, which could change it.",
        "approver not verified: any signal can approve.",
    ]

    await handle.signal("approve", {"sha256": pending.sha256, "operator": "jd"})
    result = await house.result(handle)
    state = await house.state(handle)
    assert [a - b for a, b in zip(ring.puts(), before, strict=True)] == [0, 2, 0, 0, 0, 0, 0, 0]
    assert ring.get("SR:HCM2:SP") == [-0.1]
    assert result.execution_result.results["end"] == -0.1
    assert [(write.channel, write.new, write.outcome) for write in result.writes.writes] == [
        ("SR:HCM2:SP", -0.2, WriteOutcome.CONFIRMED),
        ("SR:HCM2:SP", -0.1, WriteOutcome.CONFIRMED),
    ]
    (decision,) = result.decisions
    assert (decision.verb, decision.operator, decision.via) == (
        Verb.APPROVE,
        "jd",
        DecisionWay.SIGNAL,
    )
    assert decision.accepted
    assert decision.sha256 == pending.sha256
    assert result.plan == pending.plan
    [verified] = result.verified
    assert (verified.channel, verified.accepted, verified.outcome) == (
        "SR:HCM2:SP", True, FollowOutcome.FOLLOWED,
    )  # fmt: skip
    assert [change.stage for change in state.stages] == [
        Stage.PREPARING,
        Stage.ANALYSING,
        Stage.REHEARSING,
        Stage.AWAITING_APPROVAL,
        Stage.APPLYING,
        Stage.VERIFYING,
        Stage.SUCCEEDED,
    ]


async def test_a_rejected_program_puts_nothing(house: Any, ring: Any) -> None:
    before = ring.puts()
    handle = await house.start(STEP)
    await house.question(handle)
    await handle.signal("reject", {"operator": "jd", "comment": "not during user beam"})
    error = await house.failure(handle)
    assert error.stage == "rejected"
    assert "jd" in str(error)
    assert "not during user beam" in str(error)
    assert ring.puts() == before


async def test_a_decision_by_update_is_answered(house: Any) -> None:
    handle = await house.start(STEP)
    pending = await house.question(handle)
    receipt = await handle.execute_update(
        "decide", {"decision": "approve", "sha256": pending.sha256, "operator": "jd"}
    )
    assert receipt["accepted"] is True
    assert receipt["revision"] == pending.revision
    assert (await house.result(handle)).decisions[0].via is DecisionWay.UPDATE


async def test_temporals_command_line_alone_starts_and_approves(
    house: Any, temporal: Any, ring: Any
) -> None:
    before = ring.puts()
    for name, answer in (("cli-named", "approve-{}"), ("cli-plain", "approve")):
        request = {
            "user_query": "step a corrector",
            "task_objective": "HCM2 to -0.1 A",
            "execution_folder_name": name,
            "approved_code": STEP,
        }
        started = temporal(
            *("workflow", "start", "--type", "PythonExecution", "--task-queue", "runpermit"),
            *("--workflow-id", name, "--input", json.dumps(request)),
        )
        assert started.returncode == 0, started.stderr
        handle = house.client.get_workflow_handle(name)
        pending = await house.question(handle)
        signal = answer.format(pending.revision)
        sent = temporal("workflow", "signal", "--workflow-id", name, "--name", signal)
        assert sent.returncode == 0, sent.stderr
        assert (await house.result(handle)).execution_result.results["end"] == -0.1
    assert ring.puts()[1] - before[1] == 4


async def test_an_approval_of_another_revision_does_not_count(house: Any, ring: Any) -> None:
    before = ring.puts()
    handle = await house.start(STEP)
    pending = await house.question(handle)
    await handle.signal("approve", {"sha256": "0" * 64})
    await handle.signal("approve-000000")
    await handle.signal("approve", "yes, please")
    await handle.signal("approve", args=[{"operator": "a"}, {"operator": "b"}])
    state = await house.state(handle)
    assert state.current_stage is Stage.AWAITING_APPROVAL
    assert not any(record.accepted for record in state.decisions)
    assert ring.puts() == before
    await handle.signal(f"reject-{pending.revision}")
    assert (await house.failure(handle)).stage == "rejected"


async def test_a_failed_program_is_told_to_the_model_until_retries_are_used_up(house: Any) -> None:
    handle = await house.start(
        task_objective="Run the recorded runtime error.",
        execution_folder_name="retries",
        retries=2,
    )
    error = await house.failure(handle)
    assert type(error).__name__ == "MaxAttemptsExceededError"
    assert error.max_attempts == 2
    assert len(error.error_chain) == 2
    assert "ZeroDivisionError" in error.error_chain[-1]
    names = sorted(path.name for path in (error.folder_path / "attempts").iterdir())
    assert names == [
        "01_generation.ipynb",
        "02_execution.ipynb",
        "03_generation.ipynb",
        "04_execution.ipynb",
    ]
    assert (error.folder_path / "notebook.ipynb").is_file()
