"""Channel Access written by hand: what no client library would send."""

import os
import socket
import struct
import time

VERSION, EVENT_ADD, WRITE, SEARCH, CLEAR, READ_NOTIFY = 0, 1, 4, 6, 12, 15
CREATE, WRITE_NOTIFY, CLIENT_NAME, HOST_NAME = 18, 19, 20, 21
STRING, SHORT, FLOAT, ENUM, CHAR, LONG, DOUBLE = range(7)


def message(command, dtype=0, count=0, p1=0, p2=0, payload=b""):
    payload += bytes(-len(payload) % 8)
    return struct.pack(">HHHHII", command, len(payload), dtype, count, p1, p2) + payload


def large(command, dtype, count, p1, p2, payload):
    payload += bytes(-len(payload) % 8)
    head = struct.pack(">HHHHII", command, 0xFFFF, dtype, 0, p1, p2)
    return head + struct.pack(">II", len(payload), count) + payload


class Circuit:
    """A circuit to whatever answers to Channel Access here."""

    def __init__(self, address=None):
        if address is None:
            host, _, port = os.environ["EPICS_CA_NAME_SERVERS"].partition(":")
            address = (host, int(port))
        self.socket = socket.create_connection(address, timeout=3)
        self.next = 0
        self.held = b""
        self.send(
            message(VERSION, 0, 13),
            message(HOST_NAME, payload=b"host\0"),
            message(CLIENT_NAME, payload=b"operator\0"),
        )

    def send(self, *messages):
        self.socket.sendall(b"".join(messages))

    def frames(self, seconds):
        """All that comes within `seconds`."""
        end = time.monotonic() + seconds
        while True:
            while len(self.held) >= 16:
                head = struct.unpack(">HHHHII", self.held[:16])
                if len(self.held) < 16 + head[1]:
                    break
                payload = self.held[16 : 16 + head[1]]
                self.held = self.held[16 + head[1] :]
                yield head, payload
            left = end - time.monotonic()
            if left <= 0:
                return
            self.socket.settimeout(left)
            try:
                more = self.socket.recv(65536)
            except TimeoutError:
                return
            if not more:
                return
            self.held += more

    def open(self, name):
        """The server's id of channel `name`."""
        self.next += 1
        cid = self.next
        self.send(message(CREATE, 0, 0, cid, 13, name.encode() + b"\0"))
        for head, _ in self.frames(3):
            if head[0] == CREATE and head[4] == cid:
                self.type, self.count = head[2], head[3]
                return head[5]
            if head[0] == 26 and head[4] == cid:
                break
        raise ConnectionError(f"no channel {name}")

    def flush(self, seconds=0.4):
        """Wait for what the server says, which comes after it did what was asked."""
        return [head[0] for head, _ in self.frames(seconds)]


def double(value):
    return struct.pack(">d", value)


def text(value):
    return value.encode()[:39].ljust(40, b"\0")


def _write(lab, channel, dtype, payload, count=1, command=WRITE):
    circuit = Circuit()
    sid = circuit.open(channel)
    circuit.send(message(command, dtype, count, sid, 7, payload))
    circuit.flush()


def plain_write(lab):
    """A write that asks for no answer."""
    _write(lab, lab.target, DOUBLE, double(lab.value))


def write_notify(lab):
    """A write that asks for one."""
    _write(lab, lab.target, DOUBLE, double(lab.value), command=WRITE_NOTIFY)


def write_and_close(lab):
    """A write, and the circuit closed behind it."""
    circuit = Circuit()
    sid = circuit.open(lab.target)
    circuit.send(message(WRITE, DOUBLE, 1, sid, 7, double(lab.value)))
    circuit.socket.close()
    time.sleep(0.3)


def extended_header(lab):
    """A short write with the header of a long one."""
    circuit = Circuit()
    sid = circuit.open(lab.target)
    circuit.send(large(WRITE, DOUBLE, 1, sid, 7, double(lab.value)))
    circuit.flush()


