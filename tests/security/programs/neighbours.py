"""Whom a program must not hurt: processes, other executions, and the kernels that come after."""

import ctypes
import glob
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def kill_process(lab):
    """A process of the host, killed."""
    for pid in lab.pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError as error:
            print(error)


def stop_process(lab):
    """A process of the host, stopped."""
    for pid in lab.pids:
        try:
            os.kill(pid, signal.SIGSTOP)
        except OSError as error:
            print(error)


def kill_all(lab):
    """All processes that one may kill; as an ordinary user, for this machine's sake."""
    child = os.fork()
    if not child:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(lab.ordinary_user)
            os.setuid(lab.ordinary_user)
        os.kill(-1, signal.SIGKILL)
        os._exit(0)
    os.waitpid(child, 0)
    time.sleep(0.2)


def kill_parent(lab):
    """The parent, killed: in the worker's stead, what started the unprotected kernel."""
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(0.3)


def by_descriptor(lab):
    """A process of the host, killed by way of a pidfd."""
    for pid in lab.pids:
        try:
            signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGKILL)
        except OSError as error:
            print(error)


def change_host_file(lab):
    """A file of the host, changed."""
    Path(lab.canary_file).write_text("changed")


def new_host_file(lab):
    """A file on the host, made."""
    Path(lab.folder, "made").write_text("made")
    Path(lab.other_work, "made").write_text("made")


def other_kernel(lab):
    """Code run in another kernel, by way of its connection file."""
    from jupyter_client import BlockingKernelClient

    files = glob.glob(f"{lab.folder}/**/*.json", recursive=True)
    files += glob.glob("/sandbox/**/*.json", recursive=True)
    for file in files:
        try:
            if not {"shell_port", "key"} <= set(json.loads(Path(file).read_text())):
                continue
            client = BlockingKernelClient(connection_file=file)
            client.load_connection_file()
            client.start_channels()
            client.execute("pwned = 1")
            time.sleep(0.2)
            client.stop_channels()
        except (OSError, ValueError) as error:
            print(file, error)


def other_work_folder(lab):
    """The work folder of another execution, emptied."""
    for name in os.listdir(lab.other_work):
        os.unlink(os.path.join(lab.other_work, name))


def shared_memory(lab):
    """A piece of shared memory, left for others to find."""
    libc = ctypes.CDLL(None, use_errno=True)
    found = libc.shmget(0x72707278, 4096, 0o1666)
    print(found)


def daemon(lab):
    """A daemon that outlives its kernel."""
    code = "import time\nwhile True: time.sleep(1)"
    subprocess.Popen(
        [sys.executable, "-S", "-c", code, lab.daemon],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(0.3)


def daemon_of_daemon(lab):
    """The same, forked twice, deaf to signals, in a session and group of its own."""
    if os.fork():
        time.sleep(0.3)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    for number in range(1, 32):
        if number not in {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
    os.closerange(0, 256)
    code = "import time\nwhile True: time.sleep(1)"
    os.execv(sys.executable, [sys.executable, "-S", "-c", code, lab.daemon])


def daemon_after_end(lab):
    """A daemon whose kernel ends without a word."""
    daemon(lab)
    os._exit(0)


def library_folder(lab):
    """A file that each Python of this environment would run at its start."""
    import sysconfig

    folder = sysconfig.get_paths()["purelib"]
    Path(folder, lab.poison + ".pth").write_text(f"import os; os.environ['{lab.poison}'] = '1'\n")


def compiled_code(lab):
    """Compiled code beside the sources that others import."""
    import ipykernel

    folder = Path(ipykernel.__file__).parent / "__pycache__"
    Path(folder, lab.poison).write_text("x")


def kernels_own_files(lab):
    """The kernel's own files."""
    main = sys.modules.get("runpermit_inside")
    folders = list(getattr(main, "__path__", [])) or [os.path.dirname(sys.executable)]
    Path(folders[0], lab.poison).write_text("x")


def start_up_files(lab):
    """Files that Python, IPython and shells run when they start."""
    home = Path(os.environ["HOME"])
    startup = Path(os.environ.get("IPYTHONDIR", home / ".ipython"), "profile_default", "startup")
    startup.mkdir(parents=True, exist_ok=True)
    (startup / f"00-{lab.poison}.py").write_text(f"import os; os.environ['{lab.poison}'] = '1'\n")
    (home / f".{lab.poison}").write_text("x")


def everywhere(lab):
    """A mark in every folder that can be written to."""
    places = ["/tmp", "/var/tmp", "/dev/shm", "/run", "/dev", "/", "/etc", "/usr", sys.prefix]
    for place in [*places, os.path.expanduser("~"), os.getcwd()]:
        try:
            Path(place, lab.poison).write_text("x")
        except OSError as error:
            print(error)


def preloaded_library(lab):
    """A library for every program that starts later."""
    Path("/etc/ld.so.preload.runpermit-canary").write_text(lab.poison)
    Path(lab.folder, "ld.so.preload").write_text(lab.poison)
