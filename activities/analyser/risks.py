"""What leads code out of sight of the analysis, and what to do instead."""

import re
from dataclasses import dataclass, replace

from activities.analyser.values import words
from runpermit.models.analysis import Severity

_CHANNELS = "Use read_channel, write_channel(s) or pyepics."
_FILES = "Leave what matters in `results` and in figures; other files stay in the work folder."
_HIDES = f"Write the calls out in plain code. {_CHANNELS}"
_ALONE = f"Keep to this one process, without other programs. {_CHANNELS}"
_NETWORK = f"The code has no network but the control system. {_CHANNELS}"
_ONLY_CA = f"Only Channel Access by libca has a route out of the sandbox. {_CHANNELS}"


@dataclass(frozen=True, slots=True)
class Risk:
    """Why something is no good, and what to do instead."""

    severity: Severity
    why: str
    instead: str


def _hidden(why: str) -> Risk:
    return Risk(Severity.ERROR, why, _HIDES)


_CODE = _hidden("runs code that the analysis can't see")
_INSIDES = _hidden("reaches into Python's insides")
_PROCESS = Risk(Severity.ERROR, "starts or ends processes", _ALONE)
_NATIVE = Risk(Severity.ERROR, "calls native code past Python", _HIDES)
_NET = Risk(Severity.ERROR, "opens the network past the control system", _NETWORK)
_LOADS = _hidden("can run code hidden in data")
_PVA = Risk(Severity.ERROR, "speaks PV Access, which has no route out of the sandbox", _ONLY_CA)
_TANGO = Risk(Severity.ERROR, "speaks Tango, which has no route out of the sandbox", _ONLY_CA)
_CAPROTO = Risk(
    Severity.ERROR,
    "is a Channel Access client that asks no name server, and finds no channel in the sandbox",
    _ONLY_CA,
)
_SIGNAL = Risk(Severity.ERROR, "changes how the process is stopped", "Leave signals alone.")
_FILE = Risk(Severity.WARNING, "changes files", _FILES)

DYNAMIC_NAME = _hidden("takes an attribute by a name that is computed")
INSIDES = _INSIDES
NETWORK = _NET
PROCESS = _PROCESS
LOADS = _LOADS
PATCHED = _hidden("changes the control library")
CA_ENVIRONMENT = Risk(
    Severity.ERROR,
    "changes the route to the control system",
    "Leave EPICS_* variables alone; they are set for the code.",
)
OPEN_READ = Risk(Severity.INFO, "reads a file", "Take inputs from context.json where possible.")
OPEN_WRITE = _FILE
EXPRESSION = Risk(
    Severity.WARNING, "evaluates text as an expression", "Write the expression out in Python."
)
LONG_SLEEP = Risk(
    Severity.WARNING, "sleeps for more than a minute", "Sleep less: the run's time is limited."
)
ENDLESS = Risk(
    Severity.WARNING, "loops for ever", "Give the loop an end: the run's time is limited."
)