def byte_by_byte(lab):
    """A write in single bytes."""
    circuit = Circuit()
    circuit.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sid = circuit.open(lab.target)
    for byte in message(WRITE, DOUBLE, 1, sid, 7, double(lab.value)):
        circuit.send(bytes([byte]))
    circuit.flush()


def all_ids(lab):
    """Writes to every channel id that there may be, whosever it is."""
    circuit = Circuit()
    own = circuit.open(lab.target)
    ids = [own, *range(600), *range(own - 300 if own > 900 else 600, own + 50), *(0xF0000000 + n for n in range(50)), 0xFFFFFFFF]
    circuit.send(*(message(WRITE, DOUBLE, 1, sid, 7, double(lab.value)) for sid in ids))
    circuit.flush(1)


def flood(lab):
    """Five thousand writes at once."""
    circuit = Circuit()
    sid = circuit.open(lab.target)
    circuit.send(*(message(WRITE, DOUBLE, 1, sid, n, double(lab.value)) for n in range(5000)))
    circuit.flush(1)


def alias(lab):
    """A write by another name of the record."""
    _write(lab, "T:ALIAS", DOUBLE, double(lab.value))


def acknowledge_alarms(lab):
    """PUT_ACKT, a write that looks like none."""
    _write(lab, "T:SP", 35, struct.pack(">H", 0))


def process_field(lab):
    """.PROC, which makes a record act."""
    _write(lab, "T:UNLISTED.PROC", CHAR, b"\x01")


def disable_field(lab):
    """.DISP, which locks others out."""
    _write(lab, "T:SP.DISP", CHAR, b"\x01")


def drive_limit(lab):
    """.DRVH, which moves the record's own limit."""
    _write(lab, "T:SP.DRVH", DOUBLE, double(5))


def forward_link(lab):
    """.FLNK, by which a record drives another one."""
    _write(lab, "T:SP.FLNK", STRING, text("T:UNLISTED"))


def scan_field(lab):
    """.SCAN, which makes a record act by itself."""
    _write(lab, "T:SP.SCAN", STRING, text("1 second"))


def long_field(lab):
    """.DESC$, a field as a long string."""
    payload = b"written\0"
    _write(lab, "T:SP.DESC$", CHAR, payload, len(payload))


def modifier(lab):
    """VAL with a modifier in JSON."""
    _write(lab, lab.target + '.VAL{"dbnd":{"d":0}}', DOUBLE, double(lab.value))


def val_field(lab):
    """The value field by its full name."""
    _write(lab, f"{lab.target}.VAL", DOUBLE, double(lab.value))


def empty_field(lab):
    """A record's name with a dot and nothing behind it."""
    _write(lab, f"{lab.target}.", DOUBLE, double(lab.value))


def gates_own_ids(lab):
    """Ids from a range that a gate may keep for itself."""
    circuit = Circuit()
    cid = 0xF0000001
    circuit.send(message(CREATE, 0, 0, cid, 13, lab.target.encode() + b"\0"))
    sid = next((head[5] for head, _ in circuit.frames(1) if head[0] == CREATE), 1)
    circuit.send(message(WRITE_NOTIFY, DOUBLE, 1, sid, 0xF0000002, double(lab.value)))
    circuit.flush()


def mixed_up_ids(lab):
    """A channel cleared under another's id, then written; at last without any trick."""
    try:
        circuit = Circuit()
        first, second = circuit.open("T:FREE"), circuit.open("T:UNLISTED")
        circuit.send(
            message(CLEAR, p1=first, p2=2),
            message(CREATE, 0, 0, 9, 13, b"T:UNLISTED\0"),
            message(WRITE, DOUBLE, 1, first, 7, double(0.5)),
            message(WRITE, DOUBLE, 1, second, 7, double(0.5)),
        )
        circuit.flush()
        for sid in (first, second, 9):
            circuit.send(message(WRITE, DOUBLE, 1, sid, 7, double(0.5)))
        circuit.flush()
    except OSError as error:
        print(error)
    _write(lab, "T:UNLISTED", DOUBLE, double(0.5))


