"""The demo's soft IOC: `python -m demo.ring --port 5064` serves a small storage ring on loopback.

Clients find it by name over TCP, without any broadcast:
EPICS_CA_NAME_SERVERS=127.0.0.1:5064 EPICS_CA_ADDR_LIST="" EPICS_CA_AUTO_ADDR_LIST=NO.
"""

import argparse
import asyncio
import os
import socket
import time
from collections.abc import Callable
from types import ModuleType

import numpy as np

from demo import optics
from demo.process import add_until_eof, end_when_told

PERIOD = 0.1  # s between two readings of the instruments
MODES = ("Shutdown", "Injection", "User", "Machine Study")
LOWEST_PORT = 5001  # below it rsrv falls back to another port without saying so


def build_records(builder: ModuleType, ring: optics.StorageRing) -> Callable[[float], None]:
    """Create the records of the ring and return the function that moves it by some seconds.

    `builder` is softioc's, passed in because it can be imported only once EPICS is configured.
    """
    builder.SetDeviceName("SR")
    beam_current = builder.aIn("BEAM:CURRENT", EGU="mA", PREC=3, DESC="Stored electron current")
    lifetime = builder.aIn("BEAM:LIFETIME", EGU="h", PREC=2, DESC="Beam lifetime")
    setpoints = [
        builder.aOut(
            f"HCM{number}:SP",
            DRVL=-10.0,
            DRVH=10.0,
            EGU="A",
            PREC=4,
            initial_value=float(start),
            DESC=f"Horizontal corrector {number} setpoint",
        )
        for number, start in enumerate(optics.CORRECTOR_START, 1)
    ]
    readbacks = [
        builder.aIn(f"HCM{number}:RB", EGU="A", PREC=4, DESC=f"Corrector {number} readback")
        for number in range(1, len(setpoints) + 1)
    ]
    bpms = [
        builder.aIn(f"BPM{number}:X", EGU="mm", PREC=4, DESC=f"Horizontal position at BPM {number}")
        for number in range(1, optics.BPM_POSITIONS.size + 1)
    ]
    orbit = builder.WaveformIn(
        "ORBIT:WAVEFORM", ring.orbit(), EGU="mm", PREC=4, DESC="Horizontal orbit around the ring"
    )
    builder.WaveformIn(
        "ORBIT:S", optics.ORBIT_POINTS, EGU="m", PREC=2, DESC="Places of ORBIT:WAVEFORM"
    )
    mode = builder.mbbOut("MODE", *MODES, initial_value=MODES.index("User"), DESC="Machine mode")
    note = builder.stringOut("OPERATOR:NOTE", initial_value="", DESC="Note of the operator")

    # Counted by the IOC itself: what a client believes to have written proves nothing.
    for record in (*setpoints, mode, note):
        name = record.name.removeprefix("SR:").removesuffix(":SP")
        record.FLNK = builder.records.calc(
            f"{name}:PUTS", CALC="VAL+1", DISP=1, DESC="Puts received"
        )

    def advance(seconds: float) -> None:
        ring.step(seconds, np.array([setpoint.get() for setpoint in setpoints]))
        beam_current.set(ring.measured_beam_current())
        lifetime.set(ring.lifetime)
        for record, value in zip(readbacks, ring.readbacks(), strict=True):
            record.set(float(value))
        for record, value in zip(bpms, ring.bpm_readings(), strict=True):
            record.set(float(value))
        orbit.set(ring.orbit())

    return advance


async def serve(seed: int | None) -> None:
    """Run the IOC in this process until it is cancelled; prints `ready` once it serves."""
    # EPICS prints its banner to file descriptor 1; ours says `ready` and nothing else.
    stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # Only here: EPICS reads its environment when it loads.
    from softioc import asyncio_dispatcher, builder, softioc  # noqa: PLC0415

    advance = build_records(builder, optics.StorageRing(np.random.default_rng(seed)))
    builder.LoadDatabase()
    # Channel Access alone: every further protocol would be a way around the gate.
    softioc.iocInit(
        asyncio_dispatcher.AsyncioDispatcher(asyncio.get_running_loop()), enable_pva=False
    )
    last = time.monotonic()
    advance(0.0)
    print("ready", file=stdout, flush=True)
    while True:
        await asyncio.sleep(PERIOD)
        now = time.monotonic()
        advance(now - last)
        last = now


def keep_to_loopback(port: int) -> None:
    """Bind Channel Access to 127.0.0.1:`port` and send nothing, beacons included, anywhere else.

    Exits with a message if the port can't be had: rsrv would silently take another one.
    """
    if not LOWEST_PORT <= port <= 65535:  # noqa: PLR2004  the highest port there is
        raise SystemExit(f"--port {port}: choose one from {LOWEST_PORT} to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise SystemExit(f"--port {port}: {error.strerror}; choose another one") from error
    os.environ |= {
        "EPICS_CAS_INTF_ADDR_LIST": "127.0.0.1",
        "EPICS_CAS_SERVER_PORT": str(port),
        "EPICS_CAS_BEACON_ADDR_LIST": "127.0.0.1",
        "EPICS_CAS_AUTO_BEACON_ADDR_LIST": "NO",
        # As root, EPICS would run its threads in real time and lock its memory.
        "EPICS_ALLOW_POSIX_THREAD_PRIORITY_SCHEDULING": "NO",
        "EPICS_CA_ADDR_LIST": "127.0.0.1",
        "EPICS_CA_AUTO_ADDR_LIST": "NO",
    }


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m demo.ring", description=__doc__)
    parser.add_argument("--port", type=int, default=5064, help="TCP port of Channel Access")
    parser.add_argument("--seed", type=int, help="make the instruments' noise reproducible")
    add_until_eof(parser)
    arguments = parser.parse_args()
    end_when_told(until_eof=arguments.until_eof)
    keep_to_loopback(arguments.port)
    asyncio.run(serve(arguments.seed))


if __name__ == "__main__":
    main()
