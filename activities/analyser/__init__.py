"""Static analysis of a generated program: parsed, with names resolved, never matched as text.

It chooses where a program starts, explains it and gives feedback. It protects nothing: that is the
business of gate and sandbox. One pass over the tree follows names to what they are bound to;
function bodies come last, with anything for their parameters. What touches the control system
and can't be resolved counts as a write, with the channel None.

What it does not see:

- `def ramp(name, value): caput(name, value)` is one write without channel or value, whatever the
  calls `ramp("A", 1)` say; so is `self.pv.put(1)`.
- `pvs = site_library.magnets()`, then `pvs[0].put(1)`: what a library of the site gives or does
  inside counts as no control object, so this is no write.
- `if False: caput("A", 500)` and whatever follows a `return` count as if they ran. Values that
  branches or a loop's conditions choose are not judged: `x = 500`, then `if ok: x = 1`.
- `x = 1`, then a call of a function that says `global x`, then `caput("A", x)` shows 1; and a list
  changed through a second name for it shows what it held before.
"""

from activities.analyser.findings import MAX_LISTED, Findings
from activities.analyser.program import Program
from activities.analyser.source import parse, too_deep
from activities.analyser.work import bounded
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
    Raises CodeSyntaxError where it is not Python or too large to follow, and, where the deployment
    lets code write, ChannelLimitsViolationError for the first constant that the limits refuse; its
    `technical_details` hold the `line` and the messages of `all` of them.
    """
    tree = parse(code)
    findings = Findings()
    try:
        with bounded():
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
