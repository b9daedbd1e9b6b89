"""What an operator reads: the workflow's current details, and what the CLI shows.

Above the code stands only what analysis and limits database say, escaped; the words of the agent
and the model come last, cut and labelled. Kept below 8 KB, since the Web UI sends it in a URL.
"""

import shlex
from urllib.parse import quote

from runpermit.models import PendingApproval, Plan, PlannedWrite, Stage
from runpermit.text import fenced, markdown, one_line, preformatted

_WIDTH = 54
_CODE_WIDTH = _WIDTH - 5
_ASKED_WRITES = 3
_SHOWN_WRITES = 30
_PAGE_BYTES = 8000
# From what reads well to what fits whatever is in it: writes, words and code shown, commands.
_SIZES = ((_SHOWN_WRITES, 400, 3000, 3), (20, 200, 1000, 3), (10, 80, 300, 3), (4, 40, 100, 1))


def question(plan: Plan) -> str:
    """The question in one line of plain text: how many writes, to which channels, which values."""
    if not plan.writes:
        return "Run this code? It only reads."
    shown = [f"{one_line(write.channel, 40)} → {_value(write)}" for write in plan.writes]
    more = f" and {plan.count - _ASKED_WRITES} more" if plan.count > _ASKED_WRITES else ""
    count = "1 write" if plan.count == 1 else f"{plan.count} writes"
    return f"{count}: {'; '.join(shown[:_ASKED_WRITES])}{more}. Plan {plan.kind.upper()}"


def approval_page(pending: PendingApproval) -> str:
    """The page of a waiting approval, in the Markdown that the Temporal Web UI can show."""
    page = ""
    for size in _SIZES:
        page = _page(pending, *size)
        if len(page.encode()) <= _PAGE_BYTES:
            break
    return page


def _page(pending: PendingApproval, writes: int, words: int, code: int, answers: int) -> str:
    revision = pending.revision
    expiry = f"{pending.expires_at:%Y-%m-%d %H:%M:%S} UTC" if pending.expires_at else "never"
    parts = [
        f"### Approve? {markdown(question(pending.plan), 200)}",
        f"**Revision {revision}** (number {pending.number}) · asked "
        f"{pending.asked_at:%Y-%m-%d %H:%M:%S} UTC · expires {expiry}",
        "\n".join(f"⚠️ {markdown(warning, 300)}" for warning in pending.warnings),
        f"⚠️ Only the beginning of the code is shown. Read it: {_show(pending)}"
        if len(pending.code.rstrip("\n")) > code
        else "",
    ]
    if pending.plan.writes:
        parts.append(fenced("\n".join(write_lines(pending.plan, writes))))
    parts += [
        "#### To answer",
        f"**More Actions → Send a Signal →** choose `approve-{revision}`, `reject-{revision}` or "
        f"`revise-{revision}` **→ Submit**, without input. *Request Cancellation* stops it, now "
        "and while it runs. The page does not refresh by itself: press R.",
        fenced("\n".join(" \\\n    ".join(parts) for parts in _commands(pending)[:answers])),
        "#### Why (the requester's words)",
        f"Asked for: {markdown(pending.user_query, words)}\n"
        f"Task: {markdown(pending.task_objective, words)}\n"
        f"Requester: {markdown(pending.requester or 'not named', 128)}",
        _findings(pending, words),
        _code(pending, words, code),
    ]
    return "\n\n".join(part for part in parts if part)


def write_lines(plan: Plan, shown: int = _SHOWN_WRITES) -> list[str]:
    """The writes as plain text, at most 54 characters a line."""
    lines = [
        one_line(f"{write.channel} → {_value(write)}", _WIDTH) for write in plan.writes[:shown]
    ]
    if plan.count > shown:
        lines.append(f"… and {plan.count - shown} more, see the notebook")
    return lines


def commands(pending: PendingApproval) -> list[str]:
    """The commands that answer, with the address that they need."""
    return [" ".join(parts) for parts in _commands(pending)]


def page_link(web_ui: str, namespace: str, workflow_id: str, run_id: str) -> str:
    """The Web UI's page that shows the current details of one run."""
    parts = (quote(part, safe="") for part in (namespace, workflow_id, run_id))
    return "{}/namespaces/{}/workflows/{}/{}/user-metadata".format(web_ui.rstrip("/"), *parts)


def progress_page(
    stage: Stage, attempt: int, note: str, failures: list[str], facts: list[str]
) -> str:
    """The page while nothing waits, and after the end: where it stands, and why."""
    page = ""
    for words in (1000, 500, 150):
        lines = [f"## {stage.replace('_', ' ')}"]
        if attempt:
            lines.append(f"Attempt {attempt}")
        if note:
            lines.append(markdown(note, words))
        lines += [markdown(fact, words) for fact in facts]
        lines += [
            f"Attempt {number} failed: {markdown(failure, words * 3 // 10)}"
            for number, failure in enumerate(failures[-5:], max(1, len(failures) - 4))
        ]
        page = "\n\n".join(lines)
        if len(page.encode()) <= _PAGE_BYTES:
            break
    return page


def _show(pending: PendingApproval) -> str:
    target = shlex.quote(pending.binds.workflow_id)
    return markdown(f"runpermit show {target} {pending.cli_options}", 300)


def _commands(pending: PendingApproval) -> list[tuple[str, str]]:
    """What is said to which execution, and the options."""
    target = shlex.quote(pending.binds.workflow_id)
    options = {
        "approve": f"--sha256 {pending.revision}",
        "reject": "--reason '…'",
        "revise": "--comment '…'",
        "stop": "--reason '…'",
    }
    return [
        (f"runpermit {verb} {target}", f"{option} {pending.cli_options}".strip())
        for verb, option in options.items()
    ]


def _value(write: PlannedWrite) -> str:
    return one_line(str(write.new), 20)


def _findings(pending: PendingApproval, words: int) -> str:
    issues = pending.analysis_issues[: words // 40]
    return "\n".join(f"Analysis: {markdown(issue, words // 2)}" for issue in issues)


def _code(pending: PendingApproval, words: int, most: int) -> str:
    code = pending.code.rstrip("\n")
    lines = code.count("\n") + 1
    shown = code if len(code) <= most else code[:most]
    rest = "" if shown is code else " (only its beginning: the whole is in the notebook below)"
    return (
        f"#### Code, {lines} lines{rest}\n\n<details open><summary>show or hide</summary>"
        f"<pre>{preformatted(shown, _CODE_WIDTH)}</pre></details>\n\n"
        f"Notebook: {markdown(pending.notebook_path, min(300, 3 * words))}"
    )
