"""Real programs: those of the demo, and how long a long one takes."""

from collections.abc import Callable
from pathlib import Path

from runpermit.models.analysis import AnalysisResult, Severity

PROGRAMS = Path(__file__).parents[3] / "demo" / "programs"

Analyse = Callable[..., AnalysisResult]


def test_a_program_that_reads_starts_read_only(analyse: Analyse) -> None:
    result = analyse((PROGRAMS / "beam_current.py").read_text())
    assert [use.channel for use in result.reads] == [
        "SR:BEAM:CURRENT",
        "SR:BEAM:LIFETIME",
        "SR:ORBIT:S",
        "SR:ORBIT:WAVEFORM",
    ]
    assert not result.writes
    assert result.severity is Severity.INFO


def test_both_writes_of_a_corrector_are_found_on_their_lines(analyse: Analyse) -> None:
    code = (PROGRAMS / "orbit_response.py").read_text()
    result = analyse(code)
    lines = [n for n, line in enumerate(code.splitlines(), 1) if "write_channel(" in line]
    assert [(use.channel, use.line) for use in result.writes] == [
        ("SR:HCM3:SP", line) for line in lines
    ]
    assert {f"SR:BPM{n}:X" for n in range(1, 9)} < {use.channel for use in result.reads}
    assert result.severity is Severity.INFO
