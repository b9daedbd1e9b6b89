"""Whatever goes wrong is told in a line, never as a traceback."""

import json
from typing import Any

import pytest

from runpermit.cli.main import _run
from runpermit.client import RunpermitClient


@pytest.fixture(autouse=True)
def mistaken(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(*_: Any, **__: Any) -> RunpermitClient:
        raise KeyError("a\x1b[2Jb")

    monkeypatch.setattr(RunpermitClient, "connect", connect)


def test_a_mistake_of_ours_is_a_line_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["pending"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "KeyError" in err
    assert "test_main.py, line" in err
    assert "Traceback" not in err
    assert "\x1b" not in err


def test_with_json_it_is_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["pending", "--json"]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    error = json.loads(out)["error"]
    assert error["type"] == "KeyError"
    assert error["exit_code"] == 1
