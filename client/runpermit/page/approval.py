"""The page of an approval: what would be written, what is known of it, and how to answer.

Above the code stands only what gate and limits database say, escaped; the words of the agent and
the model come last, cut and labelled.
"""

from dataclasses import dataclass

from runpermit.models import PendingApproval, Plan, PlanKind
from runpermit.page.answers import clicks, command_block, not_counted
from runpermit.page.layout import first
from runpermit.page.sizing import fitting
from runpermit.page.warnings import names, plan_warnings
from runpermit.page.writes import machine_lines, write_lines
from runpermit.plans import headline
from runpermit.plans.words import counted
from runpermit.text import fenced, markdown, one_line, preformatted, sentence

_CODE_WIDTH = 49
_SHOWN_CHANGES = 5
# How the house's own warnings begin of which a yes would come to nothing.
_REFUSED = ("INHIBITED", "LIMITS ")
# How gate and plans word what changed.
_AGAIN = ". Rehearse "
_NOW, _THEN = " now reads ", " when the plan was made"


@dataclass(frozen=True)
class _Size:
    """How much is shown: lines of the plan and of the machine, warnings, commands; characters."""

    lines: int
    machine: int
    warnings: int
    commands: int
    words: int
    code: int


# From what reads well to what fits whatever is in it.
_SIZES = (
    _Size(lines=100, machine=20, warnings=20, commands=4, words=400, code=3000),
    _Size(lines=60, machine=10, warnings=20, commands=4, words=200, code=1000),
    _Size(lines=30, machine=6, warnings=10, commands=4, words=80, code=300),
    _Size(lines=12, machine=3, warnings=6, commands=1, words=40, code=100),
    _Size(lines=4, machine=1, warnings=3, commands=1, words=15, code=30),
    _Size(lines=2, machine=1, warnings=2, commands=1, words=8, code=10),
)


@dataclass(frozen=True)
class _Told:
    """What is said of a plan, before any of it is cut."""

    title: str
    machine: list[str]
    warnings: list[str]
    writes: list[str]
    reads: str
    ending: str


def question(plan: Plan) -> str:
    """The question in one line of plain text: how many writes, to which channels, which values."""
    if plan.kind is PlanKind.READS_ONLY:
        return "Run this code? It only reads."
    return headline(plan)


def approval_page(pending: PendingApproval) -> str:
    """The page of a waiting approval, in the Markdown that the Temporal Web UI can show."""
    # Once, whatever fits then: a workflow must not think for long.
    told = _Told(
        title=title(pending),
        machine=machine_lines(pending.plan),
        warnings=all_warnings(pending),
        writes=write_lines(pending.plan),
        reads=reads_words(pending.plan),
        ending=ending_words(pending.plan),
    )
    return fitting(lambda size: _page(pending, told, size), _SIZES)


def title(pending: PendingApproval) -> str:
    """The question with its revision and the time of its rehearsal, in one line of plain text."""
    plan = pending.plan
    asked = "Approve?" if plan.may_be_approved else "Can't be approved:"
    told = f"{asked} {question(plan).rstrip('.')}, {pending.revision}"
    at = plan.rehearsed_at
    return f"{told}, rehearsed {at:%H:%M:%S} UTC" if at else told


def facts_line(pending: PendingApproval) -> str:
    """Which question it is, and its times."""
    expiry = f"{pending.expires_at:%Y-%m-%d %H:%M:%S} UTC" if pending.expires_at else "never"
    asked = f"asked {pending.asked_at:%Y-%m-%d %H:%M:%S} UTC"
    return f"(number {pending.number}) · {asked} · expires {expiry}"


def all_warnings(pending: PendingApproval) -> list[str]:
    """All of them, the worst first: writes refused, what changed, what did not count, the rest."""
    refused = [warning for warning in pending.warnings if warning.startswith(_REFUSED)]
    return [
        *refused,
        *_changes(pending.changed),
        *not_counted(pending),
        *plan_warnings(pending.plan),
        *(warning for warning in pending.warnings if warning not in refused),
    ]


def _changes(changed: list[str]) -> list[str]:
    """What is no longer as it was; each thing once, and not what to do: it was rehearsed again."""
    said = list(dict.fromkeys(change.split(_AGAIN)[0].rstrip(".") for change in changed))
    now = tuple(change.split(_NOW)[0] for change in said if _NOW in change)
    # Of a channel the new plan tells what it reads now: why the gate refused the old one is that.
    olds = tuple(f"{name}{sign} reads " for name in now for sign in ("", ":"))
    told = [
        f"Changed since the revision before: {change}."
        for change in said
        if not (olds and change.startswith(olds) and _THEN in change)
    ]
    if told:
        told[0] = f"This run has written nothing so far. {told[0]}"
    more = len(told) - _SHOWN_CHANGES
    return [
        *told[:_SHOWN_CHANGES],
        *([f"Changed: {more} more, see runpermit show."] if more > 0 else []),
    ]


