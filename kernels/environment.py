"""The environment of a kernel: an allow-list, so that no secret of the worker reaches the code."""

import os
from collections.abc import Sequence
from pathlib import Path

INSIDE = Path(__file__).parent / "inside"
MAX_ARRAY_BYTES = 16 * 1024 * 1024


def kernel_environment(python: str, home: Path, name_servers: Sequence[str]) -> dict[str, str]:
    """All variables that a kernel is started with; nothing is inherited.

    `home` is its private folder. `name_servers` are the only Channel Access servers that it
    asks, as `host:port`; with none it has no Channel Access.
    """
    path = [str(Path(python).parent), str(INSIDE / "bin"), "/usr/local/bin", "/usr/bin", "/bin"]
    return {
        "PATH": os.pathsep.join(path),
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_CONFIG_DIR": str(home / "jupyter"),
        "JUPYTER_DATA_DIR": str(home / "jupyter"),
        "JUPYTER_RUNTIME_DIR": str(home / "jupyter"),
        "MPLCONFIGDIR": str(home / "matplotlib"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        # The kernel ends itself when this process, the worker, is gone.
        "JPY_PARENT_PID": str(os.getpid()),
        "EPICS_CA_NAME_SERVERS": " ".join(name_servers),
        "EPICS_CA_ADDR_LIST": "",
        "EPICS_CA_AUTO_ADDR_LIST": "NO",
        "EPICS_CA_MAX_ARRAY_BYTES": str(MAX_ARRAY_BYTES),
    }
