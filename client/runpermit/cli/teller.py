"""Tells the events of an execution on stderr as they come."""

from runpermit.cli.question import question_text, restore_text
from runpermit.cli.session import Session
from runpermit.execution import Execution
from runpermit.progress import ProgressEvent, ProgressKind
from runpermit.text import one_line

_PRINTED = "│ "


class Teller:
    """One line an event, but stdout as it was printed, behind a bar, and a question whole."""

    def __init__(self, session: Session, execution: Execution) -> None:
        self._session = session
        self._execution = execution
        self._in_line = False

    async def tell(self, event: ProgressEvent) -> None:
        """Print one event."""
        output = self._session.output
        if event.kind is ProgressKind.STDOUT:
            self._print(event.text)
            return
        if self._in_line:
            output.note("")
            self._in_line = False
        time = f"{event.at.astimezone():%H:%M:%S} " if event.at else ""
        if event.kind is ProgressKind.STAGE:
            note = f"  {one_line(event.text, 300)}" if event.text else ""
            output.note(f"{time}{event.stage}{note}", style="cyan")
        elif event.kind is ProgressKind.ATTEMPT:
            output.note(f"{time}attempt {event.attempt}", style="cyan")
        elif event.kind is ProgressKind.WRITES:
            output.note(one_line(event.text, 300), style="green")
        elif event.kind is ProgressKind.NOTICE:
            output.note(f"! {one_line(event.text, 500)}", style="yellow")
        elif event.kind is ProgressKind.QUESTION:
            self._ask(event)
        elif event.stage is None:
            output.note(f"{time}{one_line(event.text, 500)}", style="yellow")

    def _print(self, text: str) -> None:
        """What the code printed, marked line by line: it can look like anything."""
        began = "" if self._in_line else _PRINTED
        told = f"{began}{text[:-1]}".replace("\n", f"\n{_PRINTED}") + text[-1:]
        self._session.output.note(told, style="dim", end="")
        self._in_line = not text.endswith("\n")

    def _ask(self, event: ProgressEvent) -> None:
        output = self._session.output
        if event.restore is not None:
            told = restore_text(event.restore, self._session.options)
        elif event.pending is not None:
            told = question_text(event.pending, self._session.options)
        else:
            show = self._session.command("show", self._execution.id)
            output.note(f"An answer is waited for: {show}", style="bold yellow")
            return
        output.note("")
        output.question(told, answer=False)
        output.note("")
        output.note("Waiting for the answer …", style="bold yellow")
