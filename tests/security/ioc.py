"""An IOC that tells what reached it: `python -m tests.security.ioc --port N` on loopback alone.

What a program believes to have written proves nothing. So this process keeps every value that its
records received, and hands it out on its standard input and output: for each line that it reads it
writes one with what happened since the last, as JSON, and sets all records back.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from demo.ring import keep_to_loopback

FIELDS = ("DRVH", "DRVL", "DISP", "FLNK", "DESC", "SCAN", "ACKT", "PREC", "DISV")
STATES = ("10", "1", "0")

Event = tuple[float, str, Any]


class Records:
    """All records, what they received, and how they began."""

    def __init__(self, builder: ModuleType) -> None:
        self.events: list[Event] = []
        self._initial: list[tuple[Any, Any]] = []
        scalar: dict[str, tuple[Callable[..., Any], Any]] = {
            "SP": (builder.aOut, 1.0),
            "SLOW": (builder.aOut, 1.0),
            "FREE": (builder.aOut, 1.0),
            "UNLISTED": (builder.aOut, 1.0),
            "LOCKED": (builder.aOut, 1.0),
            "TENTH": (builder.aOut, 0.0),
            "LONG": (builder.longOut, 1),
            "WIDE": (builder.int64Out, 1),
            "SWITCH": (builder.boolOut, 0),
            "NOTE": (builder.stringOut, "calm"),
        }
        for name, (make, initial) in scalar.items():
            self._add(name, make, initial)
        self._add("MODE", builder.mbbOut, 0, *STATES)
        self._add("SHORT", builder.WaveformOut, np.zeros(8, np.int16))
        self._add("ARRAY", builder.WaveformOut, np.zeros(8, np.float64))
        self._add("TEXT", builder.longStringOut, "calm", length=200)
        self.by_name["SP"].add_alias("T:ALIAS")
        self.by_name["UNLISTED"].add_alias("T:OTHER")

    by_name: dict[str, Any] = {}

    def _add(
        self,
        name: str,
        make: Callable[..., Any],
        initial: Any,
        *more: Any,
        **fields: Any,
    ) -> None:
        def note(value: Any) -> None:
            self.events.append((time.time(), f"T:{name}", _plain(value)))

        record = make(
            name, *more, initial_value=initial, on_update=note, always_update=True, **fields
        )
        self.by_name[name] = record
        self._initial.append((record, initial))

    def remember_fields(self) -> None:
        """Take the fields as they are now for those to go back to."""
        self._fields = self.fields()

    def fields(self) -> dict[str, str]:
        """The fields of T:SP that a program may have changed."""
        return {field: str(self.by_name["SP"].get_field(field)) for field in FIELDS}

    async def take(self, put: Callable[[str, str], None]) -> dict[str, Any]:
        """What happened since the last call; all is as it was at first again.

        `put` sets a channel from text.
        """
        await asyncio.sleep(0.03)  # a last one may be on its way through the dispatcher
        told = {"events": self.events, "fields": self.fields()}
        for field, value in self._fields.items():
            # Only Channel Access itself sets ACKT back.
            if told["fields"][field] != value and field != "ACKT":
                put(f"T:SP.{field}", value)
        self.events = []
        for record, initial in self._initial:
            record.set(initial)
        async with asyncio.timeout(5):
            while len(self.events) < len(self._initial):  # noqa: ASYNC110  (softioc calls)
                await asyncio.sleep(0.005)
        self.events = []
        return told


def _plain(value: Any) -> Any:
    value = value.tolist() if hasattr(value, "tolist") else value
    return repr(value) if isinstance(value, float) and value != value else value  # noqa: PLR0124


async def _serve() -> None:
    stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from softioc import asyncio_dispatcher, builder, softioc  # noqa: PLC0415  (reads environment)

    builder.SetDeviceName("T")
    records = Records(builder)
    builder.LoadDatabase()
    softioc.iocInit(asyncio_dispatcher.AsyncioDispatcher(asyncio.get_running_loop()))
    records.remember_fields()
    await records.take(softioc.dbpf)
    print("ready", file=stdout, flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await records.take(softioc.dbpf)), file=stdout, flush=True)


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.security.ioc", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pva-port", type=int, required=True)
    arguments = parser.parse_args()
    keep_to_loopback(arguments.port)
    os.environ |= {
        "EPICS_PVAS_INTF_ADDR_LIST": "127.0.0.1",
        "EPICS_PVAS_SERVER_PORT": str(arguments.pva_port),
        "EPICS_PVAS_BROADCAST_PORT": str(arguments.pva_port + 1),
        "EPICS_PVAS_BEACON_ADDR_LIST": "127.0.0.1",
        "EPICS_PVAS_AUTO_BEACON_ADDR_LIST": "NO",
    }
    asyncio.run(_serve())


if __name__ == "__main__":
    main()
