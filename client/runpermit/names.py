"""The names under which Temporal knows us."""

WORKFLOW = "PythonExecution"
TASK_QUEUE = "runpermit"
STAGE_ATTRIBUTE = "RunpermitStage"


def host_queue(host: str) -> str:
    """The task queue for what needs the folders and kernels of one host."""
    return f"{TASK_QUEUE}@{host}"
