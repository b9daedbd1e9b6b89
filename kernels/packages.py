"""What code can import: interpreter and packages of the kernels, as a name a permit binds."""

import hashlib
import subprocess
from pathlib import Path

from runpermit.errors import ContainerConfigurationError

_LIST = """\
import platform
from importlib.metadata import distributions
print("python", platform.python_version())
for line in sorted({f"{d.metadata['Name']}=={d.version}" for d in distributions()}):
    print(line)
"""


def kernel_packages(python: Path) -> list[str]:
    """The interpreter's version, then its packages as `name==version`.

    Raises ContainerConfigurationError where `python` does not run.
    """
    try:
        done = subprocess.run(
            [python, "-I", "-c", _LIST], capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ContainerConfigurationError(
            f"kernels.environment: {python} does not run: {error}. Name a venv or conda prefix "
            "with ipykernel and pyepics."
        ) from None
    lines = done.stdout.splitlines()
    if not lines or not lines[0].startswith("python "):
        raise ContainerConfigurationError(f"kernels.environment: {python} is no Python.")
    return lines


def environment_name(packages: list[str]) -> str:
    """One line that changes when any package does."""
    digest = hashlib.sha256("\n".join(packages).encode()).hexdigest()
    return f"{packages[0]}, {len(packages) - 1} packages, {digest[:12]}"
