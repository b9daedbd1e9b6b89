import asyncio
import base64
import html
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
import pytest

from activities.notebook import attempt_notebook, final_notebook
from activities.rerun import guarded
from activities.story import Evidence
from kernels.interface import Figure, RunOutcome
from runpermit.errors import CodeRuntimeError
from runpermit.models import (
    Assurance,
    DecisionRecord,
    DecisionWay,
    FollowOutcome,
    Isolation,
    LeftChange,
    MachineState,
    Plan,
    PlanKind,
    PlannedChannel,
    PlannedWrite,
    PythonExecutionSuccess,
    RestoredChannel,
    RestoreOutcome,
    RestoreReport,
    Stage,
    Verb,
    Verdict,
    VerifiedChannel,
    WriteOutcome,
    WriteRecord,
    WriteReport,
)
from runpermit.models.journal import JournalRecords
from tests.gate.conftest import serving_ioc
from workflows.steps import ConcludeTask

ROOT = Path(__file__).parents[2]
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
HOSTILE = (
    "</script><script>alert(1)</script> [click](javascript:alert(1)) ![x](http://evil/x.png)\n"
    "```\n# Approved by the operator\n~~~\n<img src=x onerror=alert(1)>\n\u202eevil\x1b[31m|a|b|"
)
NONE = Evidence()
PLAN = Plan(
    kind=PlanKind.COMPLETE,
    writes=[PlannedWrite(channel="SR:X", old=0, new=1)],
    channels=[
        PlannedChannel(
            channel="SR:X", units="A", live=0, writes=1, low=1, high=1, last=1, why_not="an enum"
        )
    ],
    reads=["SR:BPM1:X"],
    machine=[MachineState(channel="SR:BEAM:CURRENT", op=">", value=1, reads="200", holds=True)],
    rehearsed_at=datetime(2026, 11, 1, 12, tzinfo=UTC),
)  # fmt: skip

# Programs whose first effect is a write, in every place where the guard could come too late.
PROGRAMS = {
    "plain": "write(1)\n",
    "no newline at the end": "write(1)",
    "docstring": '"""Doc."""\nwrite(1)\n',
    "docstring on the same line": '"""Doc."""; write(1)\n',
    "docstring over lines": '"""Doc\nwrite(9)\n"""; write(1)\n',
    "docstring continued": '"Doc"; \\\nwrite(1)\n',
    "docstring in parts": '"Do" \\\n  "c"\nwrite(1)\n',
    "future": "from __future__ import annotations\nwrite(1)\n",
    "future on the same line": "from __future__ import annotations; write(1)\n",
    "futures": "from __future__ import annotations\nfrom __future__ import division; write(1)\n",
    "future in brackets": "from __future__ import (\n  annotations,\n); write(1)\n",
    "docstring, future, write on one line": '"d"; from __future__ import division; write(1)\n',
    "decorator": '"""Doc."""\n@write\ndef f(): pass\n',
    "decorators": "@write\n@write\nclass C: pass\n",
    "default": '"""Doc."""\ndef f(x=write(1)): pass\n',
    "annotation": "x: write(1) = 2\n",
    "class body": "class C: write(1)\n",
    "second string": '"""Doc."""\nf"{write(1)}"\n',
    "f-string first": 'f"{write(1)}"\n',
    "bytes first": 'b"x"; write(1)\n',
    "assertion": "assert write(1) is None\n",
    "comments": "# write(9)\n\n# é\nwrite(1)\n",
    "windows lines": '"""Doc."""\r\nwrite(1)\r\n',
    "windows lines, same line": '"""Do\r\nc."""; write(1)\r\n',
    "old mac lines": '"""Doc."""\rwrite(1)\r',
    "form feed": '"""Doc."""\n\x0cwrite(1)\n',
    "other line ends are none": '"""Do\x0b\x1c\u2028\u0085c."""; write(1)\n',
    "letters before it on the line": '"""Dôc 漢字 🎉."""; write(1)\n',
    "indented string": 'if True:\n    "x"; write(1)\n',
    "loop": "for _ in [1]: write(1)\n",
    "lambda": "(lambda: write(1))()\n",
}
BROKEN = {
    "unparsable": "write(1)\nthis is no python\n",
    "magic": "!caput SR:X 1\n",
    "nul": "write(1)\0",
    "too deep": "(" * 500 + ")" * 500,
    "await": "await write(1)\n",
    "byte order mark": "\ufeffwrite(1)\n",
}


