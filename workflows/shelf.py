"""Numbers and names the notebooks of an execution."""

from datetime import datetime

from runpermit.models import NotebookAttempt, NotebookType, PythonExecutionContext
from workflows.steps import Deployment, Folder

_FINAL = {NotebookType.FINAL_SUCCESS, NotebookType.FINAL_FAILURE}


def open_context(deployment: Deployment) -> PythonExecutionContext:
    """The folder with the notebooks that lie in it already."""
    folder = deployment.folder
    return PythonExecutionContext(
        folder_path=folder.path,
        folder_url=folder.link,
        attempts_folder=folder.attempts,
        context_file_path=folder.work / "context.json",
        notebook_attempts=list(deployment.notebooks),
    )


def next_notebook(
    context: PythonExecutionContext, folder: Folder, kind: NotebookType, stage: str, now: datetime
) -> NotebookAttempt:
    """The next notebook's number, place and link: recorded here, written by an activity."""
    number = context.get_next_attempt_number()
    final = kind in _FINAL
    path = folder.notebook if final else folder.attempts / f"{number:02d}_{stage}.ipynb"
    notebook = NotebookAttempt(
        notebook_type=kind,
        attempt_number=number,
        stage=stage,
        notebook_path=path,
        notebook_link=folder.link_to(path),
        created_at=now.isoformat(),
    )
    context.add_notebook_attempt(notebook)
    return notebook
