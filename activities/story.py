"""What the final notebook says in words: question, plan, decisions, what was written, what is left.

All of it is foreign or comes from the machine: escaped, cut, or in a fence.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from runpermit.journal_story import story
from runpermit.models import (
    DecisionRecord,
    FollowOutcome,
    LeftChange,
    Plan,
    PlanKind,
    PythonExecutionRequest,
    RestoreReport,
    Verb,
    Verdict,
    VerifiedChannel,
    WriteRecord,
)
from runpermit.models.journal import JournalRecords
from runpermit.models.writes import INLINE_WRITES
from runpermit.page import plan_warnings, question, write_lines
from runpermit.page.approval import reads_words
from runpermit.page.writes import machine_lines
from runpermit.plans.words import value_text
from runpermit.text import bounded, fenced, markdown
from workflows.steps import ConcludeTask, Folder

_PLANNED = 200
_RECORDS = 500


@dataclass(frozen=True)
class Evidence:
    """What lies in the folder and at the gate: writes and refusals as they were copied.

    `journal` is None where the gate was not asked or did not answer.
    """

    writes: Sequence[WriteRecord] = ()
    refusals: Sequence[str] = ()
    journal: JournalRecords | None = None


def told_story(task: ConcludeTask, request: PythonExecutionRequest, evidence: Evidence) -> str:
    """The story of an execution, in Markdown."""
    parts = [
        f"# {markdown(request.execution_folder_name, 80)}: {task.stage}",
        f"Execution {markdown(task.workflow_id, 200)}, attempt {task.attempt}, "
        f"isolation {task.isolation}.",
        f"## Question\n\n{fenced(bounded(request.user_query))}\n\n"
        f"Task:\n\n{fenced(bounded(request.task_objective))}",
        *(f"## {title}\n\n{text}" for title, text in _chapters(task, evidence) if text),
    ]
    return "\n\n".join(parts)


def _chapters(task: ConcludeTask, evidence: Evidence) -> Iterator[tuple[str, str]]:
    # The journal's word on them, where it was asked; else what the runs had copied.
    report = task.writes
    writes = report.writes if report is not None and report.forwarded else evidence.writes
    yield "Why it ended", fenced(bounded(task.failure)) if task.failure else ""
    yield "MACHINE LEFT CHANGED", _left(task.changes)
    yield "Warnings", _list(task.warnings)
    yield "Model", _model(task)
    yield "Plan", _plan(task.plan)
    yield "Decisions", _list(_decision(record) for record in task.decisions)
    yield "Writes", _unknown(task)
    yield "Writes, as the gate recorded them", _writes(writes, task)
    yield "Writes that were refused", _list(evidence.refusals)
    yield "Verification, channel by channel", _verified(task.verified)
    yield "What was put back", _restored(task.restored, task.decisions)
    yield "The gate's journal", _journal(evidence.journal)


def _model(task: ConcludeTask) -> str:
    facts = (f"{key}: {value}" for key, value in task.model.items())
    return fenced(bounded("\n".join(facts))) if task.model else ""


def _plan(plan: Plan | None) -> str:
    if plan is None or plan.kind is PlanKind.READS_ONLY:
        return ""
    at = f"{plan.rehearsed_at:%Y-%m-%d %H:%M:%S} UTC" if plan.rehearsed_at else "never"
    lines = machine_lines(plan)
    parts = [
        markdown(question(plan), 300),
        f"Rehearsed: {at}.",
        fenced("\n".join(lines)) if lines else "",
        _list(plan_warnings(plan)),
        fenced("\n".join(write_lines(plan, _PLANNED))),
        markdown(reads_words(plan, 20), 1000),
    ]
    return "\n\n".join(part for part in parts if part)


def _decision(record: DecisionRecord) -> str:
    counted = "" if record.accepted else f" (did not count: {record.reason})"
    comment = f": {record.comment}" if record.comment else ""
    shown = f" {record.revision}" if record.revision else ""
    return (
        f"{record.at:%Y-%m-%d %H:%M:%S} UTC {record.verb or 'no decision'}{shown} by {record.by}"
        f"{counted}{comment}"
    )


def _unknown(task: ConcludeTask) -> str:
    if not task.wrote or task.verdict not in {None, Verdict.UNKNOWN}:
        return ""
    return (
        "What was written is not known here: see the gate's journal (gate.journal), execution "
        f"{markdown(task.workflow_id, 200)}, with `runpermit audit`."
    )


def _writes(writes: Sequence[WriteRecord], task: ConcludeTask) -> str:
    if not writes:
        return ""
    rows = [
        (write.at, write.channel, write.old, write.new, write.outcome, write.read_back)
        for write in writes[:INLINE_WRITES]
    ]
    table = _table(("at", "channel", "before", "written", "outcome", "read back"), rows)
    verdict = f"Verdict of the journal: {task.verdict}.\n\n" if task.verdict else ""
    forwarded = task.writes.forwarded if task.writes is not None else len(writes)
    more = max(forwarded, len(writes)) - len(rows)
    return f"{verdict}{table}{_rest(more, task.folder)}"


def _rest(more: int, folder: Folder) -> str:
    return f"\n\n{more} more: see {folder.journal.name}." if more > 0 else ""


def _verified(channels: Sequence[VerifiedChannel]) -> str:
    if not channels:
        return ""
    rows = [
        (
            channel.channel,
            value_text(channel.written),
            value_text(channel.reads),
            "accepted" if channel.accepted else "DIFFERS",
            channel.device,
            _followed(channel),
            channel.on_the_way,
            channel.alarm,
        )
        for channel in channels
    ]
    heads = (
        "setpoint",
        "written",
        "reads",
        "setpoint is",
        "device",
        "device has",
        "before",
        "alarm",
    )
    return _table(heads, rows)


def _followed(channel: VerifiedChannel) -> str:
    outcome = channel.outcome.replace("_", " ")
    if channel.outcome in {FollowOutcome.UNCHECKED, FollowOutcome.UNREADABLE}:
        return outcome
    expected, reads = value_text(channel.expected), value_text(channel.device_reads)
    return f"{outcome}: reads {reads}, expected {expected}"


def _left(changes: Sequence[LeftChange]) -> str:
    return _list(
        f"{change}{'' if change.restorable else f'. Cannot be put back: {change.why_not}'}"
        f"{'. The last write is uncertain' if change.uncertain else ''}"
        for change in changes
    )


def _restored(report: RestoreReport | None, decisions: Sequence[DecisionRecord]) -> str:
    if report is None:
        return ""
    whole = "Everything is back" if report.complete else "NOT everything is back"
    asked = [one for one in decisions if one.accepted and one.verb is Verb.RESTORE]
    # What the gate was told, where the decision is not among those that came here.
    unknown = f"{report.operator or 'an unnamed operator'} (not verified)"
    who = markdown(asked[-1].by if asked else unknown, 160)
    rows = [
        (
            channel.channel,
            value_text(channel.before),
            value_text(channel.reads),
            channel.outcome.replace("_", " "),
            channel.reason,
            channel.writes,
        )
        for channel in report.channels
    ]
    heads = ("channel", "before", "reads", "outcome", "reason", "writes")
    return f"{whole}; asked for by {who}.\n\n{_table(heads, rows)}"


def _journal(journal: JournalRecords | None) -> str:
    if journal is None or not journal.records:
        return ""
    lines = story(journal.records)
    more = len(lines) - _RECORDS + journal.left_out
    if len(lines) > _RECORDS or journal.left_out:
        lines = [*lines[:_RECORDS], f"… and {more} records more"]
    return fenced("\n".join(lines))


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(markdown(str(cell), 80) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {markdown(item, 500)}" for item in items)
