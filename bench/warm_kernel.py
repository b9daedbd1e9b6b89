"""A plain ipykernel that runs already: what ours is compared with."""

import os
import subprocess
import time
from collections.abc import Mapping
from typing import Any, Self

from jupyter_client.manager import AsyncKernelManager


class WarmKernel:
    """A running ipykernel, with `variables` in its environment."""

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._environment = {**os.environ, **(variables or {})}

    async def __aenter__(self) -> Self:
        self._manager: Any = AsyncKernelManager(kernel_name="python3")
        await self._manager.start_kernel(env=self._environment, stderr=subprocess.DEVNULL)
        self._client = self._manager.client()
        self._client.start_channels()
        await self._client.wait_for_ready(timeout=60)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._client.stop_channels()
        await self._manager.shutdown_kernel(now=True)

    async def run(self, code: str) -> float:
        """Seconds that `code` takes. Raises RuntimeError where it fails."""
        begun = time.perf_counter()
        reply = await self._client.execute_interactive(code, timeout=60, output_hook=lambda _: None)
        taken = time.perf_counter() - begun
        if reply["content"]["status"] != "ok":
            raise RuntimeError(f"the plain kernel failed: {reply['content']}")
        return taken
