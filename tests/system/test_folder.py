"""The folder of an execution: what lies in it, continuing in it, and its notebook run again."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

RERUN = """\
import json, sys
import nbformat
from jupyter_client.manager import run_kernel

notebook = nbformat.read(sys.argv[1], as_version=4)
nbformat.validate(notebook)
answers = []
with run_kernel(kernel_name="python3", cwd=sys.argv[2]) as client:
    for cell in notebook.cells:
        if cell.cell_type == "code":
            reply = client.execute_interactive(cell.source, timeout=60, output_hook=lambda m: None)
            content = reply["content"]
            answers.append([content["status"], content.get("ename"), content.get("evalue")])
print(json.dumps(answers))
"""
STEP = 'write_channel("SR:HCM3:SP", 0.1)\nresults = {"sp": float(read_channel("SR:HCM3:SP"))}\n'


async def test_a_folder_holds_the_whole_story(house: Any, read_current: str) -> None:
    result = await house.run(
        read_current + "\nopen('notes.txt', 'w').write('kept')",
        execution_folder_name="story",
        capability_context_data={"BPM": 3},
    )
    folder = result.execution_result.folder_path
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files >= {
        "request.json",
        "results.json",
        "notebook.ipynb",
        "attempts/01_execution.ipynb",
        "work/context.json",
        "work/notes.txt",
    }
    assert not [name for name in files if name.endswith(".lock")]
    assert json.loads((folder / "work" / "context.json").read_text()) == {"BPM": 3}
    request = json.loads((folder / "request.json").read_text())
    assert request["execution_folder_name"] == "story"
    for path in (folder, folder / "work", folder / "attempts"):
        assert path.stat().st_mode & 0o777 == 0o750, path
    assert folder.name.startswith("story_")


async def test_the_next_execution_continues_in_a_folder_and_overwrites_nothing(
    house: Any, read_current: str
) -> None:
    plot = "\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\n"
    first = await house.run(
        read_current + plot,
        execution_folder_name="continued",
        capability_context_data={"first": True},
    )
    folder = first.execution_result.folder_path
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for path in folder.rglob("results.json"):
        assert path in before

    second = await house.run(
        "import json\nresults = {'context': json.load(open('context.json'))}" + plot,
        existing_execution_folder=str(folder.relative_to(house.stack.executions)),
    )
    success = second.execution_result
    assert success.folder_path == folder
    assert success.results == {"context": {"first": True}}
    assert success.notebook_path == folder / "notebook-2.ipynb"
    assert (folder / "request-2.json").is_file()
    assert json.loads((folder / "results-2.json").read_text()) == success.results
    assert success.figure_paths == [
        folder / "figures-2" / first.execution_result.figure_paths[0].name
    ]
    assert sorted(path.name for path in (folder / "attempts").iterdir()) == [
        "01_execution.ipynb",
        "02_execution.ipynb",
    ]
    story = {path for path in before if "work" not in path.relative_to(folder).parts}
    assert {path: path.read_bytes() for path in story} == {path: before[path] for path in story}


async def test_the_notebook_of_a_reading_execution_runs_again_in_jupyter(
    house: Any, read_current: str
) -> None:
    result = await house.run(read_current, execution_folder_name="rerun_read")
    answers = _rerun(result.execution_result.notebook_path)
    assert [status for status, _, _ in answers] == ["ok", "ok", "ok"]


async def test_the_notebook_of_a_writing_execution_refuses_to_write_again(
    house: Any, ring: Any
) -> None:
    handle = await house.start(STEP, execution_folder_name="rerun_write")
    pending = await house.question(handle)
    await handle.signal(f"approve-{pending.revision}")
    notebook = (await house.result(handle)).execution_result.notebook_path
    before = ring.puts()[2]

    first, code, _ = _rerun(notebook)
    assert first[0] == "ok"
    assert code[:2] == ["error", "RuntimeError"]
    assert "RUNPERMIT_RERUN_WRITES=1" in code[2]
    assert ring.puts()[2] == before

    answers = _rerun(notebook, RUNPERMIT_RERUN_WRITES="1")
    assert [status for status, _, _ in answers] == ["ok", "ok", "ok"]
    assert ring.puts()[2] == before + 1


def _rerun(notebook: Path, **environment: str) -> list[list[Any]]:
    """Run all code cells in a fresh kernel, as Jupyter would: in the notebook's own folder."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("EPICS_")}
    done = subprocess.run(
        [sys.executable, "-c", RERUN, str(notebook), str(notebook.parent)],
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[list[Any]] = json.loads(done.stdout.splitlines()[-1])
    return answers
