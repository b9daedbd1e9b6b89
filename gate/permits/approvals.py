"""Whose yes counts at this gate, by its own settings: a worker's word is no signature."""

from dataclasses import dataclass, replace

from gate.journal.journal import Journal
from gate.messages import Signer
from gate.permits.index import PermitIndex
from gate.permits.permits import Presented
from gate.permits.signatures import Signatures
from gate.permits.yes import KnownYes
from runpermit.config import ApprovalSettings
from runpermit.errors import DecisionRefusedError
from runpermit.models import ApprovalRule, Assurance, Statement, Verb
from runpermit.models.permit import Yes
from runpermit.text import one_line

NOT_APPROVED, NOT_RESTORED = "approval_refused", "restore_refused"


@dataclass(frozen=True)
class RestoreAsked:
    """Who asks for a restore of `execution`, and what proves it."""

    execution: str
    operator: str | None
    statement: Statement | None = None
    signature: str | None = None


class Approvals:
    """Judges them by the rule of `settings`; what is refused is in the journal, too."""

    def __init__(
        self,
        settings: ApprovalSettings,
        index: PermitIndex,
        journal: Journal,
    ) -> None:
        self._rule: ApprovalRule = settings.rule
        self._signatures = Signatures(settings)
        self._index = index
        self._journal = journal

    async def problem(self) -> str | None:
        """Why no approval can count here, None where one can."""
        signed = self._rule.assurance is Assurance.SIGNED
        return await self._signatures.problem() if signed else None

    async def signer(self, statement: Statement, signature: str, operator: str | None) -> Signer:
        """Whoever signed `statement`; see `Signatures.signer`."""
        return await self._signatures.signer(statement, signature, operator)

    async def known(self, presented: Presented) -> Presented:
        """The same permit with what this gate itself knows of its approvals.

        Raises DecisionRefusedError where they are not what the rule asks for.
        """
        revision = presented.permit.revision
        statement = Statement(
            workflow_id=revision.workflow_id,
            first_run_id=revision.first_run_id,
            sha256=presented.revision,
            decision=Verb.APPROVE,
        )
        try:
            found = [await self._known(statement, yes) for yes in presented.permit.approvals]
            self._refuse_few(found)
        except DecisionRefusedError as error:
            self._journal.note(
                NOT_APPROVED,
                execution=presented.execution,
                revision=presented.revision,
                number=revision.number,
                reason=error.message,
            )
            raise
        return replace(presented, approvals=tuple(found))

    async def restoring(self, asked: RestoreAsked) -> KnownYes:
        """Who has the machine put back. Raises DecisionRefusedError where that does not count."""
        try:
            return await self._restoring(asked)
        except DecisionRefusedError as error:
            self._journal.note(
                NOT_RESTORED,
                execution=asked.execution,
                operator=asked.operator and one_line(asked.operator, 100),
                reason=error.message,
            )
            raise

    async def _restoring(self, asked: RestoreAsked) -> KnownYes:
        statement = asked.statement
        if asked.signature is None or statement is None:
            if self._rule.assurance is Assurance.SIGNED:
                raise _unsigned(Verb.RESTORE)
            return KnownYes(asked.operator)
        wrote = self._index.last_first_run(asked.execution)
        if (statement.decision, statement.workflow_id, statement.first_run_id) != (
            Verb.RESTORE,
            asked.execution,
            wrote,
        ):
            raise DecisionRefusedError(
                "The signature is for something else than putting back what this execution wrote. "
                "Nothing was put back.",
                "it was signed for something else",
            )
        if asked.execution in self._index.left_alone:
            raise DecisionRefusedError(
                "Somebody has since said that the machine stays as it is. Nothing was put back.",
                "it was left as it is",
            )
        yes = Yes(operator=asked.operator, signature=asked.signature)
        return await self._known(statement, yes)

    async def _known(self, statement: Statement, yes: Yes) -> KnownYes:
        """A yes as far as this gate knows; a signature must be good, asked for or not."""
        if yes.signature is None:
            if self._rule.assurance is Assurance.SIGNED:
                raise _unsigned(statement.decision)
            known = KnownYes(yes.operator, yes.assurance)
        else:
            signer = await self._signatures.signer(statement, yes.signature, yes.operator)
            known = KnownYes(signer.name, Assurance.SIGNED, signer.key)
        if self._rule.approvers and known.operator not in self._rule.approvers:
            who = one_line(known.operator or "somebody without a name", 100)
            raise DecisionRefusedError(
                f"{who} may not say {statement.decision} here: approval.approvers of the gate's "
                "settings names others. Nothing was written.",
                "it is not by one of approval.approvers",
            )
        return known

    def _refuse_few(self, found: list[KnownYes]) -> None:
        """One person may have several keys, and one key must not stand for two persons."""
        needed = self._rule.assurance
        enough = [yes for yes in found if yes.assurance.reaches(needed)]
        by_name = {yes.operator: yes for yes in enough}
        persons = len({yes.key or yes.operator for yes in by_name.values()})
        if persons < self._rule.persons:
            raise DecisionRefusedError(
                f"The permit has the approval of {persons}, by different names and keys, and needs "
                f"{self._rule.persons} (approval.persons, approval.assurance = {needed} in the "
                "gate's settings). Nothing was written.",
                "too few persons approved it",
            )


def _unsigned(verb: Verb) -> DecisionRefusedError:
    return DecisionRefusedError(
        f'The {verb} is not signed, and approval.assurance = "signed" in the gate\'s settings. '
        f"Nothing was written. Sign it: runpermit {verb} ID --sign.",
        "it is not signed",
    )
