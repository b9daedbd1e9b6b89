"""The stage as a search attribute: what waits is found, and where there is none all goes on."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from runpermit.names import STAGE_ATTRIBUTE

WAITING = f"{STAGE_ATTRIBUTE} = 'awaiting_approval'"
STEP = 'write_channel("SR:HCM2:SP", read_channel("SR:HCM2:SP"))\nresults = {}\n'


async def found(house: Any, query: str) -> set[str]:
    return {listed.id async for listed in house.client.list_workflows(query)}


async def names_its_stage(handle: Any) -> bool:
    """Whether the execution has the search attribute."""
    description = await handle.describe()
    names = {pair.key.name for pair in description.typed_search_attributes}
    return STAGE_ATTRIBUTE in names


async def test_an_execution_that_waits_is_found_by_its_stage_and_only_while_it_waits(
    house: Any, eventually: Any
) -> None:
    handle = await house.start(STEP)
    await house.question(handle)

    async def listed() -> bool:
        return handle.id in await found(house, WAITING)

    async def gone() -> bool:
        return not await listed()

    await eventually(listed)
    assert await names_its_stage(handle)
    await handle.signal("reject")
    assert (await house.failure(handle)).stage == "rejected"
    await eventually(gone)

    async def listed_as_rejected() -> bool:
        return handle.id in await found(house, f"{STAGE_ATTRIBUTE} = 'rejected'")

    await eventually(listed_as_rejected)


@pytest_asyncio.fixture(loop_scope="session")
async def without_attribute(
    open_house: Any, worker_of: Any, temporal: Any, fresh: str
) -> AsyncIterator[Any]:
    """A house whose namespace lost the attribute after its worker had registered it."""
    house = await open_house(fresh.lower())
    async with worker_of(house):
        gone = temporal(
            *("operator", "search-attribute", "remove", "--yes"),
            *("--name", STAGE_ATTRIBUTE, "--namespace", house.name),
        )
        assert gone.returncode == 0, gone.stderr
        yield house


@pytest_asyncio.fixture(loop_scope="session")
async def other_type(
    open_house: Any, worker_of: Any, temporal: Any, fresh: str
) -> AsyncIterator[Any]:
    """A house whose namespace has an attribute of this name already, of another type."""
    house = await open_house(fresh.lower())
    made = temporal(
        *("operator", "search-attribute", "create", "--type", "Int"),
        *("--name", STAGE_ATTRIBUTE, "--namespace", house.name),
    )
    assert made.returncode == 0, made.stderr
    async with worker_of(house):
        yield house


async def goes_on(house: Any) -> None:
    handle = await house.start(STEP)
    pending = await house.question(handle)
    assert not await names_its_stage(handle)
    await handle.signal(f"approve-{pending.revision}")
    result = await house.result(handle)
    assert result.decisions[0].accepted
    assert not await names_its_stage(handle)


@pytest.mark.slow
async def test_an_execution_goes_on_where_the_attribute_is_not_registered(
    without_attribute: Any,
) -> None:
    await goes_on(without_attribute)


@pytest.mark.slow
async def test_an_execution_goes_on_where_the_attribute_has_another_type(other_type: Any) -> None:
    await goes_on(other_type)