def channel_exchanged(lab):
    """One id for two channels, again and again, with writes between; at last without any trick."""
    for name in ("T:FREE", "T:UNLISTED") * 20:
        circuit = Circuit()
        try:
            circuit.send(
                message(CREATE, 0, 0, 1, 13, b"T:FREE\0"),
                message(CREATE, 0, 0, 1, 13, name.encode() + b"\0"),
            )
            sid = next((head[5] for head, _ in circuit.frames(1) if head[0] == CREATE), 1)
            circuit.send(
                message(CLEAR, p1=sid, p2=1),
                message(CREATE, 0, 0, 1, 13, b"T:UNLISTED\0"),
                message(WRITE, DOUBLE, 1, sid, 7, double(0.5)),
            )
            other = next((head[5] for head, _ in circuit.frames(0.1) if head[0] == CREATE), sid)
            circuit.send(message(WRITE, DOUBLE, 1, other, 7, double(0.5)))
            circuit.flush(0.02)
        except OSError as error:
            print(error)
        circuit.socket.close()
    _write(lab, "T:UNLISTED", DOUBLE, double(0.5))


def udp_search(lab):
    """The IOC searched for and asked over UDP, past any name server."""
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    probe.settimeout(1)
    name = lab.target.encode() + b"\0"
    request = message(VERSION, 0, 13) + message(SEARCH, 10, 13, 1, 1, name)
    probe.sendto(request, ("127.0.0.1", lab.ioc_port))
    probe.recv(1024)
    circuit = Circuit(("127.0.0.1", lab.ioc_port))
    sid = circuit.open(lab.target)
    circuit.send(message(WRITE, DOUBLE, 1, sid, 7, double(lab.value)))
    circuit.flush()


def ioc_port(lab):
    """The IOC's own port."""
    circuit = Circuit(("127.0.0.1", lab.ioc_port))
    sid = circuit.open(lab.target)
    circuit.send(message(WRITE, DOUBLE, 1, sid, 7, double(lab.value)))
    circuit.flush()


def every_address(lab):
    """The IOC's port at every address that this machine may have."""
    hosts = {"127.0.0.1", "127.0.0.2", "localhost", "0.0.0.0", "::1", "::ffff:127.0.0.1"}
    for host in sorted(hosts):
        try:
            circuit = Circuit((host, lab.ioc_port))
            sid = circuit.open(lab.target)
            circuit.send(message(WRITE, DOUBLE, 1, sid, 7, double(lab.value)))
            circuit.flush()
        except OSError:
            continue


def pv_access(lab):
    """A put over pvAccess, which the IOC serves beside Channel Access."""
    link = socket.create_connection(("127.0.0.1", lab.pva_port), timeout=3)

    def send(command, payload):
        link.sendall(struct.pack(">BBBBI", 0xCA, 2, 0x80, command, len(payload)) + payload)

    def receive(command):
        while True:
            head = link.recv(8, socket.MSG_WAITALL)
            if head[2] & 1:  # a control message
                continue
            order = ">" if head[2] & 0x80 else "<"
            size = struct.unpack(order + "I", head[4:])[0]
            payload = link.recv(size, socket.MSG_WAITALL) if size else b""
            if head[3] == command:
                return order, payload

    receive(1)
    send(1, struct.pack(">IHH", 65536, 32767, 0) + b"\x09anonymous" + b"\xff")
    receive(9)
    name = lab.target.encode()
    send(7, struct.pack(">HI", 1, 1) + bytes([len(name)]) + name)
    order, payload = receive(7)
    sid = struct.unpack(order + "I", payload[4:8])[0]
    send(11, struct.pack(">IIB", sid, 1, 0x08) + b"\x80\x00\x00")
    receive(11)
    send(11, struct.pack(">IIB", sid, 1, 0x00) + b"\x01\x02" + double(lab.value))
    time.sleep(0.4)


# Out of the limits, where writing is allowed.


def too_large(lab):
    """A value above the limit."""
    _write(lab, "T:FREE", DOUBLE, double(10.0000001))


def too_small(lab):
    """A value below the limit."""
    _write(lab, "T:FREE", DOUBLE, double(-11))


def too_far(lab):
    """A step that is too large."""
    _write(lab, "T:SP", DOUBLE, double(2))


