"""Whom a program must not reach: the host's services, networks and sockets."""

import ctypes
import json
import os
import socket
import struct
import time

_HELLO = b"hello from a program"


def _tcp(host, port):
    try:
        with socket.create_connection((host, port), timeout=1) as link:
            link.sendall(_HELLO)
            return True
    except OSError as error:
        print(host, port, error)
        return False


def tcp(lab):
    """A service on the loopback interface."""
    _tcp("127.0.0.1", lab.tcp_port)


def tcp_everywhere(lab):
    """The same service by every name of this machine."""
    hosts = ["localhost", "0.0.0.0", "127.1", "127.255.255.254", socket.gethostname(), "::1"]
    hosts += ["::ffff:127.0.0.1", "host.docker.internal", "_gateway"]
    for host in hosts:
        _tcp(host, lab.tcp_port)


def tcp_version_6(lab):
    """A service on IPv6's loopback interface."""
    _tcp("::1", lab.tcp6_port)


def metadata(lab):
    """What stands for a cloud's metadata service: an address of its own on this machine."""
    _tcp("127.0.0.169", lab.metadata_port)


def temporal(lab):
    """What stands for Temporal: HTTP/2's greeting to its port."""
    with socket.create_connection(("127.0.0.1", lab.tcp_port), timeout=1) as link:
        link.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")


def non_blocking(lab):
    """A connection that is never waited for."""
    link = socket.socket()
    link.setblocking(False)
    link.connect_ex(("127.0.0.1", lab.tcp_port))
    time.sleep(0.3)


def fast_open(lab):
    """Data within the very first packet, without a call to connect."""
    link = socket.socket()
    link.settimeout(1)
    link.sendto(_HELLO, 0x20000000, ("127.0.0.1", lab.tcp_port))
    time.sleep(0.2)


def udp(lab):
    """A datagram."""
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(_HELLO, ("127.0.0.1", lab.udp_port))


def udp_broadcast(lab):
    """A datagram to all."""
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    for address in ("127.255.255.255", "127.0.0.1"):
        try:
            link.sendto(_HELLO, (address, lab.udp_port))
        except OSError as error:
            print(error)


def unix_socket(lab):
    """A unix socket with a path, as Docker's."""
    link = socket.socket(socket.AF_UNIX)
    link.connect(lab.unix_path)
    link.sendall(_HELLO)


def abstract_socket(lab):
    """A unix socket without a path."""
    link = socket.socket(socket.AF_UNIX)
    link.connect("\0" + lab.abstract)
    link.sendall(_HELLO)


def replaced_sockets(lab):
    """The kernel's own sockets replaced by links to one of the host, for the host to follow."""
    if lab.mode == "open":
        unix_socket(lab)
        return
    for folder in {os.environ.get("HOME", "."), "/sandbox/run", os.environ.get("TMPDIR", ".")}:
        for top, _, names in os.walk(os.path.dirname(folder) if "home" in folder else folder):
            for name in names:
                path = os.path.join(top, name)
                if name.startswith("k-"):
                    os.unlink(path)
                    os.symlink(lab.unix_path, path)
    for name in os.listdir("/proc/self/fd"):
        try:
            if "socket" in os.readlink(f"/proc/self/fd/{name}") and int(name) > 2:
                link = socket.socket(fileno=os.dup(int(name)))
                if link.family == socket.AF_UNIX:
                    link.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue
    time.sleep(1)


def _ask_gate(lab, request, *descriptors):
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(2)
    link.connect(lab.gate_socket)
    socket.send_fds(link, [json.dumps(request).encode() + b"\n"], descriptors)
    print(link.recv(65536))
    return link


def own_session(lab):
    """A session opened by the program itself at the gate; to write it would need a permit too."""
    listener = socket.create_server(("127.0.0.1", 0))
    opening = {
        "execution": "own", "run_id": "own", "attempt": 1, "mode": "read_only", "isolation": "full"
    }
    link = _ask_gate(lab, {"do": "open", "session": opening}, listener.fileno())
    circuit = socket.create_connection(listener.getsockname(), timeout=2)

    def message(command, dtype=0, count=0, p1=0, p2=0, payload=b""):
        payload += bytes(-len(payload) % 8)
        return struct.pack(">HHHHII", command, len(payload), dtype, count, p1, p2) + payload

    circuit.sendall(message(0, 0, 13) + message(18, 0, 0, 1, 13, b"T:FREE\0"))
    time.sleep(0.5)
    circuit.sendall(message(4, 6, 1, 1, 1, struct.pack(">d", 5)))
    time.sleep(0.5)
    link.close()


def inhibit(lab):
    """The gate told to refuse everybody's writes."""
    _ask_gate(lab, {"do": "inhibit", "on": True, "operator": "program", "reason": "mine"})


def inherited_sockets(lab):
    """Every socket that was left open, asked as if it led to the gate."""
    if lab.mode == "open":
        inhibit(lab)
        return
    listener = socket.create_server(("127.0.0.1", 0))
    opening = {
        "execution": "own", "run_id": "own", "attempt": 1, "mode": "apply", "isolation": "full"
    }
    requests = ({"do": "inhibit", "on": True}, {"do": "open", "session": opening})
    for name in os.listdir("/proc/self/fd"):
        try:
            link = socket.socket(fileno=os.dup(int(name)))
            link.settimeout(0.2)
            if link.family != socket.AF_UNIX:
                continue
            for request in requests:
                line = json.dumps(request).encode() + b"\n"
                socket.send_fds(link, [line], [listener.fileno()])
        except (OSError, ValueError):
            continue


def raw_socket(lab):
    """Packets of one's own making."""
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    print(lab.token)


def packet_socket(lab):
    """Everybody's packets."""
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    print(lab.token)


def virtual_machine_socket(lab):
    """The way to the machine that this virtual one runs on."""
    socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    print(lab.token)


def express_data_path(lab):
    """Packets past the network stack."""
    socket.socket(44, socket.SOCK_RAW)
    print(lab.token)


def new_interface(lab):
    """A pair of network interfaces of one's own: the way out of a namespace."""
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)

    def attribute(kind, value):
        return struct.pack("HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)

    name = f"rp{os.getpid()}"[:14].encode() + b"\0"

    def ask(kind, flags, payload):
        link.send(struct.pack("IHHII", 16 + len(payload), kind, flags, 1, 0) + payload)
        answer = link.recv(65536)
        return struct.unpack_from("i", answer, 16)[0]

    head = struct.pack("BBHiII", 0, 0, 0, 0, 0, 0)
    for kind in (b"dummy\0", b"ifb\0", b"bridge\0", b"veth\0"):
        made = ask(16, 0x605, head + attribute(3, name) + attribute(18, attribute(1, kind)))
        print(kind, os.strerror(-made))
        if made == 0:
            print(lab.token)
            ask(17, 5, head + attribute(3, name))
            break


def other_network(lab):
    """The network namespace of the host's first process."""
    handle = os.open(f"/proc/{lab.pids[0]}/ns/net", os.O_RDONLY)
    done = ctypes.CDLL(None, use_errno=True).setns(handle, 0)
    print(lab.token if done == 0 else os.strerror(ctypes.get_errno()))
    _tcp("127.0.0.1", lab.tcp_port)
