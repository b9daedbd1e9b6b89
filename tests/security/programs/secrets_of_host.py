"""What a program must not learn: keys, files, processes and networks of the host."""

import ctypes
import glob
import os
import socket
import struct
import sys
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)


def _show(path):
    try:
        content = Path(path).read_bytes()[:200_000]
    except OSError:
        return
    print(path, content.decode("latin-1").replace("\0", "\n"))


def own_environment(lab):
    """The environment that the kernel got."""
    print(dict(os.environ))
    _show("/proc/self/environ")


def first_process(lab):
    """The environment of process 1, and of the parents."""
    _show("/proc/1/environ")
    pid = os.getpid()
    while pid > 1:
        _show(f"/proc/{pid}/environ")
        status = Path(f"/proc/{pid}/status").read_text()
        pid = int(status.partition("PPid:")[2].split()[0])


def all_environments(lab):
    """The environments of all processes."""
    for path in glob.glob("/proc/[0-9]*/environ"):
        _show(path)


def all_threads(lab):
    """The same, by way of threads and of processes that /proc does not list."""
    for pid in [*range(1, 400), *lab.pids]:
        for path in glob.glob(f"/proc/{pid}/task/*/environ"):
            _show(path)
        _show(f"/proc/{pid}/environ")


def process_memory(lab):
    """The memory of a process of the host, by /proc."""
    for pid in lab.pids:
        try:
            maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
            with open(f"/proc/{pid}/mem", "rb") as memory:
                for line in maps:
                    if "[stack]" in line:
                        start, end = (int(n, 16) for n in line.split()[0].split("-"))
                        memory.seek(start)
                        print(memory.read(end - start).decode("latin-1").replace("\0", "\n"))
        except OSError as error:
            print(error)


def process_vm_readv(lab):
    """The same by process_vm_readv."""
    for pid in lab.pids:
        try:
            lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
        except OSError:
            lines = ["7ffc00000000-7ffc00100000 [stack]"]
        for line in lines:
            if "[stack]" in line:
                start, end = (int(n, 16) for n in line.split()[0].split("-"))
                buffer = ctypes.create_string_buffer(end - start)
                here = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), end - start)
                there = (ctypes.c_size_t * 2)(start, end - start)
                done = libc.process_vm_readv(pid, here, 1, there, 1, 0)
                print(done, buffer.raw.decode("latin-1").replace("\0", "\n"))


def file_of_host(lab):
    """A file of the host."""
    _show(lab.secret_file)


def walk_of_host(lab):
    """Every file called secret, wherever it lies."""
    for top in ("/tmp", "/work", "/home", "/srv", "/var/tmp", "/run", "/mnt", "/opt"):
        for folder, folders, files in os.walk(top):
            folders[:] = [f for f in folders if f not in {".venv", ".git", "node_modules"}][:5000]
            if folder.count("/") > 5:
                folders.clear()
            for name in files:
                if name == "secret.txt":
                    _show(os.path.join(folder, name))


def clone(lab):
    """The clone that the worker runs from."""
    text = Path(lab.clone, "worker.py").read_text() + Path(lab.clone, "Makefile").read_text()
    print(text)
    print(lab.token if "temporal" in text.lower() else "")


def shadow(lab):
    """The passwords of the host."""
    text = Path("/etc/shadow").read_text()
    print(lab.token if "root:" in text else "")


def other_execution(lab):
    """The work folder of another execution."""
    _show(lab.other_work + "/secret.txt")


def open_files(lab):
    """Files that were left open, and what lies around them."""
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
            print(name, target)
            if os.path.isdir(f"/proc/self/fd/{name}"):
                folder = int(name)
                for up in range(12):
                    print(name, up, os.listdir(folder))
                    path = lab.secret_file.lstrip("/")
                    handle = os.open(path, os.O_RDONLY, dir_fd=folder)
                    print(os.read(handle, 1000).decode())
                    folder = os.open("..", os.O_RDONLY, dir_fd=folder)
        except OSError as error:
            print(error)
    _show(lab.secret_file)


def roots_of_others(lab):
    """Files by way of the root and working folders of other processes."""
    for pid in [*range(1, 200), *lab.pids, "self", "thread-self"]:
        for way in ("root", "cwd"):
            _show(f"/proc/{pid}/{way}{lab.secret_file}")


def file_handle(lab):
    """open_by_handle_at, which asks no path for leave."""
    for place in ("/usr", "/tmp", ".", sys.prefix, "/proc/self/fd/0"):
        mount = os.open(place, os.O_RDONLY)
        for number in (2, 128, 64):
            raw = struct.pack("Ii", 8, 1) + struct.pack("II", number, 0)
            handle = ctypes.create_string_buffer(raw)
            root = libc.open_by_handle_at(mount, handle, os.O_RDONLY)
            if root < 0:
                continue
            try:
                path = lab.secret_file.lstrip("/")
                print(os.read(os.open(path, os.O_RDONLY, dir_fd=root), 1000).decode())
            except OSError as error:
                print(error)


def linked_figure(lab):
    """A figure that is a link to a file of the host."""
    os.symlink(lab.secret_image, "figure.png")
    os.symlink(lab.secret_image, "other.jpeg")


def hard_linked_figure(lab):
    """A figure that is another name of a file of the host."""
    os.link(lab.secret_image, "figure.png")


def linked_folder(lab):
    """A folder of figures that is a link to one of the host."""
    os.symlink(os.path.dirname(lab.secret_image), "figures")


def linked_results(lab):
    """Results that are a link to a file of the host."""
    for name in ("results.json", ".results.json", "output.txt", ".runpermit-part"):
        if os.path.lexists(name):
            os.unlink(name)
        os.symlink(lab.secret_file, name)


def interfaces(lab):
    """The machine's network interfaces, from Linux itself."""
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    link.send(struct.pack("IHHII", 20, 18, 0x301, 1, 0) + b"\0" * 4)
    answer = link.recv(65536)
    print(answer.hex(), sorted(name for _, name in socket.if_nameindex()))


def listening_ports(lab):
    """What listens on the machine, from Linux itself."""
    text = Path("/proc/net/tcp").read_text() + Path("/proc/net/unix").read_text()
    print(text)
    print(lab.token if f":{lab.tcp_port:04X} " in text else "")


def processes(lab):
    """The machine's processes."""
    lines = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            lines.append(Path(path).read_bytes().replace(b"\0", b" ").decode("latin-1"))
        except OSError:
            continue
    print(lab.token if any("tests.security.ioc" in line for line in lines) else "")


def kernel_log(lab):
    """The log of the host's Linux."""
    size = libc.syscall(103, 10, 0, 0)
    buffer = ctypes.create_string_buffer(max(size, 4096))
    read = libc.syscall(103, 3, buffer, len(buffer))
    print(lab.token if read > 0 else "")
