"""Long lines of a question at the width of a terminal."""

import pytest

from runpermit.cli.output import fitted

PROSE = "  If it fails or is stopped, nothing more is written to SR:HCM1 and SR:C01-MG:COR-7. " * 3


@pytest.mark.parametrize("width", [80, 120])
def test_prose_breaks_between_words_and_keeps_its_indent_and_names(width: int) -> None:
    lines = fitted(PROSE, width).split("\n")
    assert max(map(len, lines)) <= width
    assert all(line.startswith("  ") for line in lines)
    assert " ".join(lines).split() == PROSE.split()


def test_in_a_pipe_nothing_is_broken() -> None:
    assert fitted(PROSE, None) == PROSE


@pytest.mark.parametrize(
    "line", [f"  runpermit reject {'x' * 90} --reason '…'", f"   7 | print('{'a b ' * 40}')"]
)
def test_commands_and_code_stay_whole(line: str) -> None:
    assert fitted(line, 80) == line
