"""`python -m tests.gate.dying_gate`: a gate that is killed at a write of 5, as DIES says.

`before`: when its record is on the disk, and nothing has been forwarded; `after`: when the IOC has
answered, and no record tells so.
"""

import os
import signal
import sys
from typing import Any

from gate.__main__ import main
from gate.journal.journal import Journal
from gate.policy import writing

_write, _read_back = Journal.write, writing.read_back_value


async def _write_and_die(self: Journal, event: str, **fields: Any) -> int:
    seq = await _write(self, event, **fields)
    if event == "write" and fields["new"] == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return seq


async def _read_back_and_die(case: Any, *arguments: Any) -> Any:
    seen = await _read_back(case, *arguments)
    if case.received.value == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return seen


if __name__ == "__main__":
    if os.environ["DIES"] == "before":
        Journal.write = _write_and_die  # type: ignore[method-assign]
    else:
        writing.read_back_value = _read_back_and_die
    sys.exit(main())
