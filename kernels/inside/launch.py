"""Start one kernel: `python -I -B launch.py HANDOVER`, the number of an inherited socket."""

import importlib
import importlib.util
import json
import os
import socket
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

_WAITING_CIRCUITS = 16


def _load_file(name: str, path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _listen(port: int) -> socket.socket:
    """Open what the kernel's Channel Access connects to; the host's gate will answer there."""
    listener = socket.create_server(("127.0.0.1", port), backlog=_WAITING_CIRCUITS)
    os.environ["EPICS_CA_NAME_SERVERS"] = f"127.0.0.1:{listener.getsockname()[1]}"
    return listener


def _write_connection_file(orders: dict[str, Any]) -> str:
    path = Path(orders["runtime"]) / "connection.json"
    path.write_text(json.dumps(orders["connection"]))
    return str(path)


def main() -> None:
    """Serve until the host kills this process."""
    descriptor = int(sys.argv[1])
    sys.argv[:] = [""]
    # Our files are one package of an own name, so that a program's `import channels` means its own.
    package = ModuleType("runpermit_inside")
    package.__path__ = [str(Path(__file__).parent)]
    sys.modules["runpermit_inside"] = package
    handover = importlib.import_module("runpermit_inside.handover").Handover(descriptor)
    priority = importlib.import_module("runpermit_inside.priority")
    orders = handover.orders()
    if orders["in_advance"]:
        priority.step_back()
    limits = importlib.import_module("runpermit_inside.limits")
    limits.raise_open_files()
    handover.give(_listen(orders["port"]), str(Path.cwd()), orders["runtime"])
    limits.apply(orders["limits"])
    kernel = importlib.import_module("runpermit_inside.kernel")
    app = kernel.prepare(
        _write_connection_file(orders),
        handover,
        _load_file("runpermit_inside.serialization", orders["serialization"]),
    )
    if orders["in_advance"]:
        kernel.preload(orders["preload"])
        priority.step_forward()
    handover.serving()
    app.start()


if __name__ == "__main__":
    main()
