"""The lifecycle of an execution: generate → analyse → rehearse → approve → apply → verify."""

import asyncio
from typing import Any

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from runpermit.errors import (
        ChannelLimitsViolationError,
        PlanOutdatedError,
        PythonExecutorException,
        WorkflowError,
    )
    from runpermit.models import (
        AnalysisResult,
        ExecutionMode,
        Plan,
        PlanKind,
        PythonServiceResult,
        Stage,
    )
    from runpermit.models.wire import MAX_REVISIONS
    from runpermit.names import WORKFLOW
    from runpermit.plans.comparison import changes
    from workflows.approval import approval_required
    from workflows.refusals import hidden_from_rehearsal, refuse_writes, refused_in_reading
    from workflows.work import Approval, Work


@workflow.defn(name=WORKFLOW)
class PythonExecution(Work):
    """One request from start to result.

    Input of any shape ends with a typed error, and no message can make a workflow task fail.
    """

    @workflow.run
    async def run(self, *inputs: Any) -> PythonServiceResult:  # noqa: ANN401
        """Live the lifecycle, and end it properly whatever comes between."""
        lifecycle = asyncio.create_task(self._lifecycle(inputs))
        self._desk.on_stop = lifecycle.cancel
        if self._desk.state.stop is not None:  # it came with the start
            lifecycle.cancel()
        try:
            result = await lifecycle
        except PythonExecutorException as error:
            raise await self._failed(error) from None
        except (asyncio.CancelledError, FailureError) as interruption:
            if not is_cancelled_exception(interruption):
                raise
            raise await self._stopped() from None
        return await self._succeed(result)

    async def _lifecycle(self, inputs: tuple[Any, ...]) -> PythonServiceResult:
        await self._prepare(self._accept(inputs))
        while True:
            try:
                if (result := await self._carry_out(await self._code())) is not None:
                    return result
            except PythonExecutorException as error:
                self._attempts.failed(error)

    async def _carry_out(self, code: str) -> PythonServiceResult | None:
        """What comes of one program, or None where an operator asked for another.

        The analysis chooses the start, the gate decides: a program that is taken for reading and
        writes all the same is rehearsed, one that writes nothing in its rehearsal only reads. One
        that after a rehearsal without writes is refused a write again has hidden it.
        """
        seen = await self._analyse(code)
        plan = await self._rehearse(code) if seen.has_epics_writes else Plan()
        changed: list[str] = []
        refused_before = False
        for _ in range(MAX_REVISIONS):
            writes = plan.kind is not PlanKind.READS_ONLY
            mode = ExecutionMode.WRITE_ACCESS if writes else ExecutionMode.READ_ONLY
            approval = None
            if approval_required(self._deployment.approval_mode, mode):
                approval = await self._approved(code, seen, plan, changed)
                if approval is None:
                    return None
            try:
                if writes and approval is not None:
                    now = await self._as_of_now(code, plan)
                    if changed := changes(plan, now):
                        plan = now
                        continue
                    self._plan = plan
                    return await self._write(code, seen, plan, approval)
                return await self._read(code, seen, plan)
            except PlanOutdatedError as outdated:
                changed = outdated.changed
            except ChannelLimitsViolationError as refused:
                if writes:
                    raise
                if refused_before:
                    raise hidden_from_rehearsal(refused) from None
                refused_before = True
                refuse_writes(self._deployment, workflow.info())
                changed = [refused_in_reading(refused)]
            now = await self._rehearse(code, "; ".join(changed))
            changed, plan = [*changed, *(changes(plan, now) if writes else [])], now
        raise WorkflowError(
            f"{MAX_REVISIONS} plans of this code did not last until they could be applied. The "
            f"last one changed: {'; '.join(changed)}. Start again when the machine stands still.",
            Stage.REHEARSING,
        )

    async def _as_of_now(self, code: str, plan: Plan) -> Plan:
        """What the code would write: `plan`, unless that has waited for too long to be believed."""
        if not self._is_old(plan):
            return plan
        return await self._rehearse(code, "the plan has waited for long")

    async def _read(self, code: str, seen: AnalysisResult, plan: Plan) -> PythonServiceResult:
        """Run a program that only reads. Raises ChannelLimitsViolationError where it writes."""
        ran = await self._execute(code)
        return self._result(code, seen, plan, ran)

    async def _write(
        self, code: str, seen: AnalysisResult, plan: Plan, approval: Approval
    ) -> PythonServiceResult:
        """Apply what was approved. Raises PlanOutdatedError where it has to be asked again."""
        ran = await self._apply(approval)
        warnings = await self._verify()
        return self._result(code, seen, plan, ran, warnings)
