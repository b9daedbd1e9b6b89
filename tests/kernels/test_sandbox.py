"""What code in the sandbox can't do, tried from inside."""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from kernels.interface import RunOutcome
from kernels.live import LiveKernel
from kernels.pool import KernelPool

RunProgram = Callable[..., Awaitable[RunOutcome]]
OpenKernels = Callable[..., AbstractAsyncContextManager[KernelPool]]
ROOT = Path(__file__).parents[2]
TRY = """
import ctypes, errno, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    ctypes.set_errno(0)
    if getattr(libc, name)(*arguments) >= 0:
        return "done"
    return errno.errorcode[ctypes.get_errno()]
def attempt(function, *arguments):
    try:
        return f"done: {function(*arguments)}"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
results = {}
"""


async def test_there_is_no_network_and_nothing_of_the_host(
    run_program: RunProgram, work: Path
) -> None:
    secret = work.parent / "secret"
    secret.write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        outcome = await run_program(
            TRY + "results = {"
            f"'own': attempt(socket.create_connection, {server.getsockname()}, 2),"
            "'far': attempt(socket.create_connection, ('192.0.2.1', 80), 2),"
            f"'file': attempt(open, '{secret}'),"
            "'shadow': attempt(open, '/etc/shadow'),"
            "'home': attempt(os.listdir, '/root'),"
            "'root': attempt(open, '/new', 'w'),"
            "'usr': attempt(open, '/usr/new', 'w'),"
            "'inside': attempt(open, '/sandbox/inside/launch.py', 'w'),"
            "'dev': attempt(open, '/dev/new', 'w')}"
        )
    assert outcome.results is not None, outcome.error
    home = outcome.results.pop("home")  # the way to the interpreter may lie in it
    assert home in {"ENOENT", "EACCES", "done: ['.pyenv']"}
    assert outcome.results == {
        "own": "ECONNREFUSED",
        "far": "ENETUNREACH",
        "file": "ENOENT",
        "shadow": "ENOENT",
        "root": "EROFS",
        "usr": "EROFS",
        "inside": "EROFS",
        "dev": "EROFS",
    }


async def test_dangerous_system_calls_are_refused(run_program: RunProgram) -> None:
    outcome = await run_program(
        TRY + "results = {'unshare': call('unshare', 0x10000000),"
        "'mount': call('mount', b'none', b'/tmp', b'tmpfs', 0, None),"
        "'ptrace': call('ptrace', 0, 0, 0, 0),"
        "'keyctl': call('syscall', 250, 0, 0, 0, 0, 0),"
        "'bpf': call('syscall', 321, 0, 0, 0),"
        "'io_uring': call('syscall', 425, 1, 0),"
        "'fsopen': call('syscall', 430, b'tmpfs', 0),"
        "'clone3': call('syscall', 435, 0, 0),"
        "'clone': call('syscall', 56, 0x10000011, 0, 0, 0, 0),"
        "'tiocsti': call('ioctl', 0, 0x5412, b'x'),"
        "'vsock': attempt(socket.socket, 40, 1), 'alg': attempt(socket.socket, 38, 5),"
        "'packet': attempt(socket.socket, 17, 3),"
        "'chroot': call('chroot', b'/tmp'), 'setuid': attempt(os.setuid, 0),"
        "'mknod': attempt(os.mknod, '/tmp/d', 0o020666, os.makedev(1, 3))}"
    )
    assert outcome.results is not None, outcome.error
    assert outcome.results.pop("clone3") == "ENOSYS"
    assert outcome.results.pop("setuid") == "EINVAL"
    assert set(outcome.results.values()) == {"EPERM"}


async def test_only_its_own_processes_are_seen_and_none_has_rights(run_program: RunProgram) -> None:
    outcome = await run_program(
        "import getpass, os, socket\n"
        "status = dict(line.split(':\\t', 1) for line in open('/proc/self/status'))\n"
        "results = {'pids': sorted(int(p) for p in os.listdir('/proc') if p.isdigit()),"
        "'caps': status['CapEff'] + status['CapBnd'], 'new': status['NoNewPrivs'],"
        "'user': getpass.getuser(), 'host': socket.gethostname(), 'uid': os.getuid(),"
        "'environ': open('/proc/1/environ').read()}"
    )
    assert outcome.results is not None, outcome.error
    assert outcome.results["pids"] == [1, 2]
    assert outcome.results["caps"].split() == ["0" * 16] * 2
    assert outcome.results["new"].strip() == "1"
    assert outcome.results["user"] == "runpermit"
    assert outcome.results["uid"] == 1000
    assert outcome.results["host"] == "kernel"
    names = {entry.partition("=")[0] for entry in outcome.results["environ"].split("\0") if entry}
    assert not {name for name in names if name.startswith(("SECRET", "OPENAI", "TEMPORAL"))}
    assert "MPLCONFIGDIR" in names


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is somebody else in the sandbox")
async def test_no_process_of_it_is_root_on_the_host(
    run_program: RunProgram, processes: Callable[[], set[int]]
) -> None:
    users: set[int] = set()
    before = processes()

    def look(_: LiveKernel) -> None:
        for pid in processes() - before:
            status = Path(f"/proc/{pid}/status").read_text()
            users.update(map(int, status.split("Uid:")[1].split()[:4]))

    outcome = await run_program("results = {}", begun=look, sandbox_uid=64123)
    assert outcome.error is None
    assert users == {64123}


