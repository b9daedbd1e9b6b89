"""What a worker's session makes of what the gate says while it is open."""

import asyncio
from typing import Any, cast

import pytest

from gate.client_session import GateSession, line
from gate.messages import WritesSoFar

WROTE = WritesSoFar(forwarded=2, planned=3)
REFUSED = {"channel": "A", "violation_type": "V", "reason": "r"}


async def session_that_hears(*said: dict[str, Any]) -> GateSession:
    """A session that has taken all of that, and a refusal behind it."""
    reader = asyncio.StreamReader()
    session = GateSession("s", reader, cast("asyncio.StreamWriter", None), None)
    for message in (*said, {"refused": REFUSED}):
        reader.feed_data(line(message))
    assert (await asyncio.wait_for(session.refused, 20)).channel == "A"
    return session


async def test_the_latest_of_what_was_written_is_kept() -> None:
    session = await session_that_hears(
        {"wrote": {"forwarded": 1}}, {"wrote": WROTE.model_dump(mode="json")}
    )
    assert session.wrote == WROTE
    await session.end()


@pytest.mark.parametrize("told", [None, 5, {"forwarded": "many"}, {"forwarded": 3, "of": "later"}])
async def test_counts_in_words_of_another_version_end_no_program(told: Any) -> None:
    session = await session_that_hears({"wrote": WROTE.model_dump(mode="json")}, {"wrote": told})
    assert session.wrote == WROTE
    assert not session.lost.done()
    await session.end()
