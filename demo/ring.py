"""The demo's soft IOC: `python -m demo.ring --port 5064` serves a small storage ring on loopback.

Clients find it by name over TCP, without any broadcast:
EPICS_CA_NAME_SERVERS=127.0.0.1:5064 EPICS_CA_ADDR_LIST="" EPICS_CA_AUTO_ADDR_LIST=NO.
"""

import argparse
import asyncio
import os
import socket
import time

import numpy as np

from demo import optics
from demo.process import add_until_eof, end_when_told
from demo.records import build_records

PERIOD = 0.1  # s between two readings of the instruments
LOWEST_PORT = 5001  # below it rsrv falls back to another port without saying so


async def serve(seed: int | None, speed: float) -> None:
    """Run the IOC in this process until it is cancelled; prints `ready` once it serves.

    In one second `speed` seconds of the ring pass.
    """
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
        await asyncio.sleep(PERIOD / speed)
        now = time.monotonic()
        advance(speed * (now - last))
        last = now


def ioc_environment(port: int) -> dict[str, str]:
    """What keeps an IOC's server, beacons included, to 127.0.0.1:`port`."""
    return {
        "EPICS_CAS_INTF_ADDR_LIST": "127.0.0.1",
        "EPICS_CAS_SERVER_PORT": str(port),
        "EPICS_CAS_BEACON_ADDR_LIST": "127.0.0.1",
        "EPICS_CAS_AUTO_BEACON_ADDR_LIST": "NO",
    }


def client_environment(name_server: str) -> dict[str, str]:
    """What leads a client to `name_server` (`host:port`) alone, over TCP."""
    return {
        "EPICS_CA_NAME_SERVERS": name_server,
        "EPICS_CA_ADDR_LIST": "",
        "EPICS_CA_AUTO_ADDR_LIST": "NO",
    }


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
    os.environ |= ioc_environment(port) | {
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
    parser.add_argument(
        "--speed",
        type=float,
        default=1.0,
        help="how much faster than a real one it is: a model is asked by rehearsals, whose waits "
        "are cut short",
    )
    add_until_eof(parser)
    arguments = parser.parse_args()
    end_when_told(until_eof=arguments.until_eof)
    keep_to_loopback(arguments.port)
    asyncio.run(serve(arguments.seed, arguments.speed))


if __name__ == "__main__":
    main()
