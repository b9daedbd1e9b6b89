"""What a program could hurt, kept under observation: one IOC, one gate, and the host's canaries."""

import asyncio
import contextlib
import hashlib
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from gate.client import GateClient, SessionReport
from tests.security.audit import LIMITS, outside, unplanned
from tests.security.catalogue import Effect, Mode, Program
from tests.security.findings import Finding
from tests.security.ioc_process import Ioc
from tests.security.marks import MARK, marks, remove_marks, shared_memory

ROOT = Path(__file__).parents[2]
ORDINARY_USER, SANDBOX_USER = 64998, 64997
METADATA = "127.0.0.169"

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class Lab:
    """Everything around one kernel. `kind` is open or ours."""

    def __init__(self, kind: str, folder: Path, secret: str) -> None:
        self.kind = kind
        self.folder = folder
        self.secret = secret
        self.public = folder / "public"
        self.token = f"REACHED-{secrets.token_hex(6)}"
        self.hits: list[str] = []
        self.daemon = f"runpermit-daemon-{secrets.token_hex(6)}"
        self.canaries: dict[str, subprocess.Popen[bytes]] = {}
        self.ports: dict[str, int] = {}
        self.abstract = f"runpermit-{secrets.token_hex(6)}"
        self.ioc: Ioc
        self.gate: GateClient
        self._fields: dict[str, str] = {}
        self._files: dict[str, str] = {}
        self.extra_secrets: list[str] = []

    @property
    def gate_socket(self) -> Path:
        return self.folder / "gate.sock"

    def parameters(self, mode: Mode) -> dict[str, Any]:
        """What a program is told; it knows more than any model would."""
        return {
            "mode": "open" if self.kind == "open" else mode.value,
            "target": "T:FREE" if mode.writes else "T:SP",
            "value": 99.0 if mode.writes else 1.2,
            "ioc_port": self.ioc.port,
            "pva_port": self.ioc.pva_port,
            "tcp_port": self.ports["tcp"],
            "tcp6_port": self.ports["tcp6"],
            "udp_port": self.ports["udp"],
            "metadata_port": self.ports["metadata"],
            "unix_path": str(self.public / "docker.sock"),
            "abstract": self.abstract,
            "folder": str(self.public),
            "secret_file": str(self.public / "secret.txt"),
            "secret_image": str(self.public / "images" / "secret.png"),
            "canary_file": str(self.public / "canary.txt"),
            "other_work": str(self.public / "other" / "work"),
            "gate_socket": str(self.gate_socket),
            "clone": str(ROOT),
            "pids": [canary.pid for canary in self.canaries.values()],
            "ordinary_user": ORDINARY_USER,
            "token": self.token,
            "daemon": self.daemon,
            "poison": MARK + self.kind,
        }

    def arm(self) -> None:
        """Put everything in place again, and forget what happened."""
        remove_marks(self.kind)
        self._make_files()
        self._keep_canaries()
        for process in self.survivors():
            process.kill()
        for process in self.survivors():
            process.wait(5)
        self.ioc.take()
        self._fields = self.ioc.take()["fields"]
        self._files = self._snapshot()
        self.hits.clear()

    async def findings(
        self, program: Program, said: str, report: SessionReport | None
    ) -> list[Finding]:
        """What happened since `arm`; `said` is all that the host got from the program."""
        found = [Finding(Effect.REACHED, hit) for hit in self.hits]
        found += self._written(program.mode, report)
        if any(text in said for text in (self.secret, *self.extra_secrets)):
            found.append(Finding(Effect.LEARNT, "a secret is in its output"))
        if self.token in said:
            found.append(Finding(program.effect, "it says so"))
        now = self._snapshot()
        for path in sorted(set(now) | set(self._files)):
            if now.get(path) != self._files.get(path):
                effect = Effect.NEIGHBOUR if path.startswith("other/") else Effect.CHANGED
                found.append(Finding(effect, path))
        for name, canary in self.canaries.items():
            if not _is_well(canary):
                found.append(Finding(Effect.HURT, f"the process of {name} is stopped or dead"))
        found += [Finding(Effect.OUTLIVED, str(p.pid)) for p in self.survivors()]
        found += [Finding(Effect.POISONED, str(path)) for path in marks(self.kind)]
        if shared_memory():
            found.append(Finding(Effect.POISONED, "shared memory"))
        return found + await self._gate_findings()

    def survivors(self) -> list[psutil.Process]:
        """Processes that a program started to stay."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if self.daemon in process.cmdline():
                    found.append(process)
        return found

    def _written(self, mode: Mode, report: SessionReport | None) -> list[Finding]:
        told = self.ioc.take()
        events = [(at, name, value) for at, name, value in told["events"]]
        changed = {key for key, value in told["fields"].items() if value != self._fields[key]}
        problems = [f"T:SP.{key} = {told['fields'][key]}" for key in sorted(changed)]
        if not mode.writes:
            problems += [f"{name} = {value}" for _, name, value in events]
        else:
            problems += outside(events)
            if mode is Mode.PLANNED:
                problems += unplanned(events, _first_refusal(report))
            if report is not None and len(events) > report.forwarded:
                problems.append(f"{len(events)} writes, of which the gate tells {report.forwarded}")
        return [Finding(Effect.WRITTEN, problem) for problem in problems]

    async def _gate_findings(self) -> list[Finding]:
        found = []
        if (await self.gate.status()).inhibited:
            found.append(Finding(Effect.COMMANDED, "the gate is inhibited"))
            await _say(self.gate_socket, {"do": "inhibit", "on": False, "operator": "lab"})
        for file in (self.folder / "journal").glob("*"):
            if file.is_file() and b'"own"' in file.read_bytes():
                found.append(Finding(Effect.COMMANDED, "a session that nobody opened"))
                file.write_bytes(file.read_bytes().replace(b'"own"', b'"OWN"'))
        return found

    def _snapshot(self) -> dict[str, str]:
        files = {}
        for path in sorted(self.public.rglob("*")):
            name = str(path.relative_to(self.public))
            if path.is_file() and not name.startswith("kernels/"):
                files[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return files

    def _make_files(self) -> None:
        work = self.public / "other" / "work"
        for folder in (self.public, self.public / "images", self.public / "other", work):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o777)
        contents = {
            self.public / "secret.txt": self.secret.encode(),
            self.public / "canary.txt": b"unchanged",
            self.public / "images" / "secret.png": _SIGNATURE + self.secret.encode(),
            work / "secret.txt": self.secret.encode(),
        }
        for path in self.public.rglob("*"):
            keep = path in contents or path.is_socket() or path.is_dir()
            if not keep and "kernels" not in path.parts:
                path.unlink()
        for path, content in contents.items():
            path.write_bytes(content)
            path.chmod(0o666)

    def _keep_canaries(self) -> None:
        environment = {"PATH": "/usr/bin:/bin", "OPENAI_API_KEY": self.secret}
        users: dict[str, int | None] = {"the worker": None}
        if os.geteuid() == 0:
            users |= {"an ordinary user": ORDINARY_USER, "the sandbox's user": SANDBOX_USER}
        for name, user in users.items():
            known = self.canaries.get(name)
            if known is not None:
                if _is_well(known):
                    continue
                known.kill()
                known.wait()
            self.canaries[name] = subprocess.Popen(
                ["sleep", "100000"],
                env=environment,
                user=user,
                cwd="/",
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def close(self) -> None:
        for canary in self.canaries.values():
            canary.kill()
            canary.wait()
        for process in self.survivors():
            process.kill()
        remove_marks(self.kind)


@contextlib.asynccontextmanager
async def lab(kind: str, secret: str) -> AsyncIterator[Lab]:
    """A lab with everything running."""
    async with contextlib.AsyncExitStack() as stack:
        prefix = f"rp-{kind}-"
        made = tempfile.TemporaryDirectory(prefix=prefix, dir="/tmp", ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(made))
        os.chmod(folder, 0o755)  # noqa: PTH101, S103  (programs of other users are to see it)
        one = Lab(kind, folder, secret)
        one.ioc = Ioc(folder / "ioc.log", *free_ports())
        stack.callback(one.ioc.close)
        stack.callback(one.close)
        one._make_files()
        await _listen(one, stack)
        stack.enter_context(_gate(one))
        one.gate = GateClient(one.gate_socket)
        yield one


def _first_refusal(report: SessionReport | None) -> float | None:
    if report is None or not report.refusals:
        return None
    return min(datetime.fromisoformat(refusal.at).timestamp() for refusal in report.refusals)


def _is_well(process: subprocess.Popen[bytes]) -> bool:
    well = {psutil.STATUS_SLEEPING, psutil.STATUS_RUNNING}
    return process.poll() is None and psutil.Process(process.pid).status() in well


def free_ports() -> tuple[int, int]:
    """Two ports; the one behind the second is free as well, and none is below 5001."""
    while True:
        first = 20000 + secrets.randbelow(20000)
        with contextlib.ExitStack() as stack:
            try:
                for port in (first, first + 2, first + 3):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
        return first, first + 2


async def _listen(one: Lab, stack: contextlib.AsyncExitStack) -> None:
    def server(name: str) -> Any:
        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            one.hits.append(name)
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(reader.read(100), 0.2)
            writer.close()

        return take

    for name, host in (("tcp", "127.0.0.1"), ("tcp6", "::1"), ("metadata", METADATA)):
        listening = await asyncio.start_server(server(name), host, 0)
        stack.callback(listening.close)
        one.ports[name] = listening.sockets[0].getsockname()[1]
    path = one.public / "docker.sock"
    stack.callback((await asyncio.start_unix_server(server("unix"), path)).close)
    path.chmod(0o777)
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind("\0" + one.abstract)
    stack.callback((await asyncio.start_unix_server(server("abstract"), sock=abstract)).close)

    class Datagrams(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            del data, addr
            one.hits.append("udp")

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        Datagrams, ("127.0.0.1", 0)
    )
    stack.callback(transport.close)
    one.ports["udp"] = transport.get_extra_info("sockname")[1]


@contextlib.contextmanager
def _gate(one: Lab) -> Iterator[None]:
    limits = one.folder / "limits.json"
    limits.write_text(json.dumps(LIMITS))
    config = one.folder / "runpermit.toml"
    config.write_text(
        '[control_system]\ntype = "mock"\nwrites_enabled = true\n'
        f'name_servers = ["127.0.0.1:{one.ioc.port}"]\n'
        '[approval]\nassurance = "claimed"\n'
        '[limits]\nfile = "limits.json"\n'
        '[gate]\nsocket = "gate.sock"\njournal = "journal"\n'
    )
    with (one.folder / "gate.log").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.security.labs_gate", "--config", str(config)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", (one.folder / "gate.log").read_text()
        yield
    finally:
        process.terminate()
        process.communicate(timeout=20)


async def _say(path: Path, message: dict[str, Any]) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(json.dumps(message).encode() + b"\n")
    await reader.readline()
    writer.close()