_TABLE: dict[Risk, str] = {
    _CODE: "builtins.exec builtins.eval builtins.compile builtins.__import__ builtins.breakpoint "
    "importlib runpy code codeop types.FunctionType types.CodeType get_ipython IPython imp "
    "zipimport pdb doctest cProfile profile trace site logging.config timeit.timeit "
    "timeit.repeat timeit.Timer",
    _INSIDES: "builtins.globals builtins.locals builtins.vars builtins.__builtins__ sys.modules "
    "builtins.__loader__ builtins.__spec__ builtins.input "
    "sys._getframe sys._current_frames sys.settrace sys.setprofile sys.meta_path sys.path_hooks "
    "gc.get_objects gc.get_referrers gc.get_referents inspect.currentframe inspect.stack "
    "sys.path inspect.getattr_static inspect.getmembers operator.attrgetter operator.methodcaller "
    "unittest.mock pkgutil.resolve_name pydoc.locate "
    "threading.settrace threading.setprofile",
    _PROCESS: "os.system os.popen os.fork os.forkpty os.posix_spawn os.posix_spawnp os._exit "
    "os.abort os.kill os.killpg os.startfile os.execl os.execle os.execlp os.execlpe os.execv "
    "os.execve os.execvp os.execvpe os.spawnl os.spawnle os.spawnlp os.spawnlpe os.spawnv "
    "os.spawnve os.spawnvp os.spawnvpe posix subprocess multiprocessing pty popen2 commands "
    "asyncio.create_subprocess_exec asyncio.create_subprocess_shell asyncio.subprocess "
    "concurrent.futures.ProcessPoolExecutor concurrent.futures.process _posixsubprocess "
    "_winapi pexpect sh plumbum psutil joblib.Parallel epics.CAProcess epics.CAPool "
    "epics.multiproc",
    _NATIVE: "ctypes _ctypes cffi numpy.ctypeslib epics.ca.libca epics.ca.initialize_libca mmap "
    "epicscorelibs numba.core sys.addaudithook",
    _NET: "socket _socket socketserver ssl asyncio.open_connection asyncio.start_server "
    "asyncio.open_unix_connection asyncio.start_unix_server http.client http.server urllib.request "
    "urllib3 requests httpx aiohttp ftplib smtplib telnetlib poplib imaplib nntplib xmlrpc "
    "websocket websockets paramiko fabric zmq pycurl grpc webbrowser pyvisa serial redis "
    "jupyter_client logging.handlers.SocketHandler logging.handlers.DatagramHandler "
    "logging.handlers.SysLogHandler logging.handlers.SMTPHandler logging.handlers.HTTPHandler",
    _LOADS: "pickle.load pickle.loads pickle.Unpickler _pickle marshal dill cloudpickle shelve "
    "jsonpickle joblib.load pandas.read_pickle yaml.unsafe_load yaml.full_load",
    _PVA: "p4p pvaccess pvapy pvxslibs epics.pva",
    _TANGO: "tango PyTango taurus",
    _CAPROTO: "caproto",
    _SIGNAL: "signal faulthandler atexit",
    CA_ENVIRONMENT: "os.putenv os.unsetenv posix.putenv epics.ca.find_libca",
    _FILE: "os.remove os.unlink os.rmdir os.removedirs os.rename os.renames os.replace os.chmod "
    "os.chown os.symlink os.link os.truncate os.open os.chdir shutil.rmtree shutil.move "
    "shutil.copy shutil.copy2 shutil.copyfile shutil.copytree shutil.chown",
    EXPRESSION: "pandas.eval numexpr.evaluate sympy.sympify sympy.parse_expr yaml.load",
}
_RISKS = {path: risk for risk, paths in _TABLE.items() for path in paths.split()}

# The code may fall back to a library that has a route: no reason to refuse it.
_FALLS_BACK = {risk: replace(risk, severity=Severity.WARNING) for risk in (_PVA, _TANGO, _CAPROTO)}

# Modules that others import and so hand on: `pathlib.os.system`.
_HANDED_ON = words("os sys posix subprocess ctypes builtins socket importlib")

# Attributes through which any object leads to the interpreter.
INSIDE_NAMES = words(
    "__dict__ __subclasses__ __globals__ __builtins__ __getattribute__ __mro__ __bases__ "
    "__base__ __code__ __loader__ __spec__ __import__ __self__ __func__ __wrapped__ "
    "__closure__ __reduce_ex__ __setattr__ __delattr__ __set__ fset f_globals f_locals "
    "f_builtins f_back gi_frame cr_frame ag_frame tb_frame mro libca libCom"
)

# Methods that change files, on whatever object has them.
FILE_METHODS = words("write_text write_bytes unlink symlink_to hardlink_to")

# Methods of an event loop, whichever way the program came by it.
LOOP_METHODS = dict.fromkeys(
    words(
        "create_connection create_server create_datagram_endpoint create_unix_connection "
        "create_unix_server sock_connect"
    ),
    NETWORK,
) | dict.fromkeys(words("subprocess_exec subprocess_shell"), PROCESS)

# Of these an attribute that is computed can be anything.
_POWERFUL = words("os sys builtins importlib posix types gc inspect")


def canonical(path: str) -> str:
    """`path` from the last powerful module in it on: `pathlib.os.system` is `os.system`."""
    parts = path.split(".")
    for index in range(len(parts) - 1, 0, -1):
        if parts[index] in _HANDED_ON and parts[0] != "asyncio":
            return ".".join(parts[index:])
    return path


def risk_of(path: str) -> Risk | None:
    """What is wrong with using `path` or anything in it."""
    while path:
        if path in _RISKS:
            return _RISKS[path]
        path = path.rpartition(".")[0]
    return None


def as_fallback(risk: Risk) -> Risk:
    """`risk` where the program says what it does without the library."""
    return _FALLS_BACK.get(risk, risk)


def is_powerful(path: str) -> bool:
    """Whether an attribute of `path` by a computed name could be anything that counts."""
    return path.partition(".")[0] in _POWERFUL


def opens_for_writing(mode: object) -> bool:
    """Whether a file opened with `mode` can be changed; an unknown mode can."""
    return not isinstance(mode, str) or re.search(r"[wax+]", mode) is not None
