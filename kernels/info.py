"""What bubblewrap tells of the sandbox that it made."""

import asyncio
import json
import os

_BYTES = 4096


async def first_process(info: int) -> int | None:
    """The id of the sandbox's first process, read from the pipe `info`; None where it has none."""
    loop = asyncio.get_running_loop()
    text = b""
    readable = asyncio.Event()
    loop.add_reader(info, readable.set)
    try:
        while b"}" not in text:
            await readable.wait()
            piece = os.read(info, _BYTES)
            if not piece:
                return None
            text += piece
            readable.clear()
    finally:
        loop.remove_reader(info)
    pid = json.loads(text).get("child-pid")
    return pid if isinstance(pid, int) else None
