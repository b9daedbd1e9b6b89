"""A plain kernel, as it is without this project."""

import asyncio
import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.connect import write_connection_file

from tests.security.lab import Lab


class OpenKernel:
    """A plain ipykernel with the worker's user, environment, files and network."""

    def __init__(self, lab: Lab, name: str, python: Path) -> None:
        self._lab = lab
        self.folder = lab.folder / "open" / name
        self.folder.mkdir(parents=True)
        home = lab.folder / "home"
        home.mkdir(exist_ok=True)
        kernels = lab.public / "kernels"
        kernels.mkdir(exist_ok=True)
        file, _ = write_connection_file(
            str(kernels / f"{name}.json"), transport="ipc", ip=str(lab.folder / name)
        )
        environment = os.environ | {
            "HOME": str(home),
            "TMPDIR": "/tmp",  # noqa: S108  (as any worker's)
            "IPYTHONDIR": str(home / ".ipython"),
            "OPENAI_API_KEY": lab.secret,
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
            "EPICS_CA_NAME_SERVERS": f"127.0.0.1:{lab.ioc.port}",
            "EPICS_CA_ADDR_LIST": "",
            "EPICS_CA_AUTO_ADDR_LIST": "NO",
        }
        # The shell stands for the worker: a program may kill its parent.
        command = ["sh", "-c", '"$@"; exit', "sh", str(python), "-m", "ipykernel_launcher"]
        self.process = subprocess.Popen(
            [*command, "--HistoryManager.enabled=False", "-f", file],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._client = AsyncKernelClient(connection_file=file)
        self._client.load_connection_file()
        self._client.start_channels(stdin=False, hb=False)

    async def ready(self) -> None:
        await self._client.wait_for_ready(timeout=30)

    async def run(self, code: str, seconds: float) -> tuple[str | None, str, list[bytes]]:
        """The status, None where there was no answer in time; what it said; its images."""
        said: list[str] = []
        images: list[bytes] = []

        def take(message: dict[str, Any]) -> None:
            content = message["content"]
            if message["msg_type"] == "stream":
                said.append(content["text"])
            elif message["msg_type"] == "error":
                said.append(content["ename"] + content["evalue"])
            elif message["msg_type"] == "display_data":
                images.append(content["data"].get("image/png", "").encode())

        running = asyncio.ensure_future(
            self._client.execute_interactive(
                code, allow_stdin=False, timeout=seconds, output_hook=take
            )
        )
        while not running.done() and self.process.poll() is None:
            await asyncio.wait({running}, timeout=0.2)
        if not running.done():
            await asyncio.wait({running}, timeout=0.2)
            running.cancel()
        try:
            status = (await running)["content"]["status"]
        except asyncio.CancelledError:
            status = None
        except (TimeoutError, RuntimeError):
            status = None
        except Exception as error:  # noqa: BLE001  (a message that this host can't bear)
            said.append(repr(error))
            status = None
        return status, "".join(said), images

    async def answers(self) -> bool:
        if self.process.poll() is not None:
            return False
        with contextlib.suppress(Exception):
            # A late answer to what had no answer in time.
            await self._client._async_get_shell_msg(timeout=0.01)
        try:
            reply = await self._client.kernel_info(reply=True, timeout=1.5)
        except Exception:  # noqa: BLE001  (the kernel's own making)
            return False
        return bool(reply["content"])

    def kill(self) -> None:
        """As hosts do it: the process group."""
        self._client.stop_channels()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
