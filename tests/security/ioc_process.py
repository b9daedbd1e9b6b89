"""The labs' IOC as a process; see `tests.security.ioc`."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.security.programs import frames

ROOT = Path(__file__).parents[2]


class Ioc:
    """The IOC in a process of its own; see `tests.security.ioc`."""

    def __init__(self, log: Path, port: int, pva_port: int) -> None:
        self.port = port
        self.pva_port = pva_port
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.security.ioc"),
                    *("--port", str(port), "--pva-port", str(pva_port)),
                ],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._log = log
        assert self._line() == "ready"

    def take(self) -> dict[str, Any]:
        """What reached it since the last call; all its records are as they were at first."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        told: dict[str, Any] = json.loads(self._line())
        if told["fields"]["ACKT"] != "YES":
            circuit = frames.Circuit(("127.0.0.1", self.port))
            sid = circuit.open("T:SP")
            circuit.send(frames.message(frames.WRITE, 35, 1, sid, 1, b"\0\1"))
            circuit.flush(0.1)
            circuit.socket.close()
        return told

    def circuits(self) -> int:
        """How many clients are connected."""
        wanted = f"0100007F:{self.port:04X}"
        lines = Path("/proc/net/tcp").read_text().splitlines()
        return sum(line.split()[1] == wanted and line.split()[3] == "01" for line in lines[1:])

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().rstrip("\n")
        assert line, f"the IOC ended: {self._log.read_text()[-2000:]}"
        return line