async def test_the_way_to_the_host_is_closed_before_the_program_begins(
    run_program: RunProgram,
) -> None:
    outcome = await run_program(
        "import os\n"
        "results = {}\n"
        "for number in os.listdir('/proc/self/fd'):\n"
        "    try:\n        results[number] = os.readlink(f'/proc/self/fd/{number}')\n"
        "    except OSError:\n        pass\n"
        "results = {k: v for k, v in results.items() if v.startswith('/') }"
    )
    assert outcome.results is not None
    assert {path for path in outcome.results.values() if not path.startswith("/proc")} <= {
        "/dev/null"
    }


async def test_links_in_place_of_the_kernels_sockets_lead_nowhere(
    run_program: RunProgram, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        server.settimeout(1.5)
        outcome = await run_program(
            "import os, time\n"
            "for n in range(1, 6):\n"
            "    os.unlink(f'/sandbox/run/k-{n}')\n"
            f"    os.symlink('{tmp_path}/s', f'/sandbox/run/k-{{n}}')\n"
            "get_ipython().kernel.iopub_thread.stop()\n"
            "get_ipython().kernel.iopub_socket.close()\n"
            "time.sleep(1)\nos.closerange(3, 100)\nos._exit(1)"
        )
        assert outcome.error is not None
        with pytest.raises(TimeoutError):
            await asyncio.to_thread(server.accept)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="this suite already is an ordinary user's")
def test_an_ordinary_user_has_the_same_sandbox() -> None:
    tests = "network or system_calls or only_its_own or the_way_to or next_run"
    with tempfile.TemporaryDirectory(prefix="rp-", dir="/tmp") as folder:
        os.chown(folder, ORDINARY_USER, ORDINARY_USER)
        done = subprocess.run(
            [
                *("unshare", "--mount", "--", "sh", "-ec", _as_ordinary_user(), "sh"),
                *(sys.executable, "-m", "pytest", __file__, "-q", "-p", "no:cacheprovider"),
                *("-k", tests, "--basetemp", f"{folder}/pytest"),
            ],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert "5 passed" in done.stdout, done.stdout + done.stderr


ORDINARY_USER = 64998


def _as_ordinary_user() -> str:
    """A script that runs its arguments as that user, who can reach clone and interpreter.

    Both may lie where only root may go: then that folder is covered by one with them alone in it.
    """
    lines = ["mount -t tmpfs none /mnt"]
    closed: dict[Path, list[Path]] = {}
    for path in {Path(sys.base_prefix), Path(sys.prefix), ROOT}:
        door = next((a for a in reversed(path.parents) if not a.stat().st_mode & 0o001), None)
        if door is not None:
            closed.setdefault(door, []).append(path)
    for door, paths in closed.items():
        for n, path in enumerate(sorted(paths)):
            lines += [f"mkdir /mnt/{n}", f"mount --rbind '{path}' /mnt/{n}"]
        lines.append(f"mount -t tmpfs -o mode=755 none '{door}'")
        for n, path in enumerate(sorted(paths)):
            lines += [f"mkdir -p '{path}'", f"mount --move /mnt/{n} '{path}'"]
    user = f"--reuid={ORDINARY_USER} --regid={ORDINARY_USER} --clear-groups --no-new-privs"
    return "\n".join([*lines, f'exec setpriv {user} "$@"'])


async def test_the_next_run_is_unaffected_by_the_last(kernels: OpenKernels, work: Path) -> None:
    async with kernels(pool=1) as pool:
        for code in ("import os; os._exit(1)", "open('/tmp/left', 'w').close(); 1 / 0"):
            async with pool.session(work) as kernel:
                ended = await kernel.run(code, timeout=20, attempt=1, on_stdout=lambda _: None)
                outcome = ended.collect(keep_files=True)
                assert outcome.error is not None
        async with pool.session(work) as kernel:
            ended = await kernel.run(
                "import os; results = {'left': os.path.exists('/tmp/left')}",
                timeout=20,
                attempt=1,
                on_stdout=lambda _: None,
            )
            outcome = ended.collect(keep_files=True)
        assert outcome.results == {"left": False}
