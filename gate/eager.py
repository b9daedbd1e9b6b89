"""Work that is begun at once: a task alone would wait for its turn of the event loop first."""

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any


def begin(work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
    """Do `work` up to where it has to wait; the task that does the rest, None where none is left.

    What it raises before that is raised here. Until then it has no task of its own, so that it must
    not ask for the current one, as `asyncio.timeout` does.
    """
    try:
        waits_for = work.send(None)
    except StopIteration:
        return None
    return asyncio.get_running_loop().create_task(_Begun(work, waits_for))


class _Begun(Coroutine[Any, Any, None]):
    """`work`, which waits already: its task is told for what at its first step."""

    def __init__(self, work: Coroutine[Any, Any, None], waits_for: object) -> None:
        self._work = work
        self._untold: list[object] = [waits_for]

    def send(self, value: Any) -> Any:  # noqa: ANN401  (asyncio's)
        return self._untold.pop() if self._untold else self._work.send(value)

    def throw(self, *error: Any) -> Any:  # noqa: ANN401
        self._untold.clear()
        return self._work.throw(*error)

    def close(self) -> None:
        self._work.close()

    def __await__(self) -> Generator[Any, Any, None]:
        raise NotImplementedError("it is for a task alone")