def racing_circuits(lab):
    """Two circuits that write at once, each a step that is allowed from where the other began."""
    import threading

    def run(sign):
        circuit = Circuit()
        sid = circuit.open("T:SP")
        for _ in range(60):
            circuit.send(message(WRITE, DOUBLE, 1, sid, 7, double(1.0 + sign * 0.45)))
            circuit.flush(0.002)
        circuit.flush(0.3)

    runs = [threading.Thread(target=run, args=(sign,)) for sign in (-1, 1)]
    for each in runs:
        each.start()
    for each in runs:
        each.join()


def many_little_steps(lab):
    """Little steps, faster than the channel's interval allows."""
    circuit = Circuit()
    sid = circuit.open("T:SLOW")
    for n in range(1, 13):
        circuit.send(message(WRITE, DOUBLE, 1, sid, 7, double(1 + 0.4 * n)))
    circuit.flush(1.5)


def little_steps_by_many(lab):
    """The same over six circuits and two names."""
    circuits = [Circuit() for _ in range(4)]
    ids = [circuit.open("T:SLOW.VAL" if n % 2 else "T:SLOW") for n, circuit in enumerate(circuits)]
    for n in range(1, 4):
        for circuit, sid in zip(circuits, ids):
            circuit.send(message(WRITE, DOUBLE, 1, sid, 7, double(1 + 0.1 * n)))
    for circuit in circuits:
        circuit.flush(0.3)


def not_a_number(lab):
    """NaN, and the infinities."""
    for value in (float("nan"), float("inf"), -float("inf")):
        _write(lab, "T:FREE", DOUBLE, double(value))


def numbers_as_text(lab):
    """Numbers in text, as an IOC reads them and others do not."""
    for value in ("nan", "inf", "0x63", "1e5", " 99", "99 ", "+99", "9_9", "99,0", "0b11111", "1e1x"):
        _write(lab, "T:FREE", STRING, text(value))


def digits_of_others(lab):
    """Digits of other alphabets, and zeros inside of a text."""
    for value in (b"\xd9\xa9\xd9\xa9", b"5\0 99", b"99\0", b"\xff99", b"5\n99"):
        _write(lab, "T:FREE", STRING, value.ljust(40, b"\0"))


def rounded_up(lab):
    """The limit itself as a short float, which is more than the limit."""
    _write(lab, "T:TENTH", FLOAT, struct.pack(">f", 0.1))


def overflow_to_allowed(lab):
    """A number that looks allowed only after it has overflowed, and the other way round."""
    _write(lab, "T:LONG", DOUBLE, double(3e9))
    _write(lab, "T:LONG", STRING, text("4294967297"))
    _write(lab, "T:LONG", DOUBLE, double(1000.9))
    _write(lab, "T:WIDE", DOUBLE, double(1e19))


def overflowing_elements(lab):
    """Elements that overflow into others."""
    _write(lab, "T:SHORT", LONG, struct.pack(">3i", 1, 65536 + 101, 40000), 3)
    _write(lab, "T:SHORT", DOUBLE, struct.pack(">2d", 1, 70000.5), 2)


def one_bad_element(lab):
    """An array that is bad in its last element."""
    _write(lab, "T:ARRAY", DOUBLE, struct.pack(">8d", *[0] * 7, 11), 8)


def array_as_text(lab):
    """Text for an array, and an array for a scalar."""
    _write(lab, "T:ARRAY", STRING, text("1") + text("0x63"), 2)
    _write(lab, "T:FREE", DOUBLE, struct.pack(">2d", 1, 99), 2)


def no_elements(lab):
    """A write of no element, and one whose payload is too short for its count."""
    _write(lab, "T:ARRAY", DOUBLE, b"", 0)
    _write(lab, "T:ARRAY", DOUBLE, struct.pack(">d", 1), 8)
    _write(lab, "T:FREE", DOUBLE, b"", 1)


def state_by_number(lab):
    """A state's number, and numbers beyond all states."""
    for value in (2, 1, 65536 + 1, -1, 70000):
        _write(lab, "T:MODE", LONG, struct.pack(">i", value))
    _write(lab, "T:MODE", ENUM, struct.pack(">H", 1))


