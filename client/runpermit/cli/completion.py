"""Shell completion of what waits."""

import asyncio
import re

import typer

from runpermit.client import RunpermitClient

# A key press waits for it.
_PATIENCE_SECONDS = 2.0
# Ids are others' words, and shells evaluate what completion prints.
_HARMLESS = re.compile(r"[A-Za-z0-9_.@+=/-]+")


def waiting_ids(context: typer.Context, incomplete: str) -> list[str]:
    """Ids of waiting executions that begin so; none where Temporal does not answer at once."""
    options = context.params
    try:
        ids = asyncio.run(_ids(options.get("address"), options.get("namespace")))
    except Exception:  # noqa: BLE001  (whatever it is, a key press is no place to tell it)
        return []
    return [name for name in ids if name.startswith(incomplete) and _HARMLESS.fullmatch(name)]


async def _ids(address: str | None, namespace: str | None) -> list[str]:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        client = await RunpermitClient.connect(address, namespace=namespace)
        return [waiting.id for waiting in await client.pending()]
