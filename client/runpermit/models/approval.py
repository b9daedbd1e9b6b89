"""What is put before an operator, and what the operator answers."""

from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any

from pydantic import Field, StringConstraints, model_validator

from runpermit.models.modes import ExecutionMode
from runpermit.models.plan import Plan
from runpermit.models.restore import LeftChange
from runpermit.models.wire import Message, canonical_json, canonical_sha256

SHOWN_DIGITS = 6
UNAUTHORED = "Temporal names no author of an update: send it as a signal, or sign it"
"""Why an update does not count where its author must be authenticated."""


class Verb(StrEnum):
    """What an operator can say to an execution."""

    APPROVE = "approve"
    REJECT = "reject"
    REVISE = "revise"
    STOP = "stop"
    RESTORE = "restore"
    LEAVE = "leave"


class Assurance(StrEnum):
    """How well the author of a decision is known, from the weakest to the strongest.

    `claimed`: a name that somebody typed. `authenticated`: the principal that Temporal's server
    wrote into the history. `signed`: an SSH signature that the gate itself verified.
    """

    CLAIMED = "claimed"
    AUTHENTICATED = "authenticated"
    SIGNED = "signed"

    def reaches(self, needed: "Assurance") -> bool:
        """Whether this is as good as `needed`, or better."""
        order = list(Assurance)
        return order.index(self) >= order.index(needed)


class ApprovalRule(Message):
    """Whose yes counts, and how many of them. A no counts from anyone.

    `approvers`: the names that may say yes; empty where every verified one may. Two persons, named
    approvers and a requester who may not approve need at least `authenticated`.
    """

    assurance: Assurance = Assurance.CLAIMED
    persons: Annotated[int, Field(ge=1, le=2)] = 1
    approvers: list[str] = []
    requester_may_approve: bool = True


class Statement(Message):
    """What an operator signs: the very question, and what is said to it."""

    workflow_id: str
    first_run_id: str
    sha256: str
    decision: Verb

    @property
    def signed_bytes(self) -> bytes:
        """Its canonical JSON: what `ssh-keygen -Y sign -n runpermit` is given."""
        return canonical_json(self).encode()


class Revision(Message):
    """All that an approval binds; its sha256 is what an operator approves."""

    workflow_id: str
    first_run_id: str
    number: int
    code: str
    plan: Plan
    limits_sha256: str
    inputs: dict[str, str]
    kernel_environment: str

    @property
    def sha256(self) -> str:
        """What an approval of this revision names."""
        return canonical_sha256(self)


class DecisionWay(StrEnum):
    """The way by which a decision came."""

    SIGNAL = "signal"
    UPDATE = "update"


class DecisionRecord(Message):
    """One decision as it was received: counted or not, and why not.

    `verb` is None where the message named none. `operator` is a verified name where `assurance` is
    more than claimed. `signature` is kept where it is part of a permit; `key` is the fingerprint of
    what signed.
    """

    verb: Verb | None
    at: datetime
    via: DecisionWay
    accepted: bool
    reason: str
    operator: str | None = None
    comment: str | None = None
    sha256: str | None = None
    revision: str | None = None
    number: int | None = None
    assurance: Assurance = Assurance.CLAIMED
    signature: str | None = None
    key: str | None = None

    @property
    def who(self) -> str:
        """Its author, as it is told to people."""
        return self.operator or "an unnamed operator"

    @property
    def by(self) -> str:
        """Its author, and how well that is known."""
        verified = "not verified" if self.assurance is Assurance.CLAIMED else self.assurance
        return f"{self.who} ({verified})"


class PendingApproval(Message):
    """The question that waits: `binds` is what its sha256 covers, the rest explains.

    `changed` says, in words, what is no longer as in the revision that was asked about before.
    `rule` says whose yes counts; `approved_by` names those who said it already, of two.
    `not_counted` is the last decision that did not count while this waited; `revised` the wish that
    this revision is to heed.
    """

    binds: Revision
    changed: list[str] = []
    revised: DecisionRecord | None = None
    rule: ApprovalRule = ApprovalRule()
    approved_by: list[str] = []
    not_counted: DecisionRecord | None = None
    warnings: list[str]
    execution_mode: ExecutionMode
    user_query: str
    task_objective: str
    expected_results: dict[str, Any]
    requester: str | None
    analysis_issues: list[str]
    folder_path: str
    notebook_path: str
    notebook_link: str
    asked_at: datetime
    expires_at: datetime | None = None
    page_link: str = ""
    cli_options: str = ""

    @cached_property
    def sha256(self) -> str:
        """What an approval names, computed from what this question shows."""
        return self.binds.sha256

    @property
    def revision(self) -> str:
        """The digits of the sha256 that people see."""
        return self.sha256[:SHOWN_DIGITS]

    @property
    def number(self) -> int:
        """The how manieth question of its execution this is, from 1."""
        return self.binds.number

    @property
    def plan(self) -> Plan:
        """What it would write."""
        return self.binds.plan

    @property
    def code(self) -> str:
        """The very code that runs."""
        return self.binds.code


class LeftBehind(Message):
    """What an answer to MACHINE LEFT CHANGED binds."""

    workflow_id: str
    first_run_id: str
    number: int
    changes: list[LeftChange]


class PendingRestore(Message):
    """The question whether to put back what an execution left changed; it does not expire.

    `reason` tells why the execution ended; `notes` what else is known, one sentence each; `units`
    those of the channels, as the plan has them; `not_counted` is the last decision that did not
    count while this waited. `read_at`: when the channels were read; they are not read again.
    """

    binds: LeftBehind
    reason: str
    read_at: datetime | None = None
    notes: list[str] = []
    units: dict[str, str] = {}
    not_counted: DecisionRecord | None = None
    rule: ApprovalRule = ApprovalRule()
    asked_at: datetime
    page_link: str = ""
    cli_options: str = ""

    @cached_property
    def sha256(self) -> str:
        """What an answer names."""
        return canonical_sha256(self.binds)

    @property
    def revision(self) -> str:
        """The digits of the sha256 that people see."""
        return self.sha256[:SHOWN_DIGITS]

    @property
    def changes(self) -> list[LeftChange]:
        """The channels that were left changed, in the order of their first write."""
        return self.binds.changes


class Decision(Message):
    """What an operator sends with a signal or update. At least one field must be set."""

    decision: Verb | None = None
    sha256: Annotated[str, StringConstraints(pattern=r"\A[0-9a-f]{64}\z")] | None = None
    operator: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = None
    comment: Annotated[str, StringConstraints(max_length=4096)] | None = None
    signature: Annotated[str, StringConstraints(max_length=4096)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "Decision":
        if not self.model_fields_set or all(
            getattr(self, f) is None for f in type(self).model_fields
        ):
            msg = "an empty object decides nothing: send no input at all, or a field"
            raise ValueError(msg)
        return self


class DecisionReceipt(Message):
    """The answer to the update `decide` where the decision counted."""

    accepted: bool
    verb: Verb
    reason: str
    number: int | None = None
    revision: str | None = None

    @classmethod
    def of(cls, verb: Verb, record: DecisionRecord) -> "DecisionReceipt":
        """That of a decision as it was recorded."""
        return cls(
            accepted=record.accepted,
            verb=verb,
            reason=record.reason,
            number=record.number,
            revision=record.revision,
        )
