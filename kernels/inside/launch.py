"""Start one kernel: `python launch.py CONNECTION_FILE MODE SERIALIZATION_FILE`."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def _load_file(name: str, path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Serve until the host kills this process."""
    connection_file, mode, serialization_file = sys.argv[1:4]
    here = str(Path(__file__).parent)
    # Our files are one package of an own name, so that a program's `import channels` means its own.
    sys.path[:] = [entry for entry in sys.path if entry != here]
    sys.argv[:] = [""]
    package = ModuleType("runpermit_inside")
    package.__path__ = [here]
    sys.modules["runpermit_inside"] = package
    serialization = _load_file("runpermit_inside.serialization", serialization_file)
    kernel = importlib.import_module("runpermit_inside.kernel")
    kernel.serve(connection_file, mode, serialization)


if __name__ == "__main__":
    main()
