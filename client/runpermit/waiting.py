"""What lists know of an execution without any worker: its memo."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from runpermit.models import Memo, Stage
from runpermit.models.approval import SHOWN_DIGITS
from runpermit.models.wire import Message

WAITING_STAGES = frozenset({Stage.AWAITING_APPROVAL, Stage.AWAITING_RESTORE})


class WaitingExecution(Message):
    """An execution that waits for an operator, as visibility and memo tell of it.

    `stage` tells for what: an approval, of which `approvals` of `persons` were given, an answer to
    MACHINE LEFT CHANGED, or, where it is restoring, that writes pass. With `state_unknown` it waits
    for nothing, and may have ended: nobody could ask what it wrote. The texts come from the
    worker's host through Temporal: show them as foreign text.
    """

    id: str
    run_id: str
    stage: Stage
    started_at: datetime
    attempt: int
    question: str
    first_writes: list[str]
    sha256: str
    host: str
    requester: str = ""
    asked_at: datetime | None = None
    approvals: int = 0
    persons: int = 1
    state_unknown: bool = False

    @property
    def revision(self) -> str:
        """The digits of the revision that people see."""
        return self.sha256[:SHOWN_DIGITS]

    @property
    def since(self) -> datetime:
        """When it was asked, else when the execution began."""
        return self.asked_at or self.started_at

    @property
    def left_changed(self) -> bool:
        """Whether it has ended and left the machine changed."""
        return self.stage in {Stage.AWAITING_RESTORE, Stage.RESTORING}

    @property
    def is_urgent(self) -> bool:
        """Whether the machine may not be as anybody wants it."""
        return self.left_changed or self.state_unknown


def waits(memo: Memo) -> bool:
    """Whether an execution that runs waits for somebody; a restore does where its memo says so."""
    return memo.stage in WAITING_STAGES or (memo.stage is Stage.RESTORING and bool(memo.question))


def memo_of(raw: Mapping[str, Any]) -> Memo | None:
    """The memo in what Temporal kept; None where it can't be read. Others' keys are passed over."""
    known = {key: value for key, value in raw.items() if key in Memo.model_fields}
    try:
        return Memo.model_validate({"stage": Stage.PREPARING, **known})
    except ValidationError:
        return None