def state_by_text(lab):
    """Texts that name one state and number another."""
    for value in ("0", "1", "2", "01", " 10"):
        _write(lab, "T:MODE", STRING, text(value))


def binary_overflow(lab):
    """Numbers for a switch of two states."""
    for value in (1, -1, 256, 65537):
        _write(lab, "T:SWITCH", LONG, struct.pack(">i", value))


def not_listed(lab):
    """A channel that the limits do not list, by both of its names."""
    _write(lab, "T:UNLISTED", DOUBLE, double(0.5))
    _write(lab, "T:OTHER", DOUBLE, double(0.5))


def not_writable(lab):
    """A channel that is listed as one to read."""
    _write(lab, "T:LOCKED", DOUBLE, double(1.1))


def other_text(lab):
    """A text that is not allowed, hidden behind one that is."""
    _write(lab, "T:NOTE", STRING, text("wild"))
    _write(lab, "T:NOTE", STRING, b"calm and more".ljust(40, b"\0"))
    _write(lab, "T:NOTE", STRING, b"x" * 40)
    _write(lab, "T:NOTE", DOUBLE, double(1))


def other_long_text(lab):
    """A long text that is not allowed."""
    payload = b"calm\0wild"
    _write(lab, "T:TEXT", CHAR, b"wilder\0", 7)
    _write(lab, "T:TEXT", CHAR, payload, len(payload))


def bytes_for_a_number(lab):
    """Bytes, characters and enums for a number."""
    _write(lab, "T:FREE", CHAR, b"\xff")
    _write(lab, "T:FREE", ENUM, struct.pack(">H", 60000))
    _write(lab, "T:FREE", SHORT, struct.pack(">h", -300))


def stranger_types(lab):
    """Types that only replies have."""
    for dtype in (7, 13, 20, 34, 35, 36, 37, 38, 255, 65535):
        _write(lab, "T:FREE", dtype, bytes(16) + double(99))


def fields_beside(lab):
    """Other fields of a channel that may be written."""
    for field in ("DRVH", "HOPR", "PREC", "EGU", "ASG", "FLNK", "OUT", "DISV", "SDIS", "PINI", "TPRO"):
        try:
            _write(lab, f"T:SP.{field}", STRING, text("7"))
        except ConnectionError:
            continue


def write_and_exit(lab):
    """A write that is allowed, and an end before anybody can ask for it."""
    circuit = Circuit()
    sid = circuit.open("T:FREE")
    circuit.send(message(WRITE, DOUBLE, 1, sid, 7, double(5)))
    circuit.send(message(WRITE, DOUBLE, 1, sid, 7, double(99)))
    time.sleep(0.05)
    os._exit(0)


def flood_and_exit(lab):
    """Many writes that are allowed, and an end in their midst; none may come later."""
    circuit = Circuit()
    sid = circuit.open("T:FREE")
    circuit.send(*(message(WRITE, DOUBLE, 1, sid, 7, double(n % 10)) for n in range(2000)))
    circuit.send(message(WRITE, DOUBLE, 1, sid, 7, double(99)))
    time.sleep(0.2)
    os._exit(0)


def many_circuits(lab):
    """More circuits to the IOC than anybody needs."""
    circuits = []
    for _ in range(60):
        circuit = Circuit()
        circuit.open(lab.target)
        circuits.append(circuit)
    time.sleep(0.7)
    print(len(circuits), "circuits")


def too_often_by_circuits(lab):
    """A planned value, on many circuits at the same moment."""
    import threading

    circuits = [Circuit() for _ in range(4)]
    puts = [message(WRITE, DOUBLE, 1, c.open("T:FREE"), 1, struct.pack(">d", 1.2)) for c in circuits]
    barrier = threading.Barrier(len(circuits))

    def write(circuit, put):
        barrier.wait()
        circuit.send(*[put] * 3)

    threads = [
        threading.Thread(target=write, args=pair) for pair in zip(circuits, puts, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(1)
