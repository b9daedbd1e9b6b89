"""The system calls that no program in a sandbox needs, as a filter for the kernel of Linux."""

import errno
import os
import socket
import tempfile
from functools import cache

_FAMILIES = {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK}  # libzmq: netlink
_FAMILIES_END = 64
_REFUSED = (
    # other processes
    *("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp"),
    # large and young parts of Linux, where most of its holes were
    *("io_uring_setup", "io_uring_enter", "io_uring_register", "bpf", "userfaultfd"),
    *("perf_event_open", "keyctl", "add_key", "request_key"),
    # mounts and namespaces
    *("mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen", "fsconfig"),
    *("fsmount", "fspick", "mount_setattr", "unshare", "setns"),
    # the machine
    *("kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "reboot"),
    *("swapon", "swapoff", "acct", "personality"),
)
_NEW_NAMESPACES = (
    *(0x00000080, 0x00020000, 0x02000000, 0x04000000),  # time, mount, cgroup, uts
    *(0x08000000, 0x10000000, 0x20000000, 0x40000000),  # ipc, user, pid, net
)
_TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX


@cache
def _program() -> bytes:
    """Compile the filter. Raises RuntimeError or OSError where libseccomp is missing or too old."""
    # It looks for libseccomp when it is imported.
    import pyseccomp as seccomp  # noqa: PLC0415

    refuse = seccomp.ERRNO(errno.EPERM)
    # Of another architecture's system calls none would be judged by the rules below.
    rules = seccomp.SyscallFilter(seccomp.ALLOW)
    for name in _REFUSED:
        _add(rules, refuse, name)
    for family in sorted(set(range(_FAMILIES_END)) - _FAMILIES):
        _add(rules, refuse, "socket", seccomp.Arg(0, seccomp.EQ, family))
    _add(rules, refuse, "socket", seccomp.Arg(0, seccomp.GE, _FAMILIES_END))
    for flag in _NEW_NAMESPACES:
        _add(rules, refuse, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, flag, flag))
    # Its flags lie in memory, which a filter can't read; the C library then takes clone.
    _add(rules, seccomp.ERRNO(errno.ENOSYS), "clone3")
    for request in _TERMINAL_INPUT:
        word = 0xFFFFFFFF
        _add(rules, refuse, "ioctl", seccomp.Arg(1, seccomp.MASKED_EQ, word, request))
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def seccomp_filter() -> int:
    """The filter as an open file, which the caller closes. Raises RuntimeError or OSError."""
    descriptor = os.memfd_create("seccomp")
    os.write(descriptor, _program())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _add(rules: object, action: int, name: str, *arguments: object) -> None:
    import pyseccomp as seccomp  # noqa: PLC0415

    number = seccomp.resolve_syscall(seccomp.Arch.NATIVE, name)
    if number == -1:
        raise RuntimeError(f"libseccomp does not know the system call {name}: it is too old")
    # Below -1 stand those that this architecture does not have.
    if number >= 0:
        rules.add_rule(action, number, *arguments)  # type: ignore[attr-defined]
