"""Settle, verify and restore as steps: the journal's word, whatever an apply left in the folder."""

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from temporalio.testing import ActivityEnvironment

from activities.apply import Apply
from activities.restoring import Restoring
from activities.settling import Applied, Settling
from gate.client import GateVerdict
from runpermit.errors import CodeRuntimeError, ServiceUnavailableError, WorkflowError
from runpermit.models import (
    GateStatus,
    Isolation,
    LeftChange,
    PythonExecutionSuccess,
    RestoreReport,
    Verdict,
    WriteOutcome,
    WriteRecord,
)
from tests.gate.giving_permits import planned
from workflows.steps import (
    ApplyTask,
    Executed,
    InForce,
    Reached,
    ReachTask,
    RestoreTask,
    Settled,
    SettleTask,
    VerifyTask,
)

HERE = "SR:HCM1:SP"


def asked(kind: Any, folder: Any, permit: Any) -> Any:
    """What is asked about a permit."""
    return kind(folder=folder, permit=permit.id, execution=permit.revision.workflow_id)


class Gate:
    """Tells `verdict`, and notes what it was asked."""

    def __init__(self, verdict: Verdict) -> None:
        self.asked: list[tuple[str, str]] = []
        self._verdict = verdict

    async def verdict(self, permit: str, execution: str) -> GateVerdict:
        self.asked.append((permit, execution))
        record = WriteRecord(channel=HERE, old=0.0, new=0.1, outcome=WriteOutcome.CONFIRMED)
        change = LeftChange(channel=HERE, before=0.0, written=0.1, reads=0.1)
        return GateVerdict(
            verdict=self._verdict,
            forwarded=1,
            writes=[record],
            changes=[change],
            reason="The lease ran out.",
        )


@pytest.fixture
def settled(desk: Any) -> Callable[..., Awaitable[tuple[Settled, Gate]]]:
    """What becomes of a task where the gate gives this verdict."""

    async def settle(task: SettleTask, verdict: Verdict) -> tuple[Settled, Gate]:
        gate = Gate(verdict)
        house = dataclasses.replace(desk.house(), gate=cast("Any", gate))
        found: Settled = await ActivityEnvironment().run(Settling(house).settle, task)
        return found, gate

    return settle


@pytest.fixture
def task(desk: Any) -> SettleTask:
    folder = desk.folder()
    return asked(SettleTask, folder, desk.permit(desk.revision()))


def executed(desk: Any, task: SettleTask) -> Executed:
    folder = task.folder
    success = PythonExecutionSuccess(
        results={"done": True},
        stdout="",
        execution_time=1,
        folder_path=folder.path,
        notebook_path=folder.notebook,
        notebook_link="",
    )
    status = GateStatus(
        inhibited=None,
        writes=True,
        limits_error=None,
        limits_enabled=True,
        limits_sha256="0" * 64,
        journal_protected=True,
    )
    now = InForce(gate=status, limits=desk.house().limits.status())
    return Executed(success=success, isolation=Isolation.FULL, in_force=now, warnings=[])


def leave(task: SettleTask, executed: Executed, permit: str | None = None) -> None:
    applied = Applied(permit=permit or task.permit, executed=executed)
    task.folder.applied.write_text(applied.model_dump_json())


async def test_the_gate_s_word_is_passed_on(settled: Any, task: SettleTask) -> None:
    found, gate = await settled(task, Verdict.PARTIAL)

    assert gate.asked == [(task.permit, task.execution)]
    assert found.verdict is Verdict.PARTIAL
    assert found.writes.forwarded == 1
    assert [record.new for record in found.writes.writes] == [0.1]
    assert found.writes.journal == task.folder.journal
    assert [change.channel for change in found.changes] == [HERE]
    assert found.reason == "The lease ran out."
    assert found.executed is None


async def test_a_host_is_reached_where_its_gate_answers(desk: Any, task: SettleTask) -> None:
    class Answers:
        def __init__(self, *errors: Exception) -> None:
            self.errors = list(errors)

        async def status(self) -> GateStatus:
            for error in self.errors:
                raise error
            return executed(desk, task).in_force.gate.model_copy(update={"inhibited": "by jd"})

    def reached(gate: Answers) -> Awaitable[Reached]:
        house = dataclasses.replace(desk.house(), gate=cast("Any", gate))
        return ActivityEnvironment().run(Settling(house).reach, ReachTask(execution="e"))

    assert (await reached(Answers())).inhibited == "by jd"
    with pytest.raises(ServiceUnavailableError):
        await reached(Answers(ServiceUnavailableError("gone", "gate")))


async def test_what_an_apply_left_is_told_where_the_gate_says_that_it_completed(
    desk: Any, settled: Any, task: SettleTask
) -> None:
    left = executed(desk, task)
    leave(task, left)
    found, _ = await settled(task, Verdict.COMPLETED)

    assert found.executed == left


@pytest.mark.parametrize(
    "verdict", [verdict for verdict in Verdict if verdict is not Verdict.COMPLETED]
)
async def test_nothing_that_lies_in_the_folder_outweighs_the_gate_s_word(
    desk: Any, settled: Any, task: SettleTask, verdict: Verdict
) -> None:
    leave(task, executed(desk, task))
    found, _ = await settled(task, verdict)

    assert found.verdict is verdict
    assert found.executed is None


async def test_what_another_permit_left_is_not_told_as_this_one_s(
    desk: Any, settled: Any, task: SettleTask
) -> None:
    leave(task, executed(desk, task), "f" * 64)
    found, _ = await settled(task, Verdict.COMPLETED)

    assert found.executed is None


