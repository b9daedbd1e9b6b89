"""An approval bound to one revision: what lets a program write, once."""

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from runpermit.models.approval import Assurance, Revision
from runpermit.models.wire import Message

ISSUES = (1, 2)


class Verdict(StrEnum):
    """What the gate's journal says of a permit after a fault.

    `unknown`: nobody could ask it.
    """

    NOT_OPENED = "not_opened"
    NOTHING_FORWARDED = "nothing_forwarded"
    PARTIAL = "partial"
    COMPLETED = "completed"
    UNKNOWN = "unknown"

    @property
    def may_apply_again(self) -> bool:
        """Whether it is proven that nothing was written."""
        return self in {Verdict.NOT_OPENED, Verdict.NOTHING_FORWARDED}


class Yes(Message):
    """One person's approval, as far as the worker knows; the gate verifies `signature` itself."""

    operator: str | None = None
    assurance: Assurance = Assurance.CLAIMED
    signature: str | None = None


class Permit(Message):
    """A yes to `revision`; `issue` is 2 only where the journal proves that 1 wrote nothing.

    `decided_at` is the time of the last `approvals`, which made it whole.
    """

    revision: Revision
    issue: int = 1
    decided_at: datetime
    approvals: Annotated[list[Yes], Field(min_length=1, max_length=2)] = [Yes()]

    @property
    def id(self) -> str:
        """64 hex digits, equal for equal permits: never from a random or run id.

        A reset of the workflow changes neither workflow id nor first run id, so that the gate knows
        a permit again that it has consumed.
        """
        return permit_id(
            self.revision.workflow_id, self.revision.first_run_id, self.revision.sha256, self.issue
        )


def permit_id(workflow_id: str, first_run_id: str, sha256: str, issue: int) -> str:
    """The id of the permit for the revision with this `sha256`."""
    parts = (workflow_id, first_run_id, sha256, str(issue))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