def execute(code: str) -> list[Any]:
    """The writes that `code` does until it ends or raises; its exception is the last item."""
    written: list[Any] = []
    try:
        exec(compile(code, "cell", "exec", dont_inherit=True), {"write": written.append})  # noqa: S102
    except Exception as error:  # noqa: BLE001
        written.append(error)
    return written


@pytest.mark.parametrize("code", PROGRAMS.values(), ids=PROGRAMS)
def test_guarded_code_does_nothing_before_it_refuses(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNPERMIT_RERUN_WRITES", raising=False)
    assert execute(code)
    (refusal,) = execute(guarded(code))
    assert isinstance(refusal, RuntimeError)
    assert "RUNPERMIT_RERUN_WRITES=1" in str(refusal)


@pytest.mark.parametrize("code", PROGRAMS.values(), ids=PROGRAMS)
def test_guarded_code_does_the_same_where_it_is_wanted(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNPERMIT_RERUN_WRITES", "1")
    known, again = execute(code), execute(guarded(code))
    assert len(again) == len(known) > 0
    assert not any(isinstance(item, Exception) for item in known + again)


@pytest.mark.parametrize("value", ["", "0", "true", "yes"])
def test_only_1_is_a_yes(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPERMIT_RERUN_WRITES", value)
    assert isinstance(execute(guarded("write(1)"))[0], RuntimeError)


@pytest.mark.parametrize("code", BROKEN.values(), ids=BROKEN)
def test_code_that_cannot_be_parsed_stands_whole_behind_the_guard(code: str) -> None:
    whole = guarded(code)
    assert whole.endswith(code)
    guard = whole.removesuffix(code)
    assert isinstance(execute(guard)[0], RuntimeError)


@pytest.mark.parametrize("code", ["", '"""Doc."""', "from __future__ import division\n", "# x\n"])
def test_code_that_does_nothing_needs_no_guard(code: str) -> None:
    assert guarded(code) == code


def story(desk: Any, **fields: Any) -> ConcludeTask:
    folder = desk.folder()
    known: dict[str, Any] = {
        "folder": folder,
        "workflow_id": "wf",
        "first_run_id": "run",
        "stage": Stage.SUCCEEDED,
        "code": 'results = {"n": 1}',
        "model": {},
        "attempt": 1,
        "isolation": Isolation.FULL,
        "plan": None,
        "warnings": [],
        "decisions": [],
        "result": PythonExecutionSuccess(
            results={"n": 1},
            stdout="",
            execution_time=1,
            folder_path=folder.path,
            notebook_path=folder.notebook,
            notebook_link=folder.link_to(folder.notebook),
        ),
        "failure": None,
        "wrote": False,
        "notebook": desk.notebook(folder),
    }
    return ConcludeTask(**(known | fields))


def cells(text: str) -> list[Any]:
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    return list(notebook.cells)


def test_the_final_notebook_tells_the_story(desk: Any) -> None:
    task = story(
        desk,
        wrote=True,
        plan=PLAN,
        warnings=["LIMITS OFF"],
        model={"model": "gpt-4.1-mini"},
        decisions=[
            DecisionRecord(
                verb=verb,
                at=datetime(2026, 11, 1, 12, tzinfo=UTC),
                via=DecisionWay.SIGNAL,
                accepted=accepted,
                reason=reason,
                operator=operator,
                comment=comment,
                revision="4c0d30",
            )
            for verb, accepted, reason, operator, comment in [
                (Verb.REJECT, False, "stale", "Ann", "no beam"),
                (Verb.APPROVE, True, "", None, None),
            ]
        ],
    )
    header = cells(final_notebook(task, desk.request(user_query="How stable?"), NONE, []))[0].source
    for words in ("How stable?", "SR:X", "LIMITS OFF", "gpt", "stale", "Ann", "unnamed", "4c0d30"):
        assert words in header
    assert "not verified" in header


WRITE = WriteRecord(
    channel="SR:X", old=0.5, new=1.5, outcome=WriteOutcome.DIFFERS, read_back=1.25, at="03:12"
)


def test_the_final_notebook_tells_isolation_and_writes(desk: Any) -> None:
    task = story(desk, isolation=Isolation.CONTAINER, stage=Stage.STOPPED, failure="Stopped by jd")
    header = html.unescape(
        cells(final_notebook(task, desk.request(), Evidence([WRITE]), []))[0].source
    )
    assert "isolation container" in header
    assert "| 03:12 | SR:X | 0.5 | 1.5 | differs | 1.25 |" in header


def test_of_many_writes_the_first_are_told_and_where_the_rest_is(desk: Any) -> None:
    text = final_notebook(story(desk), desk.request(), Evidence([WRITE] * 5000), [])
    header = html.unescape(cells(text)[0].source)
    assert header.count("| SR:X |") == 200
    assert "4800 more: see journal.jsonl" in header
    assert len(text) < 300_000


def test_the_plan_is_told_with_machine_groups_and_what_is_odd_about_it(desk: Any) -> None:
    header, _, code, *_ = cells(final_notebook(story(desk, plan=PLAN), desk.request(), NONE, []))
    told = html.unescape(header.source)
    assert "## Plan" in told
    assert "Rehearsed: 2026-11-01 12:00:00 UTC" in told
    assert "SR:BEAM:CURRENT > 1" in told
    assert "SR:X  0 → 1 A" in told
    assert "Cannot be put back: SR:X (an enum)" in told
    assert "Reads 1 channel: SR:BPM1:X" in told
    # It was only rehearsed: run by hand it must not write.
    assert "RUNPERMIT_RERUN_WRITES" in code.source


def test_a_refused_write_is_told_and_keeps_the_code_from_running(desk: Any) -> None:
    evidence = Evidence(refusals=["SR:X = 9: MAX_EXCEEDED, 9 > 1"])
    header, _, code, *_ = cells(final_notebook(story(desk), desk.request(), evidence, []))
    assert "SR:X = 9: MAX_EXCEEDED, 9 > 1" in html.unescape(header.source)
    assert "RUNPERMIT_RERUN_WRITES" in code.source


def test_the_journals_word_on_the_writes_goes_before_the_copies(desk: Any) -> None:
    report = WriteReport.of([WRITE], 7, desk.folder().journal)
    copied = WRITE.model_copy(update={"channel": "SR:COPY"})
    task = story(desk, wrote=True, writes=report, verdict=Verdict.PARTIAL)
    told = html.unescape(
        cells(final_notebook(task, desk.request(), Evidence([copied]), []))[0].source
    )
    assert "Verdict of the journal: partial" in told
    assert "| 03:12 | SR:X | 0.5 | 1.5 | differs | 1.25 |" in told
    assert "6 more: see journal.jsonl" in told
    assert "SR:COPY" not in told


def test_where_nobody_could_ask_the_journal_the_copies_are_told(desk: Any) -> None:
    nothing = WriteReport(forwarded=0, writes=[], journal=desk.folder().journal)
    task = story(desk, wrote=True, writes=nothing, verdict=Verdict.UNKNOWN)
    told = cells(final_notebook(task, desk.request(), Evidence([WRITE]), []))[0].source
    assert "SR" in told
    assert "What was written is not known here" in told
    assert "runpermit audit" in told


def test_what_devices_did_what_is_left_and_what_was_put_back(desk: Any) -> None:
    task = story(
        desk,
        wrote=True,
        verdict=Verdict.PARTIAL,
        verified=[
            VerifiedChannel(
                channel="SR:X", written=1.5, reads=1.5, accepted=True, device="SR:X:RB",
                expected=1.5, device_reads=0.7, outcome=FollowOutcome.NOT_FOLLOWED,
                earlier={FollowOutcome.FOLLOWED: 98, FollowOutcome.SUPERSEDED: 1},
            )
        ],
        changes=[
            LeftChange(
                channel="SR:Y", before=0, written=1, reads=1, restorable=False, why_not="an enum"
            )
        ],
        restored=RestoreReport(
            channels=[
                RestoredChannel(
                    channel="SR:X", before=0.5, reads=2, outcome=RestoreOutcome.ANOTHER_HAND,
                    reason="it reads 2",
                )
            ],
            operator="jd",
        ),
    )  # fmt: skip
    told = html.unescape(cells(final_notebook(task, desk.request(), NONE, []))[0].source)
    row = next(line for line in told.splitlines() if line.startswith("| SR:X | 1.5 |"))
    assert "| accepted | SR:X:RB | not followed: reads 0.7, expected 1.5 |" in row
    assert "| earlier writes: 98 followed, 1 superseded |" in row
    assert "## MACHINE LEFT CHANGED" in told
    assert "SR:Y: was 0, set to 1, reads 1. Cannot be put back: an enum" in told
    assert "NOT everything is back; asked for by jd (not verified)." in told
    assert "| SR:X | 0.5 | 2 | another hand | it reads 2 | 0 |" in told


def test_who_had_it_put_back_is_known_as_well_as_the_answer_was(desk: Any) -> None:
    answers = [
        DecisionRecord(
            verb=Verb.RESTORE, at=datetime(2026, 11, 1, 12, tzinfo=UTC), via=DecisionWay.UPDATE,
            accepted=accepted, reason="", operator=name, assurance=assurance,
        )
        for name, accepted, assurance in (
            ("jd", True, Assurance.SIGNED), ("agent", False, Assurance.CLAIMED)
        )
    ]  # fmt: skip
    task = story(desk, decisions=answers, restored=RestoreReport(channels=[], operator="jd"))
    told = html.unescape(cells(final_notebook(task, desk.request(), NONE, []))[0].source)
    assert "Everything is back; asked for by jd (signed)." in told


def test_the_gates_journal_is_told_in_words(desk: Any) -> None:
    record = {
        "seq": 1,
        "at": "2026-01-01T03:12:05.123456+00:00",
        "event": "stopped",
        "operator": "jd",
        "reason": "smoke",
    }
    evidence = Evidence(journal=JournalRecords(records=[record] * 600, left_out=5))
    told = cells(final_notebook(story(desk), desk.request(), evidence, []))[0].source
    assert told.count("STOPPED by jd: smoke") == 500
    assert "… and 105 records more" in told


FAILED: dict[str, Any] = {"result": None, "stage": Stage.FAILED, "failure": "NameError: x"}


def run_notebook(desk: Any, task: ConcludeTask, code: str, name: str, printed: str) -> None:
    """The notebook that a run of `code` left among the attempts."""
    outcome = RunOutcome(printed, None, (Figure("a.png", PNG),), 1, None)
    text = attempt_notebook(desk.notebook(task.folder), code, "note", outcome)
    (task.folder.attempts / name).write_text(text)


def test_a_failed_run_has_its_outputs_in_the_final_notebook(desk: Any) -> None:
    task = story(desk, **FAILED)
    run_notebook(desk, task, task.code or "", "09_execution.ipynb", "an earlier run")
    run_notebook(desk, task, task.code or "", "10_apply.ipynb", "hello")
    run_notebook(desk, task, task.code or "", "11_rehearsal.ipynb", "not the machine's")
    (task.folder.attempts / "12_apply.ipynb").write_text("{torn")
    code = cells(final_notebook(task, desk.request(), NONE, []))[2]
    assert [output.output_type for output in code.outputs] == ["stream", "display_data"]
    assert code.outputs[0].text == "hello"


def test_outputs_of_another_code_are_no_outputs_of_this_one(desk: Any) -> None:
    task = story(desk, **FAILED)
    run_notebook(desk, task, "print('other')", "10_execution.ipynb", "other")
    assert cells(final_notebook(task, desk.request(), NONE, []))[2].outputs == []


def test_the_same_execution_gives_the_same_bytes(desk: Any) -> None:
    task, request = story(desk), desk.request()
    assert final_notebook(task, request, NONE, []) == final_notebook(task, request, NONE, [])
    assert attempt_notebook(task.notebook, "x", "y") == attempt_notebook(task.notebook, "x", "y")


def outside_fences(markdown: str) -> str:
    """What of a cell is read as Markdown: all but its fenced blocks."""
    kept, fence = [], ""
    for line in markdown.split("\n"):
        mark = line[: len(line) - len(line.lstrip("`"))]
        if fence:
            fence = "" if line == fence else fence
        elif len(mark) >= 3:
            fence = mark
        else:
            kept.append(line)
    assert not fence
    return "\n".join(kept)


def test_foreign_words_take_no_effect_in_the_final_notebook(desk: Any) -> None:
    record = DecisionRecord(
        verb=Verb.APPROVE,
        at=datetime(2026, 11, 1, tzinfo=UTC),
        via=DecisionWay.SIGNAL,
        accepted=False,
        reason=HOSTILE,
        operator=HOSTILE[:128],
        comment=HOSTILE,
    )
    write = PlannedWrite(channel=HOSTILE, old=HOSTILE, new=HOSTILE, state=HOSTILE)
    channel = PlannedChannel(
        channel=HOSTILE, description=HOSTILE, units=HOSTILE, alarm=HOSTILE, why_not=HOSTILE
    )
    task = story(
        desk,
        workflow_id=HOSTILE,
        failure=HOSTILE,
        warnings=[HOSTILE],
        decisions=[record],
        model={HOSTILE: HOSTILE},
        plan=Plan(
            kind=PlanKind.INCOMPLETE,
            writes=[write],
            channels=[channel],
            problem=HOSTILE,
            reads=[HOSTILE],
            unknown=[HOSTILE],
            machine=[MachineState(channel="M", op=">", value=HOSTILE, reads=HOSTILE, holds=False)],
        ),
        verified=[
            VerifiedChannel(
                channel=HOSTILE,
                written=HOSTILE,
                accepted=False,
                device=HOSTILE,
                outcome=FollowOutcome.UNREADABLE,
                alarm=HOSTILE,
            )
        ],
        changes=[LeftChange(channel=HOSTILE, before=HOSTILE, restorable=False, why_not=HOSTILE)],
        restored=RestoreReport(
            channels=[
                RestoredChannel(
                    channel=HOSTILE, before=HOSTILE, outcome=RestoreOutcome.FAILED, reason=HOSTILE
                )
            ],
            operator=HOSTILE,
        ),
    )
    request = desk.request(user_query=HOSTILE, task_objective=HOSTILE)
    written = WriteRecord(
        channel=HOSTILE, old=HOSTILE, new=[HOSTILE], outcome=WriteOutcome.DIFFERS, read_back=HOSTILE
    )
    for cell in cells(
        final_notebook(
            task,
            request,
            Evidence([written], [HOSTILE], JournalRecords(records=[{"event": HOSTILE}])),
            [],
        )
    ):
        if cell.cell_type == "markdown":
            shown = outside_fences(cell.source)
            assert "<" not in shown
            assert "](" not in shown
            assert "# Approved" not in shown
            assert "|a|" not in shown
            assert "\u202e" not in cell.source
            assert "\x1b" not in cell.source


def test_foreign_words_take_no_effect_in_a_notebook_of_the_way(desk: Any) -> None:
    error = CodeRuntimeError(HOSTILE, HOSTILE, 1)
    outcome = RunOutcome(HOSTILE, None, (Figure("a.png", PNG),), 1, error)
    notebook = desk.notebook(desk.folder())
    header, code, trace = cells(attempt_notebook(notebook, "x = 1", HOSTILE, outcome))
    for cell in (header, trace):
        assert "<" not in outside_fences(cell.source)
        assert "\u202e" not in cell.source
    assert code.outputs[0].output_type == "stream"
    assert "\x1b" not in code.outputs[0].text
    assert code.outputs[1].data == {"image/png": base64.b64encode(PNG).decode()}


def test_a_lone_surrogate_in_the_output_does_not_stop_the_notebook(desk: Any) -> None:
    outcome = RunOutcome("a\ud800", {}, (), 1, None)
    text = attempt_notebook(desk.notebook(desk.folder()), "x = 1", "note", outcome)
    assert text.encode()
    assert cells(text)[1].outputs[0].text == "a\\ud800"


def test_long_output_is_cut(desk: Any) -> None:
    outcome = RunOutcome("x" * 1_000_000, {}, (), 1, None)
    text = attempt_notebook(desk.notebook(desk.folder()), "x = 1", "note", outcome)
    assert len(text) < 300_000


def rerun(task: ConcludeTask, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the code cells one after the other in IPython, as Jupyter does beside the notebook."""
    (task.folder.path / "results.json").write_text('{"n": 1}')
    sources = [cell.source for cell in cells(text) if cell.cell_type == "code"]
    runner = (
        "import json, sys\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "for source in json.load(sys.stdin):\n"
        "    shell.run_cell(source).raise_error()\n"
        "print('END', shell.user_ns.get('results'), shell.user_ns.get('results_of_the_run'))\n"
    )
    known = {name: value for name, value in os.environ.items() if name != "RUNPERMIT_RERUN_WRITES"}
    return subprocess.run(
        [sys.executable, "-c", runner],
        input=json.dumps(sources),
        cwd=task.folder.path,
        env=known
        | {
            "EPICS_CA_AUTO_ADDR_LIST": "NO",
            "HOME": str(task.folder.path),
            "IPYTHONDIR": str(task.folder.path / ".ipython"),
        }
        | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


READS = """\
from pathlib import Path
assert callable(read_channel)
results = {"n": context["n"], "data": Path("data.csv").read_text()}
"""


def test_the_notebook_of_a_reading_execution_runs_again(desk: Any) -> None:
    task = story(desk, code=READS)
    (task.folder.work / "data.csv").write_text("1,2")
    (task.folder.work / "context.json").write_text('{"n": 1}')
    done = rerun(task, final_notebook(task, desk.request(), NONE, ["127.0.0.1:1"]))
    assert "END {'n': 1, 'data': '1,2'} {'n': 1}" in done.stdout, done.stdout + done.stderr


def test_a_declaration_of_the_code_does_nothing_in_the_notebook(desk: Any) -> None:
    task = story(desk, code='plan("SR:X", -1, 1, 10)\nresults = {"declared": True}')
    done = rerun(task, final_notebook(task, desk.request(), NONE, []))
    assert "END {'declared': True}" in done.stdout, done.stdout + done.stderr


WRITES = 'open("written", "w").close(); results = {}'


def test_the_notebook_of_a_writing_execution_refuses_to_run_again(desk: Any) -> None:
    task = story(desk, code=WRITES, wrote=True)
    done = rerun(task, final_notebook(task, desk.request(), NONE, []))
    assert "would write without gate" in done.stdout + done.stderr
    assert "END" not in done.stdout
    assert not list(task.folder.path.rglob("written"))


def test_where_its_code_refuses_no_file_of_its_inputs_is_run_by_jupyter_either(desk: Any) -> None:
    task = story(desk, code=WRITES, wrote=True)
    # What IPython imports when it shows an error, and its own names for what lies in the folder.
    for name in ("stack_data", "executing", "asttokens", "pure_eval"):
        (task.folder.work / f"{name}.py").write_text("print('FOREIGN')\nraise ImportError\n")
    text = final_notebook(task, desk.request(), NONE, [])
    refused = rerun(task, text)
    assert "would write without gate" in refused.stdout + refused.stderr
    assert "FOREIGN" not in refused.stdout + refused.stderr
    # It would have been: code that only reads may use its files.
    reading = final_notebook(story(desk, code="1 / 0"), desk.request(), NONE, [])
    assert "FOREIGN" in rerun(task, reading).stdout


def test_the_notebook_of_a_writing_execution_runs_where_it_is_asked_to(desk: Any) -> None:
    task = story(desk, code=WRITES, wrote=True)
    done = rerun(task, final_notebook(task, desk.request(), NONE, []), RUNPERMIT_RERUN_WRITES="1")
    assert "END {} {'n': 1}" in done.stdout, done.stdout + done.stderr


def test_write_channel_of_the_notebook_refuses_by_itself(desk: Any) -> None:
    task = story(desk, code='write_channels({"SR:X": 1})\nresults = {}')
    done = rerun(task, final_notebook(task, desk.request(), NONE, []))
    assert "SR:X: writing from a notebook is refused" in done.stdout + done.stderr


@pytest.mark.parts
@pytest.mark.parametrize(
    "put",
    [
        "getattr(epics, 'ca' + 'put')('T:AO', 1, wait=True)",
        "epics.PV('T:AO', connection_timeout=5).put(1, wait=True)",
        "channel = epics.ca.create_channel('T:AO')\nepics.ca.put(channel, 1, wait=True)",
        "channel = epics.ca.create_channel('T:AO')\ngroup = epics.ca.sg_create()\n"
        "epics.ca.sg_put(group, channel, 1)\nepics.ca.sg_block(group, timeout=5)",
    ],
)
def test_code_that_wrote_nothing_in_its_sandbox_puts_nothing_from_its_notebook(
    desk: Any, put: str
) -> None:
    task = story(
        desk, code=f"import epics\nassert read_channel('T:AO') == 0\n{put}\nresults = {{}}"
    )
    with serving_ioc() as ioc:
        notebook = final_notebook(task, desk.request(), NONE, [f"127.0.0.1:{ioc.port}"])
        refused = rerun(task, notebook)
        assert "RuntimeError: writing from a notebook is refused" in refused.stdout + refused.stderr
        assert asyncio.run(ioc.value("T:AO:PUTS")) == 0
        done = rerun(task, notebook, RUNPERMIT_RERUN_WRITES="1")
        assert "END" in done.stdout, done.stdout + done.stderr
        assert asyncio.run(ioc.value("T:AO:PUTS")) == 1


def test_a_program_that_catches_refusals_re_runs(desk: Any) -> None:
    caught = "(ChannelLimitsViolationError, ZeroDivisionError)"
    code = f"try:\n    1 / 0\nexcept {caught}:\n    results = {{}}\nprint('END')\n"
    task = story(desk, code=code)
    done = rerun(task, final_notebook(task, desk.request(), NONE, []))
    assert "END" in done.stdout, done.stdout + done.stderr