@pytest.mark.parametrize("content", ["", "{", "null", '{"permit": "x"}', '{"permit": NaN}'])
async def test_what_can_t_be_read_counts_as_lost_and_the_verdict_stands(
    settled: Any, task: SettleTask, content: str
) -> None:
    task.folder.applied.write_text(content)
    found, _ = await settled(task, Verdict.COMPLETED)

    assert found.verdict is Verdict.COMPLETED
    assert found.executed is None


async def test_what_was_never_left_counts_as_lost_and_the_verdict_stands(
    settled: Any, task: SettleTask
) -> None:
    found, _ = await settled(task, Verdict.COMPLETED)

    assert found.verdict is Verdict.COMPLETED
    assert found.executed is None


async def test_without_a_gate_nobody_knows_and_it_is_asked_again(desk: Any) -> None:
    house = desk.house()
    task = asked(SettleTask, desk.folder(), desk.permit(desk.revision()))
    with pytest.raises(ServiceUnavailableError) as raised:
        await ActivityEnvironment().run(Settling(house).settle, task)
    assert raised.value.should_retry_execution()
    verify = VerifyTask(folder=task.folder, permit=task.permit, execution=task.execution)
    with pytest.raises(ServiceUnavailableError):
        await ActivityEnvironment().run(Settling(house).verify, verify)
    restore = RestoreTask(folder=task.folder, execution="wf", operator=None)
    with pytest.raises(ServiceUnavailableError):
        await ActivityEnvironment().run(Restoring(house).restore, restore)


# With a real gate, kernel and machine.


@pytest.fixture
def apply(running: Any, temporal: Any, gate: Any) -> Callable[..., Awaitable[ApplyTask]]:
    """Applies a program to correctors that stand at zero; the task."""
    gate.put(HERE, 0)

    async def run(code: str) -> ApplyTask:
        task: ApplyTask = running.apply_task(
            running.folder(), code, planned([(HERE, 0.1), (HERE, 0.4)])
        )
        environment = ActivityEnvironment(temporal)
        environment.info = dataclasses.replace(
            environment.info, workflow_id=task.permit.revision.workflow_id
        )
        try:
            await environment.run(Apply(running.house()).apply, task)
        except CodeRuntimeError:
            assert "1 / 0" in code
        return task

    return run


async def settle(running: Any, task: ApplyTask) -> Settled:
    question = asked(SettleTask, task.folder, task.permit)
    found: Settled = await ActivityEnvironment().run(Settling(running.house()).settle, question)
    return found


WRITES = "write_channel('SR:HCM1:SP', 0.1)\nwrite_channel('SR:HCM1:SP', 0.4)\n"


async def test_an_apply_that_completed_is_told_and_verified(running: Any, apply: Any) -> None:
    task = await apply(WRITES + "results = {'done': True}")
    found = await settle(running, task)

    assert found.verdict is Verdict.COMPLETED
    assert found.writes.forwarded == 2
    assert found.executed is not None
    assert found.executed.success.results == {"done": True}
    # Asked again, it says the same.
    assert found.read_at is not None
    again = await settle(running, task)
    assert again.model_copy(update={"read_at": found.read_at}) == found
    question = asked(VerifyTask, task.folder, task.permit)
    verified = await ActivityEnvironment().run(Settling(running.house()).verify, question)
    [channel] = verified.channels
    assert (channel.channel, channel.written, channel.reads) == (HERE, 0.4, 0.4)
    assert channel.accepted


async def test_a_permit_that_was_settled_before_it_was_used_is_void(
    running: Any, temporal: Any, gate: Any
) -> None:
    gate.put(HERE, 0)
    task = running.apply_task(running.folder(), WRITES, planned([(HERE, 0.1), (HERE, 0.4)]))
    found = await settle(running, task)
    environment = ActivityEnvironment(temporal)
    environment.info = dataclasses.replace(
        environment.info, workflow_id=task.permit.revision.workflow_id
    )
    with pytest.raises(WorkflowError, match="void"):
        await environment.run(Apply(running.house()).apply, task)

    assert found.verdict is Verdict.NOT_OPENED
    assert gate.get(HERE) == 0


async def test_what_failed_after_a_write_is_put_back(running: Any, apply: Any, gate: Any) -> None:
    task = await apply(WRITES + "1 / 0")
    found = await settle(running, task)
    assert found.verdict is Verdict.PARTIAL
    assert found.executed is None
    [change] = found.changes
    assert (change.channel, change.before, change.written, change.reads) == (HERE, 0, 0.4, 0.4)

    wish = RestoreTask(
        folder=task.folder, execution=task.permit.revision.workflow_id, operator="jd"
    )
    report: RestoreReport = await ActivityEnvironment().run(
        Restoring(running.house()).restore, wish
    )
    [channel] = report.channels
    assert (channel.channel, channel.outcome, channel.reads) == (HERE, "restored", 0)
    assert report.complete
    assert gate.get(HERE) == 0
    # Asked again, nothing is written.
    gate.put(HERE, 0.2)
    await ActivityEnvironment().run(Restoring(running.house()).restore, wish)
    assert gate.get(HERE) == 0.2


async def test_another_hand_s_change_is_respected(running: Any, apply: Any, gate: Any) -> None:
    task = await apply(WRITES + "1 / 0")
    gate.put(HERE, -0.3)
    wish = RestoreTask(
        folder=task.folder, execution=task.permit.revision.workflow_id, operator="jd"
    )
    report = await ActivityEnvironment().run(Restoring(running.house()).restore, wish)

    assert [channel.outcome for channel in report.channels] == ["another_hand"]
    assert gate.get(HERE) == -0.3
