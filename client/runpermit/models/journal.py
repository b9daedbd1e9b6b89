"""What the gate's journal tells of an execution."""

from typing import Any

from runpermit.models.wire import Message


class JournalChain(Message):
    """Whether the journal's hash chain holds, from its `first` record that is there to its `last`.

    `head` is the sha256 of the last one's line: only who noted it elsewhere sees a tail cut off.
    `broken` says where the chain breaks and why, empty where it holds. `torn` names a last line
    that is not whole: a crash tore it apart, or the gate is writing it just now.
    """

    first: int | None = None
    last: int | None = None
    head: str | None = None
    broken: str = ""
    torn: str = ""


class JournalRecords(Message):
    """Records of an execution as the journal has them, in order.

    `left_out` counts those that one line has no room for: writes and refusals, before anything
    that tells of sessions and permits. `chain` is that of the whole journal, where it was followed.
    """

    records: list[dict[str, Any]] = []
    left_out: int = 0
    chain: JournalChain | None = None
