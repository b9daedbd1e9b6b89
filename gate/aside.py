"""Work on long arrays, aside, so that other sessions go on."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_LONG = 1000

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


async def aside(
    elements: int,
    work: Callable[Arguments, Answer],
    *arguments: Arguments.args,
    **named: Arguments.kwargs,
) -> Answer:
    """`work`, in a thread where it is about many elements."""
    if elements > _LONG:
        return await asyncio.to_thread(work, *arguments, **named)
    return work(*arguments, **named)
