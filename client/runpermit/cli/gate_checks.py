"""The doctor's look at the gate: reachable, limits in force, inhibited, journal, channels."""

import getpass

from runpermit.cli.checks import Check, Verdict
from runpermit.cli.found import find_channels
from runpermit.cli.gate_report import GateReport, ask_for_report
from runpermit.config import Settings, limits_file
from runpermit.errors import PythonExecutorException
from runpermit.limits_live import channels_of
from runpermit.models import Assurance
from runpermit.text import brief

# The doctor takes no longer, however many a facility has.
_MOST_CHANNELS = 200
_TOLD_CHANNELS = 5


def check_gate(settings: Settings) -> list[Check]:
    """All checks of the gate; only the first where it does not answer."""
    try:
        report = ask_for_report(settings.gate.socket, {"do": "status"})
    except PythonExecutorException as error:
        writes = settings.control_system.writes_enabled
        return [
            Check(
                name="gate",
                verdict=Verdict.FAIL if writes else Verdict.WARN,
                found=error.message,
            )
        ]
    return [
        _gate(settings, report),
        _limits(settings, report),
        _inhibit(report),
        _journal(report),
        *([_approval(settings, report)] if report.writes else []),
    ]


def check_channels(settings: Settings) -> Check:
    """Whether the IOCs of the first channels that the limits database names answer."""
    database = limits_file(settings.limits).validator.database
    if database is None:
        return Check(name="channels", verdict=Verdict.WARN, found="no limits database names any")
    names = channels_of(database)
    try:
        found = find_channels(settings.gate.socket, names[:_MOST_CHANNELS])
    except PythonExecutorException as error:
        return Check(name="channels", verdict=Verdict.FAIL, found=error.message)
    silent = [channel for channel in found.values() if channel.problem]
    if not silent:
        told = f"{len(found)} of the {len(names)} in the limits database answer"
        return Check(name="channels", verdict=Verdict.OK, found=told)
    told = ", ".join(brief(channel.name) for channel in silent[:_TOLD_CHANNELS])
    return Check(
        name="channels",
        verdict=Verdict.FAIL,
        found=f"{len(silent)} of {len(found)} do not answer: {told}",
        remedy="Start their IOCs, or mend the names; `runpermit limits check FILE --live` tells "
        "of each.",
    )


def _gate(settings: Settings, report: GateReport) -> Check:
    writes = "lets writes pass" if report.writes else "lets nothing write"
    found = f"{settings.gate.socket}, {writes}, {report.sessions} sessions"
    if settings.control_system.writes_enabled and not report.writes:
        return Check(
            name="gate",
            verdict=Verdict.FAIL,
            found=found,
            remedy="Set control_system.writes_enabled in the gate's own settings too, or not here.",
        )
    return Check(name="gate", verdict=Verdict.OK, found=found)


def _limits(settings: Settings, report: GateReport) -> Check:
    limits = report.limits
    if not limits.enabled:
        return Check(
            name="gate's limits",
            verdict=Verdict.WARN,
            found="checking is disabled: nothing bounds what is written",
            remedy="Set [limits] enabled = true and file in the gate's settings.",
        )
    if limits.error is not None:
        return Check(
            name="gate's limits",
            verdict=Verdict.FAIL if report.writes else Verdict.WARN,
            found=limits.error,
            remedy="Until then every write is refused; `runpermit limits check FILE` explains.",
        )
    found = f"{limits.channels} channels in {limits.path}, sha256 {(limits.sha256 or '')[:6]}"
    if limits.binds != limits_file(settings.limits).status().binds:
        return Check(
            name="gate's limits",
            verdict=Verdict.WARN,
            found=f"LIMITS DIFFER from this worker's {settings.limits.file}: {found}",
            remedy="Give gate and worker the same file and the same switches in [limits].",
        )
    return Check(name="gate's limits", verdict=Verdict.OK, found=found)


def _journal(report: GateReport) -> Check:
    """Whether whoever asks could change the journal; asked as the worker's user, the worker."""
    who = getpass.getuser()
    if report.journal_protected:
        return Check(name="journal", verdict=Verdict.OK, found=f"protected from the user {who}")
    refused = report.writes and report.no_writes
    told = f": {report.no_writes}" if refused else ""
    return Check(
        name="journal",
        verdict=Verdict.FAIL if refused else Verdict.WARN,
        found=f"journal not protected from the worker, if that is the user {who}{told}",
        remedy="Run gate and worker as two users, neither of them root.",
    )


def _approval(settings: Settings, report: GateReport) -> Check:
    """How well the gate knows an approver."""
    assurance = report.approval.assurance
    if report.approval.problem is not None:
        return Check(name="approval", verdict=Verdict.FAIL, found=report.approval.problem)
    ours = settings.approval.rule
    if assurance is not ours.assurance and settings.control_system.writes_enabled:
        return Check(
            name="approval",
            verdict=Verdict.FAIL,
            found=(
                f"the gate needs {assurance} approvals, this worker asks for {ours.assurance} ones"
            ),
            remedy="Set the same approval.assurance in the settings of both.",
        )
    needed = (report.approval.persons, sorted(report.approval.approvers))
    if needed != (ours.persons, sorted(ours.approvers)) and settings.control_system.writes_enabled:
        return Check(
            name="approval",
            verdict=Verdict.FAIL,
            found="the gate needs other persons, or more of them, than this worker asks",
            remedy="Set the same approval.persons and approval.approvers in the settings of both.",
        )
    if assurance is not Assurance.SIGNED:
        return Check(
            name="approval",
            verdict=Verdict.WARN,
            found=f"{assurance}: the gate takes the worker's word for who approved",
            remedy='With approval.assurance = "signed" it verifies that itself.',
        )
    if not report.journal_protected:
        return Check(
            name="approval",
            verdict=Verdict.WARN,
            found=f"signed, but the user {getpass.getuser()} could change who may sign",
            remedy="Run gate and worker as two users, neither of them root.",
        )
    return Check(name="approval", verdict=Verdict.OK, found="signed, verified by the gate")


def _inhibit(report: GateReport) -> Check:
    refusal = report.inhibit.refusal
    if refusal is not None:
        return Check(name="inhibit", verdict=Verdict.WARN, found=refusal)
    channel = report.inhibit.channel
    found = f"off; inhibit channel {channel}" if channel else "off; no inhibit channel is set"
    return Check(name="inhibit", verdict=Verdict.OK, found=found)
