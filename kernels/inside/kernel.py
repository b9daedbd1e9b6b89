"""An IPython kernel that runs one program as plain Python and reports its results in the reply."""
# mypy: allow-untyped-calls

import contextlib
import importlib
import json
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from ipykernel.iostream import OutStream
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from ipykernel.zmqshell import ZMQInteractiveShell
from traitlets.config import Config

from . import channels, report
from .clock import Clock
from .handover import Handover
from .rehearsal import Rehearsal

HERE = str(Path(__file__).parent)
PIECE = 64 * 1024  # characters of output in one message


class ProgramStream(OutStream):
    """Output in small messages, sent before the next is filled: neither side holds much of it."""

    _unsent = 0

    def write(self, string: str) -> int:
        """Append `string`, sending what has gathered."""
        if not isinstance(string, str):
            raise TypeError(f"write() argument must be str, not {type(string).__name__}")
        for start in range(0, len(string), PIECE):
            piece = string[start : start + PIECE]
            super().write(piece)
            self._unsent += len(piece)
            if self._unsent >= PIECE:
                self._unsent = 0
                self.flush()
        return len(string)


class ProgramShell(ZMQInteractiveShell):
    """Runs what was analysed and approved: Python, without IPython's own syntax."""

    def transform_cell(self, raw_cell: str) -> str:
        """Leave the program as it is."""
        return raw_cell


class ProgramKernel(IPythonKernel):
    """Runs one program; what its end and its results were goes into the execute reply."""

    shell_class = ProgramShell
    handover: Handover
    serialization: ModuleType

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(**kwargs)
        self._work = Path.cwd()
        self._ended_by: BaseException | None = None
        self._shell = cast("Any", self.shell)
        self._shell.events.register("post_run_cell", self._remember_end)
        self._shell.display_pub.register_hook(report.only_images)

    async def do_execute(self, code: str, silent: bool, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401, FBT001
        """Take the inputs, run `code`, write its results, publish its figures."""
        try:
            rehearsal = self._rehearsal(rehearse=self.handover.take_inputs(self._work))
            self._furnish(rehearsal)
            reply = await super().do_execute(code, silent, *args, **kwargs)
            if rehearsal is not None:
                rehearsal.ended()
            if reply["status"] == "error" and _normal_end(self._ended_by):
                reply = {"status": "ok", "user_expressions": {}}
            if reply["status"] == "ok":
                found = report.write_results(self._shell.user_ns, self._work, self.serialization)
                reply["payload"] = [found]
            else:
                # The program's traceback ends in its own line, not in our wrappers.
                reply["traceback"] = [
                    frame for frame in reply["traceback"] if not frame.startswith(f"File {HERE}")
                ]
            report.show_open_figures()
        except Exception as error:  # noqa: BLE001  (without a reply the host would wait in vain)
            return _error_reply(error)
        return reply | {"execution_count": self.execution_count}

    def _rehearsal(self, *, rehearse: bool) -> Rehearsal | None:
        if not rehearse:
            self.handover.close()
            return None
        clock = Clock()
        clock.install()
        return Rehearsal(self.handover.tell, clock)

    def _furnish(self, rehearsal: Rehearsal | None) -> None:
        context_file = self._work / "context.json"
        context = json.loads(context_file.read_text()) if context_file.exists() else {}
        # IPython's own exit() lets the program go on behind it.
        ends = {"exit": sys.exit, "quit": sys.exit}
        functions = channels.functions(rehearsal)
        self._shell.push({"context": context} | ends | functions, interactive=False)

    def _remember_end(self, result: Any) -> None:  # noqa: ANN401
        self._ended_by = result.error_before_exec or result.error_in_exec


class ProgramApp(IPKernelApp):
    """The kernel's process. Output waits in it until the host takes it, rather than being lost."""

    def init_iopub(self, context: Any) -> None:  # noqa: ANN401
        """Open the output socket without a bound on what waits in it."""
        context.sndhwm = 0
        super().init_iopub(context)


def prepare(connection_file: str, handover: Handover, serialization: ModuleType) -> ProgramApp:
    """Open the sockets of `connection_file`; `start()` serves one host on them until killed."""
    # IPython's advice on sys.exit() is for people at a prompt.
    warnings.filterwarnings("ignore", message="To exit: use")
    ProgramKernel.handover = handover
    ProgramKernel.serialization = serialization
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.ast_node_interactivity = "none"
    config.InteractiveShell.colors = "nocolor"
    app = ProgramApp.instance(
        config=config,
        connection_file=connection_file,
        kernel_class=ProgramKernel,
        outstream_class=f"{__name__}.{ProgramStream.__name__}",
    )
    app.initialize([])
    return app


def preload(modules: list[str]) -> None:
    """Import `modules` before a program asks for them; one that fails does so again then."""
    for name in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def _normal_end(error: BaseException | None) -> bool:
    return isinstance(error, SystemExit) and (error.code is None or error.code == 0)


def _error_reply(error: BaseException) -> dict[str, Any]:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  (a program's own exception class)
        text = "its message can't be shown"
    return {
        "status": "error",
        "ename": type(error).__name__,
        "evalue": text,
        "traceback": [],
        "execution_count": 1,
        "payload": [],
        "user_expressions": {},
    }
