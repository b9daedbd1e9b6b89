"""More than its share: memory, processes, disk and the host's patience. Each stops by itself."""

import ctypes
import mmap
import os
import resource
import signal
import socket
import sys
import threading
import time

MIB = 1 << 20


def _fill(size):
    """Memory that is really used."""
    area = mmap.mmap(-1, size)
    for start in range(0, size, 4096):
        area[start] = 1
    return area


def memory(lab):
    """3 GB in one process."""
    held = [_fill(256 * MIB) for _ in range(12)]
    time.sleep(0.6)
    print(len(held))


def memory_of_many(lab):
    """1.6 GB in eight processes, none of which takes much."""
    children = []
    for _ in range(8):
        child = os.fork()
        if not child:
            held = _fill(200 * MIB)
            time.sleep(1.5)
            os._exit(len(held) & 0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def memory_files(lab):
    """1.5 GB in files that lie in memory and belong to no folder."""
    handles = []
    piece = b"x" * (4 * MIB)
    for _ in range(75):
        handle = os.memfd_create("x")
        for _ in range(5):
            os.write(handle, piece)
        handles.append(handle)
    time.sleep(0.6)


def shared_segments(lab):
    """1.5 GB of System V shared memory."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    ids = []
    try:
        for _ in range(15):
            segment = libc.shmget(0, 100 * MIB, 0o1600)
            if segment < 0:
                raise OSError(ctypes.get_errno())
            ids.append(segment)
            address = libc.shmat(segment, None, 0)
            if address in {None, 2**64 - 1}:
                raise OSError(ctypes.get_errno())
            ctypes.memset(address, 1, 100 * MIB)
            libc.shmdt(ctypes.c_void_p(address))
        time.sleep(0.6)
    finally:
        for segment in ids:
            libc.shmctl(segment, 0, None)


def _write_files(folder, megabytes):
    piece = b"x" * MIB
    written, names = 0, []
    try:
        while written < megabytes:
            name = os.path.join(folder, f"fill-{len(names)}")
            names.append(name)
            with open(name, "wb", buffering=0) as file:
                for _ in range(20):
                    file.write(piece)
                    written += 1
    except OSError as error:
        print(folder, error)
    finally:
        time.sleep(0.4)
        for name in names:
            if os.path.exists(name):
                os.unlink(name)
    return written


def work_folder(lab):
    """800 MB in the work folder."""
    print(lab.token if _write_files(".", 800) >= 800 else "")


def temporary_folder(lab):
    """800 MB in the folder for temporary files."""
    print(lab.token if _write_files("/tmp", 800) >= 800 else "")


def every_folder(lab):
    """800 MB in whatever else can be written to."""
    total = 0
    for place in ("/dev/shm", os.path.expanduser("~"), "/var/tmp", "/run", "/dev", "/run/lock"):
        if os.path.isdir(place):
            total += _write_files(place, 800)
    print(lab.token if total >= 800 else total)


def hundred_thousand_files(lab):
    """100,000 files, left for the host to walk through."""
    os.mkdir("many")
    for number in range(100_000):
        os.close(os.open(f"many/{number}.png", os.O_CREAT | os.O_WRONLY))


def deep_folders(lab):
    """A thousand folders, each in the other."""
    top = os.getcwd()
    for _ in range(1000):
        os.mkdir("d")
        os.chdir("d")
    open("figure.png", "wb").write(b"\x89PNG\r\n\x1a\n")
    os.chdir(top)


def sparse_file(lab):
    """A file of a terabyte without content, called a figure."""
    with open("figure.png", "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.truncate(1 << 40)


def processes(lab):
    """200 processes."""
    children = []
    try:
        for _ in range(200):
            child = os.fork()
            if not child:
                time.sleep(2.5)
                os._exit(0)
            children.append(child)
        time.sleep(0.8)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def fork_bomb(lab):
    """Processes that start processes, which stop by themselves at 200."""
    deadline = time.monotonic() + 1.5
    read, write = os.pipe()
    os.write(write, b"x" * 200)
    os.set_blocking(read, False)
    while time.monotonic() < deadline:
        try:
            if os.read(read, 1):
                os.fork()
        except BlockingIOError:
            time.sleep(0.2)
        except OSError:
            time.sleep(0.01)
    if os.getpid() != lab_process:
        os._exit(0)
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            break


lab_process = os.getpid()


def threads(lab):
    """500 threads."""
    stop = threading.Event()
    threading.stack_size(64 * 1024)
    try:
        for _ in range(500):
            threading.Thread(target=stop.wait, daemon=True).start()
        time.sleep(0.6)
    finally:
        stop.set()


def open_files(lab):
    """Ten thousand open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    handles = []
    try:
        handles = [os.open("/dev/null", os.O_RDONLY) for _ in range(10_000)]
        print(lab.token)
    finally:
        for handle in handles:
            os.close(handle)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def socket_buffers(lab):
    """600 MB that lie in sockets, in Linux's own memory."""
    pairs, held = [], 0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        for _ in range(4500):
            pair = socket.socketpair()
            pairs.append(pair)
            pair[0].setblocking(False)
            try:
                while True:
                    held += pair[0].send(b"x" * 32768)
            except BlockingIOError:
                pass
            if held > 600 * MIB:
                print(lab.token)
                break
    finally:
        print(held // MIB)
        for pair in pairs:
            for end in pair:
                end.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def output_flood(lab):
    """300 MB of output."""
    line = "x" * 65536 + "\n"
    for _ in range(4800):
        sys.stdout.write(line)


def raw_output_flood(lab):
    """300 MB of output past Python, on the process's own descriptors."""
    piece = b"x" * 65536
    for _ in range(4800):
        for handle in (1, 2):
            os.write(handle, piece[: 65536 // 2])


def huge_message(lab):
    """One message of 200 MB for the host."""
    from IPython.display import display

    class Image:
        def _repr_png_(self):
            return b"\x89PNG\r\n\x1a\n" + b"x" * (150 * MIB)

    display(Image())
    print("x" * (200 * MIB))


def many_figures(lab):
    """2,000 figures of 200 kB."""
    from IPython.display import display

    class Image:
        def _repr_png_(self):
            return b"\x89PNG\r\n\x1a\n" + os.urandom(200_000)

    for _ in range(2000):
        display(Image())


def huge_results(lab):
    """Results of 200 MB."""
    text = "x" * (200 * MIB)
    sys._getframe(1).f_globals["results"] = {"text": text}
    open("results.json", "w").write('{"text": "' + text + '"}')
