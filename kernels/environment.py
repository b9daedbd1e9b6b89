"""The Python that programs run in, and the variables it is started with."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from runpermit.errors import ContainerConfigurationError

INSIDE = Path(__file__).parent / "inside"
MAX_ARRAY_BYTES = 16 * 1024 * 1024

_LOOK = """\
import json, sys
from importlib.util import find_spec
prefixes = [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix]
missing = [name for name in ("ipykernel", "epics") if find_spec(name) is None]
print(json.dumps([prefixes, missing]))
"""


@dataclass(frozen=True)
class Environment:
    """A venv, a conda prefix, or a plain installation.

    `prefixes` are the folders that hold it; `links` lead from `python` to its file, from outside
    of them.
    """

    python: Path
    prefixes: tuple[Path, ...]
    links: tuple[Path, ...]


def find_environment(prefix: Path | None) -> Environment:
    """The environment at `prefix`, else this process's own.

    Raises ContainerConfigurationError where there is none, or none that a kernel can run in.
    """
    name = f"kernels.environment = {prefix or sys.prefix}"
    python = Path(sys.executable) if prefix is None else prefix / "bin" / "python"
    try:
        done = subprocess.run(
            [python, "-I", "-c", _LOOK], capture_output=True, text=True, check=True, timeout=60
        )
        found, missing = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError, TypeError) as error:
        raise ContainerConfigurationError(
            f"{name}: {python} does not run: {error}. Name a venv or conda prefix with ipykernel "
            "and pyepics."
        ) from None
    if missing:
        raise ContainerConfigurationError(
            f"{name} can't import {' and '.join(missing)}. Install ipykernel and pyepics there."
        )
    prefixes = tuple(sorted({Path(path) for path in found}))
    return Environment(python, prefixes, _links(python, prefixes))


def kernel_environment(
    python: Path, inside: Path, home: Path, temporary: Path, processors: float
) -> dict[str, str]:
    """All variables that a kernel is started with; nothing is inherited.

    Where its Channel Access goes is added by the kernel, which opens the listener for it.
    """
    path = [str(python.parent), str(inside / "bin"), "/usr/local/bin", "/usr/bin", "/bin"]
    threads = str(max(1, round(processors)))
    return {
        "PATH": os.pathsep.join(path),
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "LANG": "C.UTF-8",
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_CONFIG_DIR": str(home / "jupyter"),
        "JUPYTER_DATA_DIR": str(home / "jupyter"),
        "JUPYTER_RUNTIME_DIR": str(home / "jupyter"),
        "MPLCONFIGDIR": str(home / "matplotlib"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        # Numerical libraries start a thread for every processor of the machine, with memory each.
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "EPICS_CA_ADDR_LIST": "",
        "EPICS_CA_AUTO_ADDR_LIST": "NO",
        "EPICS_CA_MAX_ARRAY_BYTES": str(MAX_ARRAY_BYTES),
    }


def _links(python: Path, prefixes: tuple[Path, ...]) -> tuple[Path, ...]:
    """The symbolic links on the way from `python` to its file that lie in no prefix."""
    links = []
    step = python
    while step.is_symlink():
        if not any(step.is_relative_to(prefix) for prefix in prefixes):
            links.append(step)
        step = Path(os.path.normpath(step.parent / step.readlink()))
    return tuple(links)
