"""A waiting question as plain text for a terminal."""

from runpermit.models import PendingApproval, PendingRestore
from runpermit.page import change_lines, commands, restore_question, write_lines
from runpermit.page.answers import rule_words
from runpermit.page.approval import (
    all_warnings,
    ending_words,
    facts_line,
    reads_words,
    revised_words,
    title,
)
from runpermit.page.restore import all_notes
from runpermit.page.writes import machine_lines
from runpermit.text import one_line, visible

_SHOWN = 1000


def question_text(pending: PendingApproval, options: str) -> str:
    """All that an approval covers, and how to answer; `options` lead to the same server.

    On top what gate and limits database say, then the words of others, labelled; the code is
    whole, since it is what runs.
    """
    plan = pending.plan
    code = pending.code.rstrip("\n")
    parts = [
        title(pending),
        f"Execution {visible(pending.binds.workflow_id, keep='')}\n"
        f"Revision {pending.revision} {facts_line(pending)}",
        _indented(machine_lines(plan)),
        "\n".join(one_line(f"! {warning}", 400) for warning in all_warnings(pending)),
        _indented(write_lines(plan, _SHOWN)),
        reads_words(plan, 20),
        ending_words(plan),
        rule_words(pending),
        _answers(pending, options),
        revised_words(pending, 600),
        "The requester's words:\n"
        + "\n".join(
            f"  {label}: {one_line(text, 400)}"
            for label, text in (
                ("asked for", pending.user_query),
                ("task", pending.task_objective),
                ("requester", pending.requester or "not named"),
            )
        ),
        "\n".join(one_line(f"Analysis: {issue}", 200) for issue in pending.analysis_issues[:10]),
        f"Code, {code.count(chr(10)) + 1} lines:\n{_numbered(code)}",
        f"Notebook: {visible(pending.notebook_path, keep='')}",
    ]
    return "\n\n".join(part for part in parts if part)


def restore_text(pending: PendingRestore, options: str) -> str:
    """What was left changed, why, and how to answer; `options` lead to the same server."""
    parts = [
        restore_question(pending),
        f"Execution {visible(pending.binds.workflow_id, keep='')}\n"
        f"Question {pending.revision}, asked {pending.asked_at:%Y-%m-%d %H:%M:%S} UTC, does not "
        "expire; nothing is put back by itself",
        f"Why it ended: {one_line(pending.reason, 600)}",
        "\n".join(one_line(f"! {note}", 300) for note in all_notes(pending)),
        _indented(change_lines(pending, _SHOWN)),
        rule_words(pending),
        _answers(pending, options),
    ]
    return "\n\n".join(part for part in parts if part)


def gate_text(pending: PendingRestore) -> str:
    """What an execution that is over left changed: its gate asks, and whoever asked it answers."""
    parts = [
        restore_question(pending),
        f"Execution {visible(pending.binds.workflow_id, keep='')}\n{pending.reason}",
        _indented(change_lines(pending, _SHOWN)),
    ]
    return "\n\n".join(part for part in parts if part)


def _answers(pending: PendingApproval | PendingRestore, options: str) -> str:
    answers = commands(pending.model_copy(update={"cli_options": options}))
    return "To answer:\n" + _indented(answers)


def _indented(lines: list[str]) -> str:
    return "\n".join(f"  {line}" for line in lines)


def _numbered(code: str) -> str:
    return "\n".join(
        f"{number:4} | {visible(line, keep=chr(9))}"
        for number, line in enumerate(code.split("\n"), 1)
    )
