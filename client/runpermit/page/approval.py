"""The page of an approval: what would be written, what is known of it, and how to answer.

Above the code stands only what gate and limits database say, escaped; the words of the agent and
the model come last, cut and labelled.
"""

from runpermit.models import PendingApproval, Plan, PlanKind
from runpermit.page.answers import clicks, command_block, show_command
from runpermit.page.sizing import fitting
from runpermit.page.values import value_text
from runpermit.page.warnings import names, plan_warnings
from runpermit.page.writes import SHOWN_WRITES, machine_lines, write_lines
from runpermit.text import fenced, markdown, one_line, preformatted

_CODE_WIDTH = 49
_SHOWN_CONDITIONS = 10
_SHOWN_CHANGES = 5
_SHOWN_WARNINGS = 20
# From what reads well to what fits whatever is in it: writes, words and code shown, commands.
_SIZES = ((SHOWN_WRITES, 400, 3000, 4), (20, 200, 1000, 4), (10, 80, 300, 4), (3, 40, 100, 1))


def question(plan: Plan) -> str:
    """The question in one line of plain text: how many writes, to which channels, which values."""
    if plan.kind is PlanKind.READS_ONLY:
        return "Run this code? It only reads."
    shown = [f"{one_line(write.channel, 40)} → {value_text(write.new)}" for write in plan.writes]
    more = f" and {plan.count - 3} more" if plan.count > 3 else ""
    count = "1 write" if plan.count == 1 else f"{plan.count} writes"
    return f"{count}: {'; '.join(shown[:3])}{more}. Plan {plan.kind.upper()}"


def approval_page(pending: PendingApproval) -> str:
    """The page of a waiting approval, in the Markdown that the Temporal Web UI can show."""
    return fitting(lambda size: _page(pending, *size), _SIZES)


def facts_line(pending: PendingApproval) -> str:
    """Which revision it is, and its times."""
    expiry = f"{pending.expires_at:%Y-%m-%d %H:%M:%S} UTC" if pending.expires_at else "never"
    rehearsed = pending.plan.rehearsed_at
    times = [
        f"rehearsed {rehearsed:%H:%M:%S} UTC" if rehearsed else "",
        f"asked {pending.asked_at:%Y-%m-%d %H:%M:%S} UTC",
        f"expires {expiry}",
    ]
    return f"(number {pending.number}) · {' · '.join(filter(None, times))}"


def all_warnings(pending: PendingApproval) -> list[str]:
    """What is true of the plan, and what the question itself says."""
    changes = [f"Changed since the revision before: {change}" for change in pending.changed]
    more = len(changes) - _SHOWN_CHANGES
    if more > 0:
        changes[_SHOWN_CHANGES:] = [f"Changed: {more} more, see `runpermit show`."]
    return [*plan_warnings(pending.plan), *changes, *pending.warnings]


def ending_words(plan: Plan) -> str:
    """What happens if it fails, and how far a stop reaches, in plain text."""
    if plan.kind is PlanKind.READS_ONLY or not plan.may_be_approved:
        return ""
    words = (
        "If it fails or is stopped, nothing more is written. What was written then stays: nothing "
        "is put back by itself."
    )
    moving = [channel.channel for channel in plan.channels if not channel.stoppable]
    if moving:
        words += f" A move under way can't be halted (no `stop` in the limits): {names(moving)}."
    return words


def _page(pending: PendingApproval, writes: int, words: int, code: int, answers: int) -> str:
    plan = pending.plan
    asked = "Approve?" if plan.may_be_approved else "Can't be approved:"
    warnings = all_warnings(pending)[:_SHOWN_WARNINGS]
    parts = [
        f"### {asked} {markdown(question(plan), 300)}",
        f"**Revision {pending.revision}** {facts_line(pending)}",
        fenced("\n".join(machine_lines(plan)[:_SHOWN_CONDITIONS])) if plan.machine else "",
        "\n".join(f"⚠️ {markdown(warning, min(400, 4 * words))}" for warning in warnings),
        f"⚠️ Only the beginning of the code is shown. Read it: {_show(pending)}"
        if len(pending.code.rstrip("\n")) > code
        else "",
        fenced("\n".join(lines)) if (lines := write_lines(plan, writes)) else "",
        markdown(ending_words(plan), 500),
        "#### To answer",
        f"{clicks(pending)} *Request Cancellation* stops it, now and while it runs. The page does "
        "not refresh by itself: press R.",
        command_block(pending, answers),
        "#### Why (the requester's words)",
        f"Asked for: {markdown(pending.user_query, words)}\n"
        f"Task: {markdown(pending.task_objective, words)}\n"
        f"Requester: {markdown(pending.requester or 'not named', 128)}",
        _findings(pending, words),
        _code(pending, words, code),
    ]
    return "\n\n".join(part for part in parts if part)


def _show(pending: PendingApproval) -> str:
    return markdown(show_command(pending), 300)


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
