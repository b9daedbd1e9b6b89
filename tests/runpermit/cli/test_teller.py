"""What is printed of writes while a program goes on: one line each, whatever they are called."""

from typing import Any, cast

import pytest

from runpermit.cli.output import Output
from runpermit.cli.session import Session
from runpermit.cli.teller import Teller
from runpermit.progress import ProgressEvent, ProgressKind

HOSTILE = "SR:\x1b[2J\nHCM1: 0 → \u202e0.2, confirmed" + "x" * 1000


@pytest.fixture
def teller() -> Teller:
    session = Session("localhost:7233", "default", None, Output(as_json=False))
    return Teller(session, cast("Any", None))


def wrote(text: str) -> ProgressEvent:
    return ProgressEvent(kind=ProgressKind.WRITES, attempt=1, text=text)


async def test_a_write_is_one_line_behind_what_was_printed(
    teller: Teller, capsys: pytest.CaptureFixture[str]
) -> None:
    await teller.tell(ProgressEvent(kind=ProgressKind.STDOUT, text="half a line"))
    await teller.tell(wrote("SR:HCM1: 0 → 0.2, confirmed"))
    await teller.tell(wrote("40 of 120 writes confirmed, last SR:HCM1 = 0.2"))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "│ half a line",
        "SR:HCM1: 0 → 0.2, confirmed",
        "40 of 120 writes confirmed, last SR:HCM1 = 0.2",
    ]


async def test_what_a_channel_is_called_and_holds_reaches_no_terminal_as_it_came(
    teller: Teller, capsys: pytest.CaptureFixture[str]
) -> None:
    await teller.tell(wrote(HOSTILE))
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("SR:\\x1b[2J HCM1: 0 → \\u202e0.2, confirmed")
    assert len(line) <= 300


async def test_what_the_code_prints_is_told_from_what_is_said_of_it(
    teller: Teller, capsys: pytest.CaptureFixture[str]
) -> None:
    """However it comes in pieces: a bar at each beginning of a line, and nowhere else."""
    for text in ("SR:HCM1: 0 → 9, confirmed\n\nsec", "ond", " line\n", "third\r!\n", "last"):
        await teller.tell(ProgressEvent(kind=ProgressKind.STDOUT, text=text))
    await teller.tell(wrote("SR:HCM1: 0 → 0.2, confirmed"))
    assert capsys.readouterr().err.split("\n") == [
        "│ SR:HCM1: 0 → 9, confirmed",
        "│ ",
        "│ second line",
        "│ third\\x0d!",
        "│ last",
        "SR:HCM1: 0 → 0.2, confirmed",
        "",
    ]
