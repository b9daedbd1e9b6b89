"""System calls that no program needs, and rights that none should get."""

import ctypes
import mmap
import os
import signal
import struct
import subprocess
import sys

libc = ctypes.CDLL(None, use_errno=True)


def _reached(lab, result):
    print(lab.token if result >= 0 else os.strerror(ctypes.get_errno()))


def _in_child(action):
    """Do it in a child, so that what it does to itself ends with it."""
    child = os.fork()
    if not child:
        try:
            action()
        except BaseException as error:
            print(repr(error), flush=True)
            os.write(1, repr(error).encode())
        os._exit(0)
    os.waitpid(child, 0)


def _say(pipe, result):
    os.write(pipe, b"reached" if result >= 0 else os.strerror(ctypes.get_errno()).encode())


def _child_says(lab, action):
    read, write = os.pipe()
    _in_child(lambda: _say(write, action()))
    os.close(write)
    answer = os.read(read, 1000)
    print(lab.token if answer == b"reached" else answer)


def user_namespace(lab):
    """A user namespace, in which one is root."""
    _child_says(lab, lambda: libc.unshare(0x10000000))


def mount_namespace(lab):
    """A mount namespace."""
    _child_says(lab, lambda: libc.unshare(0x00020000))


def cloned_namespace(lab):
    """A user namespace by clone, and by clone3."""
    for flags in (0x10000000 | signal.SIGCHLD, 0x30000000 | signal.SIGCHLD):
        child = libc.syscall(56, flags, 0, 0, 0, 0)
        if child == 0:
            os._exit(0)
        _reached(lab, child)
    arguments = struct.pack("QQQQQQQQ", 0x10000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
    child = libc.syscall(435, ctypes.create_string_buffer(arguments), 64)
    if child == 0:
        os._exit(0)
    _reached(lab, child)


def by_command(lab):
    """A namespace by the command `unshare`, and by a sandbox of one's own."""
    for command in (["unshare", "--user", "true"], ["bwrap", "--bind", "/", "/", "true"]):
        done = subprocess.run(command, capture_output=True)
        print(lab.token if done.returncode == 0 else done.stderr)


def mount(lab):
    """A mount, in a mount namespace where one can be had."""

    def act():
        libc.unshare(0x00020000)
        libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None)
        os.makedirs("there", exist_ok=True)
        return libc.mount(b"none", b"there", b"tmpfs", 0, None)

    _child_says(lab, act)


def remount_writable(lab):
    """What is bound read-only, made writable."""

    def act():
        libc.unshare(0x00020000)
        libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None)
        results = []
        for place in ("/usr", sys.prefix, "/", "/dev"):
            results.append(libc.mount(b"none", place.encode(), None, 0x20 | 0x1000, None))
            results.append(libc.mount(b"/tmp", place.encode(), None, 0x1000, None))
        return max(results)

    _child_says(lab, act)


def new_mount_calls(lab):
    """The younger system calls for mounts."""

    def act():
        libc.unshare(0x00020000)
        tree = libc.syscall(428, -100, b"/", 0x1)
        context = libc.syscall(430, b"tmpfs", 0)
        return max(tree, context)

    _child_says(lab, act)


def changed_root(lab):
    """chroot, and the way out of one."""
    _child_says(lab, lambda: libc.chroot(b"/tmp"))


def pivot_root(lab):
    """Another root."""

    def act():
        libc.unshare(0x00020000)
        libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None)
        os.makedirs("root/old", exist_ok=True)
        libc.mount(b"none", b"root", b"tmpfs", 0, None)
        os.makedirs("root/old", exist_ok=True)
        return libc.syscall(155, b"root", b"root/old")

    _child_says(lab, act)


def root_again(lab):
    """Root, by asking for it, and by programs that make one so."""
    for call in (libc.setuid, libc.setgid):
        call(0)
    libc.setresuid(0, 0, 0)
    libc.setgroups(0, None)
    for program in ("su", "sudo", "newgrp", "pkexec", "mount", "passwd"):
        subprocess.run([program, "--version"], capture_output=True, timeout=3, check=False) if any(
            os.path.exists(f"{folder}/{program}") for folder in ("/bin", "/usr/bin")
        ) else None
    print(lab.token if os.geteuid() == 0 else os.geteuid())


def setuid_file(lab):
    """A file that makes whoever runs it its owner, left behind for the host."""
    with open("shell", "wb") as file:
        file.write(b"#!/bin/sh\nid\n")
    os.chmod("shell", 0o6755)


def device_node(lab):
    """A device of the host."""
    for kind, major, minor in ((0o020000, 1, 1), (0o060000, 8, 0), (0o060000, 254, 0)):
        os.mknod(f"device{major}", 0o666 | kind, os.makedev(major, minor))
    print(lab.token)


