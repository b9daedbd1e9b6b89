"""Long lines of a question at the width of a terminal, and how an execution that failed is told."""

import pytest

from runpermit.cli.exits import ExitCode
from runpermit.cli.output import Output, fitted
from runpermit.errors import MaxAttemptsExceededError, PythonExecutorException, WorkflowError
from runpermit.models import RestoredChannel, RestoreOutcome, Stage

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


WROTE_NOTHING = "This run wrote nothing to the machine."


@pytest.mark.parametrize(
    ("error", "first", "wrote_nothing"),
    [
        (WorkflowError("Rejected by jd: no", Stage.REJECTED), "Rejected by jd: no", True),
        (WorkflowError("Nobody answered.", Stage.EXPIRED), "Nobody answered.", True),
        (WorkflowError("Stopped by jd: no.", Stage.STOPPED), "Stopped by jd: no.", False),
        (
            WorkflowError("Stopped.", Stage.STOPPED, technical_details={"forwarded": 0}),
            "Stopped.",
            True,
        ),
        (
            MaxAttemptsExceededError("code execution", 1, ["NameError: x"]),
            "MaxAttemptsExceededError: ",
            False,
        ),
    ],
)
def test_how_it_ended_is_told_in_its_words_and_that_nothing_was_written_where_that_is_sure(
    error: PythonExecutorException,
    first: str,
    wrote_nothing: bool,  # noqa: FBT001
    capsys: pytest.CaptureFixture[str],
) -> None:
    Output(as_json=False).failure(error, ExitCode.FAILED, "scan-42")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(first)
    assert (WROTE_NOTHING in lines) is wrote_nothing


def test_a_mistake_of_the_command_itself_keeps_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).failure(WorkflowError("no", Stage.REJECTED), ExitCode.FAILED)
    assert capsys.readouterr().err == "WorkflowError: no\n"


def test_what_is_not_back_is_labelled_so(capsys: pytest.CaptureFixture[str]) -> None:
    channels = [
        RestoredChannel(channel="SR:A", reads=0.1, outcome=RestoreOutcome.RESTORED),
        RestoredChannel(channel="SR:B", reads=0.6, outcome=RestoreOutcome.ANOTHER_HAND),
    ]
    details = {"restored": [str(channel) for channel in channels]}
    error = WorkflowError("It failed.", Stage.FAILED, technical_details=details)
    Output(as_json=False).failure(error, ExitCode.FAILED, "scan-42")
    assert capsys.readouterr().err.splitlines()[1:] == [
        "restored  SR:A: restored, reads 0.1",
        "NOT PUT BACK  SR:B: somebody else has set it, reads 0.6",
    ]
