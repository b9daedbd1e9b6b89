"""`stop --all` tells of each execution what came of it."""

from typing import Any

import pytest

from runpermit.cli.main import _run
from runpermit.client import RunpermitClient
from runpermit.errors import DecisionRefusedError, ServiceUnavailableError


class Running:
    def __init__(self, id: str) -> None:  # noqa: A002
        self.id = id

    async def stop(self, *_: str) -> None:
        if self.id == "cut-off":
            raise ServiceUnavailableError("Temporal does not answer.", "temporal")
        if self.id == "over":
            raise DecisionRefusedError("It has ended.", "the execution has ended")


class Client:
    address = "127.0.0.1:1"
    namespace = "default"

    async def running(self) -> list[Running]:
        return [Running("scan-1"), Running("cut-off"), Running("over"), Running("scan-2")]

    def handle(self, name: str) -> Running:
        return Running(name)


def test_one_that_is_not_reached_is_named_and_keeps_no_other_from_being_stopped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    async def connect(*_: Any, **__: Any) -> Client:
        return Client()

    monkeypatch.setattr(RunpermitClient, "connect", connect)
    socket = str(tmp_path / "none.sock")
    assert _run(["stop", "--all", "--reason", "vacuum", "--socket", socket]) == 4
    out, err = capsys.readouterr()
    assert "Temporal: stop sent to scan-1\nTemporal: stop sent to scan-2\n" in out
    assert "Temporal: NOT STOPPED: cut-off. Temporal does not answer." in out
    assert "over" not in out
    assert "gate: NOT TOLD. The stop went through Temporal alone. No gate answers at" in err
