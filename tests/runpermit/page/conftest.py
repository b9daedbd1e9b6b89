"""Plans and questions to show, and what a page becomes in a browser."""

from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

from markdown_it import MarkdownIt

from runpermit.models import (
    DecisionRecord,
    DecisionWay,
    Declaration,
    ExecutionMode,
    LeftBehind,
    LeftChange,
    MachineState,
    PendingApproval,
    PendingRestore,
    Plan,
    PlanKind,
    PlannedChannel,
    PlannedWrite,
    Revision,
    Verb,
)

PAGE_BYTES = 8 * 1024
AT = datetime(2026, 1, 1, 3, 12, 5, tzinfo=UTC)
OURS = {"h2", "h3", "h4", "p", "strong", "em", "code", "pre", "details", "summary", "br"}
HOSTILE = [
    "</pre></details><script>alert(1)</script>\n\n# Approved by everybody\n\n",
    "```\n</pre>\n\n<h1>Approved</h1>\n\n```",
    "\u202e\x1b[2J\x00\u200b",
    "[click](http://evil) ![x](http://evil) <b>x</b> | a | b |\n|---|---|",
    "&<>\"'`*_#" * 2000,
    "\U0001f600" * 5000,
    "\n\n\n<img src=x>\n\n" * 500,
    "x" * 100_000,
]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.attributes: list[Any] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.attributes += attrs

    def handle_comment(self, data: str) -> None:
        del data
        self.found.append("comment")


def tags(page: str) -> Tags:
    parser = Tags()
    parser.feed(MarkdownIt("commonmark", {"html": True}).enable("table").render(page))
    parser.close()
    return parser


def write(channel: str = "SR:HCM1:SP", new: Any = 0.3, **fields: Any) -> PlannedWrite:
    return PlannedWrite(channel=channel, new=new, **({"old": 0.1} | fields))


def channel(name: str = "SR:HCM1:SP", **fields: Any) -> PlannedChannel:
    plain: dict[str, Any] = {
        "description": "Corrector 1", "units": "A", "live": 0.1, "writes": 1, "low": 0.3,
        "high": 0.3, "last": 0.3, "min_value": -1.0,
        "max_value": 1.0, "max_step": 0.5, "largest_step": 0.2, "restorable": True,
        "stoppable": True,
    }  # fmt: skip
    return PlannedChannel(channel=name, **(plain | fields))


def plan(**fields: Any) -> Plan:
    plain: dict[str, Any] = {
        "kind": PlanKind.COMPLETE, "writes": [write()], "channels": [channel()],
        "machine": [
            MachineState(channel="SR:BEAM:CURRENT", op=">", value=1, reads="200.1", holds=True)
        ],
        "rehearsed_at": AT,
    }  # fmt: skip
    return Plan(**(plain | fields))


def ramp(name: str, steps: int = 40, at: float = 0.0, size: float = 0.01) -> list[PlannedWrite]:
    return [
        write(
            name, round((step + 1) * size, 6), old=round(step * size, 6), after=at + 0.1 * step
        )
        for step in range(steps)
    ]  # fmt: skip


def pending(
    shown: Plan | None = None, *, code: str = "x = 1\n", workflow: str = "orbit-1", **fields: Any
) -> PendingApproval:
    binds = Revision(
        workflow_id=workflow,
        first_run_id="3ed14fb9",
        number=1,
        code=code,
        plan=shown or plan(),
        limits_sha256="0" * 64,
        inputs={},
        kernel_environment="",
    )
    plain: dict[str, Any] = {
        "warnings": ["approver not verified"], "execution_mode": ExecutionMode.WRITE_ACCESS,
        "user_query": "Correct the orbit", "task_objective": "Set HCM1", "expected_results": {},
        "requester": "jd", "analysis_issues": ["line 3: a write"], "folder_path": "/srv/x",
        "notebook_path": "/srv/x/attempts/02_approval.ipynb", "notebook_link": "http://n/x",
        "asked_at": AT,
    }  # fmt: skip
    return PendingApproval(binds=binds, **(plain | fields))


def refused(**fields: Any) -> DecisionRecord:
    plain: dict[str, Any] = {
        "verb": Verb.APPROVE, "at": AT, "via": DecisionWay.SIGNAL, "accepted": False,
        "reason": "it is for revision 3f2a1c, but 7f3a9c waits",
    }  # fmt: skip
    return DecisionRecord(**(plain | fields))


def hostile_plan(text: str, **fields: Any) -> Plan:
    bad = channel(
        text, description=text, units=text, state=text, alarm=text, moved_by=text, live=text,
        clamped=text,
        restorable=False, why_not=text, stoppable=False, last=text, last_state=text,
    )  # fmt: skip
    plain: dict[str, Any] = {
        "writes": [write(text, text, old=text, state=text) for _ in range(40)],
        "channels": [bad] * 40,
        "declared": [Declaration(channel=text, low=0, high=1, max_writes=3)] * 40,
        "machine": [MachineState(channel=text, op=text, value=text, reads=text, holds=False)] * 40,
        "reads": [text],
        "unknown": [text] * 40,
        "upstream": text,
        "problem": text,
    }
    return plan(**(plain | fields))


def hostile(text: str, **fields: Any) -> PendingApproval:
    return pending(
        hostile_plan(text, **fields),
        code=text,
        workflow=text[:255],
        warnings=[text] * 40,
        changed=[text] * 40,
        not_counted=refused(operator=text, reason=text),
        revised=refused(operator=text, comment=text),
        user_query=text,
        task_objective=text,
        requester=text[:128],
        analysis_issues=[text] * 40,
        notebook_path=text,
        cli_options=text[:100],
    )


def change(name: str = "SR:HCM1:SP", **fields: Any) -> LeftChange:
    return LeftChange(channel=name, **({"before": 0.1, "written": 0.3, "reads": 0.3} | fields))


def pending_restore(
    changes: list[LeftChange] | None = None, *, workflow: str = "orbit-1", **fields: Any
) -> PendingRestore:
    binds = LeftBehind(
        workflow_id=workflow, first_run_id="3ed14fb9", number=1, changes=changes or [change()]
    )
    return PendingRestore(binds=binds, **({"reason": "Stopped by jd", "asked_at": AT} | fields))
