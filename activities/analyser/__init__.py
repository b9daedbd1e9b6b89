"""Static analysis of a generated program: parsed, with names resolved, never matched as text.

It chooses where a program starts, explains it and gives feedback. It protects nothing: that is the
business of gate and sandbox. What it is known not to see: control objects that come out of
containers or calls which it can't follow under other method names than `put` and `move` or
attributes other than `value`; what a library of the site does inside; code that a file or the
network brings in by an import of a module that the program wrote itself.
"""

from activities.analyser.findings import MAX_LISTED, Findings
from activities.analyser.source import parse, too_deep
from activities.analyser.statements import Program
from runpermit.errors import ChannelLimitsViolationError
from runpermit.limits import LimitsValidator, ViolationType
from runpermit.models.analysis import AnalysisResult, Severity
from runpermit.models.modes import ExecutionControlConfig

__all__ = ["analyse_code"]


def analyse_code(
    code: str, *, validator: LimitsValidator, control: ExecutionControlConfig
) -> AnalysisResult:
    """What `code` imports, reads, writes and risks, and the mode that follows from it.

    Pure and bounded in time and memory. Severity `error` means that the code must not run.
    Raises CodeSyntaxError where it is not Python, and, where the deployment lets code write,
    ChannelLimitsViolationError for the first constant that the limits refuse; its
    `technical_details` hold the `line` and the messages of `all` of them.
    """
    tree = parse(code)
    findings = Findings()
    try:
        Program(findings).read(tree)
    except RecursionError as error:
        raise too_deep() from error
    if control.control_system_writes_enabled:
        _judge_constants(findings, validator)
    if not findings.assigns_results:
        findings.issue(
            "The program assigns no `results`.",
            Severity.WARNING,
            "Leave your results in a dict `results` at the top level.",
        )
    return AnalysisResult(
        issues=list(findings.issues),
        recommendations=list(findings.recommendations),
        severity=findings.severity,
        imports=findings.listed_imports(),
        reads=findings.reads,
        writes=findings.writes,
        has_epics_reads=bool(findings.reads),
        has_epics_writes=bool(findings.writes),
        execution_mode=control.get_execution_mode(
            has_epics_writes=bool(findings.writes), has_epics_reads=bool(findings.reads)
        ),
    )


def _judge_constants(findings: Findings, validator: LimitsValidator) -> None:
    first: ChannelLimitsViolationError | None = None
    messages: list[str] = []
    for write in findings.constant_writes:
        try:
            validator.static_check(write.channel, write.value)
        except ChannelLimitsViolationError as violation:
            if violation.violation_type == ViolationType.LIMITS_UNAVAILABLE:
                findings.issue(
                    f"line {write.line}: {violation.message}",
                    Severity.WARNING,
                    "Ask the facility to repair the limits database; the code is not to blame.",
                )
                continue
            if len(messages) == MAX_LISTED:
                break
            messages.append(f"line {write.line}: {violation.message}")
            if first is None:
                first = violation
                first.technical_details["line"] = write.line
    if first is not None:
        first.technical_details["all"] = messages
        raise first
