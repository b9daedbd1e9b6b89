"""A waiting question as plain text for a terminal."""

from runpermit.models import PendingApproval
from runpermit.page import commands, question, write_lines
from runpermit.text import one_line, visible


def question_text(pending: PendingApproval, options: str) -> str:
    """All that an approval covers, and how to answer; `options` lead to the same server.

    On top what analysis and limits database say, then the words of others, labelled; the code
    is whole, since it is what runs.
    """
    expiry = f"{pending.expires_at:%Y-%m-%d %H:%M:%S} UTC" if pending.expires_at else "never"
    answers = commands(pending.model_copy(update={"cli_options": options}))
    code = pending.code.rstrip("\n")
    parts = [
        f"Approve? {question(pending.plan)}",
        f"Execution {visible(pending.binds.workflow_id, keep='')}\n"
        f"Revision {pending.revision} (number {pending.number}), asked "
        f"{pending.asked_at:%Y-%m-%d %H:%M:%S} UTC, expires: {expiry}",
        "\n".join(one_line(f"! {warning}", 300) for warning in pending.warnings),
        "\n".join(f"  {line}" for line in write_lines(pending.plan)),
        "To answer:\n" + "\n".join(f"  {line}" for line in answers),
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


def _numbered(code: str) -> str:
    return "\n".join(
        f"{number:4} | {visible(line, keep=chr(9))}"
        for number, line in enumerate(code.split("\n"), 1)
    )