def ending_words(plan: Plan) -> str:
    """What happens if it fails, and how far a stop reaches, in plain text."""
    if plan.kind is PlanKind.READS_ONLY or not plan.may_be_approved:
        return ""
    words = (
        f"{_put_back(plan)} If it fails or is stopped, nothing more is written. What was written "
        "then stays: nothing is put back by itself."
    )
    moving = [channel.channel for channel in plan.channels if not channel.stoppable]
    if moving:
        words += (
            f" If it is stopped in the middle, a move that has begun goes on to its end: "
            f"{names(moving)}."
        )
    return words


def _put_back(plan: Plan) -> str:
    """How much of it a restore could undo; the warnings tell why not the rest."""
    count = len(plan.channels)
    restorable = sum(1 for channel in plan.channels if channel.restorable)
    if restorable == count:
        return "All of it can be put back."
    if not restorable:
        return "None of it can be put back."
    return f"{restorable} of its {count} channels can be put back."


def revised_words(pending: PendingApproval, width: int) -> str:
    """Who sent the revision before back, and with which words, in one line of plain text."""
    said = pending.revised
    if said is None:
        return ""
    return one_line(f"Revised by {said.by}: {said.comment or 'no comment was given'}", width)


def reads_words(plan: Plan, shown: int = 3) -> str:
    """What the rehearsal read, in plain text."""
    if not plan.reads:
        return ""
    count = counted(len(plan.reads), "channel")
    return f"Reads {count}: {names(plan.reads, shown)}."


def _page(pending: PendingApproval, told: _Told, size: _Size) -> str:
    words = size.words
    code_is_cut = len(pending.code.rstrip("\n")) > size.code
    # What is needed for a decision stands on the first screen, where a blank line costs three.
    parts = [
        f"### {markdown(told.title, min(300, 5 * words))}",
        "\n".join([clicks(pending), *_warnings(told, size, code_is_cut=code_is_cut)]),
        _block(told, size),
        markdown(told.ending, min(500, 10 * words)),
        f"**Revision {pending.revision}** {facts_line(pending)}\n"
        f"{markdown(told.reads, min(300, 5 * words))}".rstrip(),
        "#### To answer by command",
        "*Request Cancellation* stops it, now and while it runs. The page does not refresh by "
        "itself: press R.",
        command_block(
            pending,
            size.commands,
            show=code_is_cut or len(told.warnings) > size.warnings or len(told.writes) > size.lines,
        ),
        "#### Why (the requester's words)",
        f"{markdown(revised_words(pending, words), words)}\n"
        f"Asked for: {markdown(pending.user_query, words)}\n"
        f"Task: {markdown(pending.task_objective, words)}\n"
        f"Requester: {markdown(pending.requester or 'not named', min(128, 2 * words))}".lstrip(),
        _findings(pending, words),
        _code(pending, words, size.code),
    ]
    return "\n\n".join(part for part in parts if part)


def _warnings(told: _Told, size: _Size, *, code_is_cut: bool) -> list[str]:
    width = min(400, 4 * size.words)
    lines = [
        f"⚠️ {markdown(sentence(warning, width), width)}"
        for warning in told.warnings[: size.warnings]
    ]
    if (more := len(told.warnings) - size.warnings) > 0:
        lines.append(f"⚠️ {more} more warnings: `runpermit show` below has all.")
    if code_is_cut:
        lines.append("⚠️ Only the beginning of the code is shown: `runpermit show` below has all.")
    return lines


def _block(told: _Told, size: _Size) -> str:
    """The machine and, a line below, what would be written to it."""
    parts = [first(told.machine, size.machine), first(told.writes, size.lines)]
    text = "\n\n".join("\n".join(lines) for lines in parts if lines)
    return fenced(text) if text else ""


def _findings(pending: PendingApproval, words: int) -> str:
    issues = pending.analysis_issues[: words // 40]
    return "\n".join(f"Analysis: {markdown(issue, words // 2)}" for issue in issues)


def _code(pending: PendingApproval, words: int, most: int) -> str:
    code = pending.code.rstrip("\n")
    lines = "1 line" if "\n" not in code else f"{code.count(chr(10)) + 1} lines"
    shown = code if len(code) <= most else code[:most]
    rest = "" if shown is code else " (only its beginning: the whole is in the notebook below)"
    return (
        f"#### Code, {lines}{rest}\n\n<details open><summary>show or hide</summary>"
        f"<pre>{preformatted(shown, _CODE_WIDTH)}</pre></details>\n\n"
        f"Notebook: {markdown(pending.notebook_path, min(300, 3 * words))}"
    )
