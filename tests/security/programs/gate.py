"""Against the gate itself: whoever holds it up, holds up everybody."""

import os
import socket
import struct
import time


def message(command, dtype=0, count=0, p1=0, p2=0, payload=b""):
    payload += bytes(-len(payload) % 8)
    return struct.pack(">HHHHII", command, len(payload), dtype, count, p1, p2) + payload


def circuit():
    host, _, port = os.environ["EPICS_CA_NAME_SERVERS"].partition(":")
    link = socket.create_connection((host, int(port)), timeout=3)
    link.sendall(message(0, 0, 13))
    return link


def _until(seconds, step):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            step()
        except OSError as error:
            print(error)
            time.sleep(0.05)


def _create(link, cid, name):
    link.sendall(message(18, 0, 0, cid, 13, name.encode() + b"\0"))


def search_flood(lab):
    """Searches for channels that are not there, as many as go through."""
    links, number = [circuit() for _ in range(8)], 0

    def step():
        nonlocal number
        for index, link in enumerate(links):
            batch = b""
            for _ in range(50):
                number += 1
                batch += message(6, 5, 13, number, number, b"X:%d\0" % number)
            try:
                link.sendall(batch)
            except OSError:
                links[index] = circuit()
        time.sleep(0.01)

    _until(6, step)


def creation_flood(lab):
    """Channels opened that are not there, and some that are, again and again."""
    link, number = circuit(), 0

    def step():
        nonlocal number, link
        try:
            for _ in range(200):
                number += 1
                _create(link, number, "T:SP" if number % 2 else f"X:{number}")
        except OSError:
            link = circuit()

    _until(6, step)


def subscription_flood(lab):
    """Monitors by the thousand, whose events nobody reads."""

    def step():
        link = circuit()
        for number in range(1, 200):
            _create(link, number, "T:ARRAY")
        time.sleep(0.3)
        for number in range(4000):
            mask = bytes(12) + b"\0\7\0\0"
            link.sendall(message(1, 34, 8, 1 + number % 199, number, mask))
        held.append(link)
        time.sleep(0.3)

    held = []
    _until(6, step)


def unread_arrays(lab):
    """Arrays asked for and never taken."""
    links = [circuit() for _ in range(8)]
    for link in links:
        _create(link, 1, "T:ARRAY")
    time.sleep(0.3)

    def step():
        for link in links:
            link.settimeout(0.05)
            link.sendall(b"".join(message(15, 34, 8, 1, number) for number in range(2000)))

    _until(6, step)


def half_a_message(lab):
    """Messages that announce 15 MB and never end."""
    links = [circuit() for _ in range(8)]
    for link in links:
        link.sendall(struct.pack(">HHHHIIII", 4, 0xFFFF, 6, 0, 1, 1, 15_000_000, 1_800_000))

    def step():
        for link in links:
            link.settimeout(0.05)
            link.send(bytes(65536))

    _until(6, step)


def circuit_storm(lab):
    """Circuits opened and dropped as fast as it goes."""

    def step():
        link = circuit()
        _create(link, 1, "T:SP")
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        link.close()

    _until(6, step)


def garbage(lab):
    """Bytes that are no Channel Access."""

    def step():
        link = circuit()
        link.sendall(os.urandom(100_000))
        link.close()

    _until(6, step)


def refused_writes(lab):
    """Writes that are refused, as fast as they are."""
    links = [circuit() for _ in range(6)]
    for link in links:
        _create(link, 1, "T:SP")
    time.sleep(0.3)

    def step():
        for link in links:
            link.settimeout(0.05)
            link.sendall(b"".join(message(4, 6, 1, 1, 1, struct.pack(">d", 1.1)) for _ in range(500)))
            try:
                link.recv(1 << 20)
            except TimeoutError:
                pass

    _until(6, step)
