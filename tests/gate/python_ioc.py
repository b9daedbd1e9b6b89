"""The records of softioc's Python: `python_ioc.py --port N`."""

import argparse
import asyncio
import os
import sys

from demo.process import add_until_eof, end_when_told
from demo.ring import keep_to_loopback


async def serve() -> None:
    stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # Only here: EPICS reads its environment when it loads.
    from softioc import asyncio_dispatcher, builder, softioc  # noqa: PLC0415

    builder.SetDeviceName("P")
    builder.aOut("AO", initial_value=0.0)
    builder.aOut("CLAMP", initial_value=0.0, DRVL=-10, DRVH=10)
    builder.aOut("REFUSED", initial_value=0.0, validate=lambda *_: False)
    builder.aIn("AI", initial_value=0.0)
    builder.longOut("LO", initial_value=0)
    builder.int64Out("I64", initial_value=0)
    builder.boolOut("BO", "Off", "On", initial_value=0)
    builder.mbbOut("MB", "10", "1", "0", initial_value=0)
    builder.stringOut("SO", initial_value="")
    builder.longStringOut("LSO", length=80, initial_value="")
    builder.Action("ACTION", on_update=lambda _: None)
    for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"):
        builder.WaveformOut(f"W:{name}", length=5, datatype=name, initial_value=[0])
    builder.LoadDatabase()
    softioc.iocInit(
        asyncio_dispatcher.AsyncioDispatcher(asyncio.get_running_loop()), enable_pva=False
    )
    print("ready", file=stdout, flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    add_until_eof(parser)
    arguments = parser.parse_args()
    end_when_told(until_eof=arguments.until_eof)
    keep_to_loopback(arguments.port)
    asyncio.run(serve())


if __name__ == "__main__":
    sys.exit(main())