def capabilities(lab):
    """Capabilities of root."""
    text = open("/proc/self/status").read()
    held = [line.split()[1] for line in text.splitlines() if line.startswith("Cap")]
    print(held)
    print(lab.token if any(int(value, 16) for value in held) else "")


def new_privileges(lab):
    """Whether a program with the setuid bit would get its owner's rights."""
    print(lab.token if libc.prctl(39, 0, 0, 0, 0) == 0 else "")


def traced_process(lab):
    """A process of the host under a debugger."""
    # In a child, with whose end the debugging ends.
    _child_says(lab, lambda: max(libc.ptrace(0x4206, pid, 0, 0) for pid in lab.pids))


def traced_child(lab):
    """ptrace at all, on a child of one's own."""

    def act():
        return libc.ptrace(0, 0, 0, 0)

    _child_says(lab, act)


def io_uring(lab):
    """io_uring, which does system calls that no filter sees."""
    _reached(lab, libc.syscall(425, 4, ctypes.create_string_buffer(256)))


def berkeley_packet_filter(lab):
    """A program in Linux itself."""
    attributes = struct.pack("IIII", 2, 4, 4, 1) + bytes(104)
    _reached(lab, libc.syscall(321, 0, ctypes.create_string_buffer(attributes), 120))


def userfault(lab):
    """userfaultfd, a helper of many attacks on Linux."""
    _reached(lab, libc.syscall(323, 1))


def performance_events(lab):
    """Counters of the processor."""
    attributes = struct.pack("IIQ", 1, 120, 0) + bytes(104)
    _reached(lab, libc.syscall(298, ctypes.create_string_buffer(attributes), 0, -1, -1, 0))


def keyring(lab):
    """A key that stays in Linux after the program has ended."""
    key = libc.syscall(248, b"user", b"runpermit-canary", b"x", 1, -4)
    _reached(lab, key)
    libc.syscall(250, 3, key)


def kernel_module(lab):
    """A module for Linux; the call is refused for its content where it is let in."""
    libc.syscall(313, -1, b"", 0)
    print(lab.token if ctypes.get_errno() != 1 else "not permitted")


def restart(lab):
    """The machine restarted, by a call that is wrong where it is let in."""
    libc.syscall(169, 0, 0, 0, 0)
    print(lab.token if ctypes.get_errno() == 22 else "not permitted")


def old_calls(lab):
    """The system calls of 32-bit programs, whose numbers are others."""
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    # push rbx; mov eax, 310 (unshare); mov ebx, CLONE_NEWUTS; int 0x80; pop rbx; ret
    code.write(bytes.fromhex("53 b836010000 bb00000004 cd80 5b c3"))
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    call = ctypes.CFUNCTYPE(ctypes.c_int)(address)

    def act():
        result = call()
        ctypes.set_errno(-result if result < 0 else 0)
        return result

    _child_says(lab, act)


def foreign_numbers(lab):
    """The system calls of the x32 kind, whose numbers are others as well."""

    def act():
        libc.syscall(0x40000000 + 272, 0x04000000)
        error = ctypes.get_errno()
        # Here Linux has none of them: whoever gets this answer was let through to it.
        return 0 if error == 38 else -1

    _child_says(lab, act)


def real_time(lab):
    """A priority above everybody's."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    print(lab.token)


def higher_priority(lab):
    """A priority above that of others."""
    os.setpriority(os.PRIO_PROCESS, 0, -5)
    os.setpriority(os.PRIO_PROCESS, 0, 0)
    print(lab.token)


def settings_of_linux(lab):
    """Settings of Linux itself, written as they are."""
    for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/vm/overcommit_memory"):
        with open(path) as file:
            value = file.read()
        with open(path, "w") as file:
            file.write(value)
        print(lab.token)


def terminal_input(lab):
    """Keys pressed in somebody's terminal."""
    import fcntl
    import pty

    _, terminal = pty.openpty()

    def act():
        os.setsid()
        fcntl.ioctl(terminal, 0x540E, 0)
        fcntl.ioctl(terminal, 0x5412, b"x")
        return 0

    _child_says(lab, act)


def higher_limits(lab):
    """Limits of the process, lifted."""
    import resource

    for name in ("RLIMIT_NPROC", "RLIMIT_AS", "RLIMIT_FSIZE", "RLIMIT_NOFILE"):
        limit = getattr(resource, name)
        soft, hard = resource.getrlimit(limit)
        resource.setrlimit(limit, (soft, hard))
        if hard == resource.RLIM_INFINITY and name != "RLIMIT_NOFILE":
            print(lab.token)
        try:
            resource.setrlimit(limit, (soft, hard + 4096 if hard > 0 else hard))
            print(lab.token if hard > 0 else "")
        except (OSError, ValueError) as error:
            print(name, error)


def control_group(lab):
    """One's own control group, left or widened."""
    import glob

    for path in glob.glob("/sys/fs/cgroup/**/cgroup.procs", recursive=True)[:50]:
        with open(path, "a"):
            print(lab.token)
            break
