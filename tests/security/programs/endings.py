"""Endings and answers that leave a host without a word, or with a false one."""

import ctypes
import json
import os
import signal
import sys
import threading
import time


def exit_at_once(lab):
    """os._exit with the status of success."""
    os._exit(0)


def kill_itself(lab):
    """SIGKILL for itself."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(1)


def kill_first_process(lab):
    """SIGKILL for process 1 of a sandbox, and for all around; where there is none, for itself."""
    target = 1 if lab.mode != "open" else os.getpid()
    os.kill(target, signal.SIGKILL)
    if lab.mode != "open":
        os.kill(-1, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(1)


def stop_itself(lab):
    """SIGSTOP for itself: it neither runs nor ends."""
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(1)


def crash(lab):
    """A read of memory that is not there."""
    ctypes.string_at(0)


def endless_loop(lab):
    """A loop that hears no interrupt."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        try:
            time.sleep(0.1)
        except BaseException:
            continue


def endless_call(lab):
    """A call into C that never comes back and never lets another thread run."""
    ctypes.PyDLL(None).sleep(60)


def deep_recursion(lab):
    """A recursion that ends the interpreter."""
    sys.setrecursionlimit(10**8)

    class Deep:
        def __repr__(self):
            return repr(self)

    threading.stack_size(0)
    repr(Deep())


def closed_descriptors(lab):
    """All open files closed, the kernel's own among them."""
    os.closerange(3, 4096)
    time.sleep(0.1)


def blocked_main_thread(lab):
    """The program goes on in a thread after its time, having said that it is done."""
    threading.Thread(target=time.sleep, args=(60,)).start()
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def kernel_taken_apart(lab):
    """The kernel's own objects broken, so that no answer can be made."""
    from ipykernel.kernelapp import IPKernelApp

    kernel = IPKernelApp.instance().kernel
    kernel.session.send = lambda *_, **__: None
    kernel.session.serialize = None


def forged_reply(lab):
    """A refused write, and an answer of one's own that says all is well."""
    import hashlib

    import epics
    from ipykernel.kernelapp import IPKernelApp

    try:
        epics.caput(lab.target, lab.value, wait=True, timeout=3)
    except BaseException:
        pass
    kernel = IPKernelApp.instance().kernel
    content = json.dumps({"forged": True}).encode()
    open(".results.json", "wb").write(content)
    report = {
        "source": "runpermit",
        "problem": None,
        "sha256": hashlib.sha256(content).hexdigest(),
        "unserializable": [],
    }
    parent = kernel.get_parent("shell")
    kernel.session.send(
        kernel.shell_stream,
        "execute_reply",
        {"status": "ok", "execution_count": 1, "payload": [report], "user_expressions": {}},
        parent=parent,
    )
    time.sleep(0.2)


def malformed_messages(lab):
    """Messages for the host that are none, before the true answer."""
    from ipykernel.kernelapp import IPKernelApp

    kernel = IPKernelApp.instance().kernel
    parent = kernel.get_parent("shell")
    for content in ([], 7, "x", None, {"text": []}, {"data": 3}, {"data": {"image/png": 5}}):
        for kind in ("stream", "display_data", "status", "execute_reply", "\x1b[2J"):
            try:
                kernel.session.send(kernel.iopub_socket, kind, content, parent=parent)
            except Exception:
                continue
    socket = getattr(kernel.iopub_socket, "socket", kernel.iopub_socket)
    for parts in ([b""], [b"<IDS|MSG>"], [b"<IDS|MSG>", b"x", b"{", b"{}", b"{}", b"\xff"], [b"x"] * 50):
        try:
            socket.send_multipart(parts)
        except Exception:
            continue
    os._exit(0)


def answer_before_the_end(lab):
    """An answer that says done, and a program that goes on."""
    import subprocess

    from ipykernel.kernelapp import IPKernelApp

    kernel = IPKernelApp.instance().kernel
    parent = kernel.get_parent("shell")
    subprocess.Popen(
        [sys.executable, "-S", "-c", "import time\nwhile True: time.sleep(1)", lab.daemon],
        start_new_session=True,
    )
    time.sleep(0.3)
    kernel.session.send(
        kernel.shell_stream, "execute_reply", {"status": "ok", "execution_count": 1}, parent=parent
    )
    time.sleep(3600 if lab.mode != "open" else 1)


def named_pipe(lab):
    """Named pipes where the host looks for figures and results: whoever opens one, waits."""
    for name in ("figure.png", "results.json", ".results.json"):
        if os.path.lexists(name):
            os.unlink(name)
        os.mkfifo(name)


def results_replaced(lab):
    """Results exchanged by a thread, all the time, for a pipe, a link and a folder."""

    def exchange():
        while True:
            for make in (os.mkfifo, os.mkdir, lambda name: os.symlink("/dev/zero", name)):
                for name in (".results.json", "results.json", "figure.png"):
                    try:
                        make("x")
                        os.rename("x", name) if make is not os.mkdir else os.rmdir("x")
                    except OSError:
                        continue

    threading.Thread(target=exchange, daemon=True).start()
    time.sleep(0.3)


def endless_device(lab):
    """A figure that is a link to a file without end."""
    os.symlink("/dev/zero", "figure.png")
    os.symlink("/dev/tty", "other.png")


def nested_results(lab):
    """Results of lists in lists, deeper than a parser goes."""
    deep = []
    for _ in range(100_000):
        deep = [deep]
    sys._getframe(1).f_globals["results"] = {"deep": deep}
    open("results.json", "w").write("[" * 100_000 + "]" * 100_000)


def results_that_never_end(lab):
    """Results whose turning into text never ends."""

    class Endless(dict):
        def items(self):
            while True:
                yield "x", 1

        def __iter__(self):
            while True:
                yield "x"

    sys._getframe(1).f_globals["results"] = Endless(a=1)
    if lab.mode == "open":
        endless_loop(lab)


def not_a_number(lab):
    """Results that strict JSON does not have."""
    sys._getframe(1).f_globals["results"] = {"nan": float("nan"), "inf": float("inf")}
    open("results.json", "w").write('{"nan": NaN, "a": 1, "a": 2}')


ESCAPES = "\x1b]0;title\x07\x1b[2J\x1b[31mred\x1b]52;c;cm0gLXJm\x07\u202egnp.exe"


def escapes_in_message(lab):
    """Commands for a terminal in an error's message."""
    raise RuntimeError(ESCAPES)


def escapes_in_name(lab):
    """The same in an error's name, and in a file's."""
    open("\x1b[2J.png", "wb").write(b"\x89PNG\r\n\x1a\n")
    open("a\nb\u202e.png", "wb").write(b"\x89PNG\r\n\x1a\n")
    os.symlink("/etc/passwd", "\x1b]0;x\x07.png")
    raise type(ESCAPES, (Exception,), {})(ESCAPES)
