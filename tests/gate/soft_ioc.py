"""A plain soft IOC with every record type of EPICS base: `soft_ioc.py --port N [--prefix T:]`.

Its access security denies writing to `NOWRITE` and reading of `NOREAD`. `…:PUTS` count, in the IOC
itself, how often a record was processed.
"""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from demo.process import add_until_eof, end_when_told
from demo.ring import keep_to_loopback

ELEMENTS = (
    "STRING", "CHAR", "UCHAR", "SHORT", "USHORT", "LONG", "ULONG", "INT64", "UINT64", "FLOAT",
    "DOUBLE", "ENUM",
)  # fmt: skip
LENGTH = 5
_ACCESS = """
ASG(DEFAULT) { RULE(1, READ) RULE(1, WRITE, TRAPWRITE) }
ASG(NOWRITE) { RULE(1, READ) }
ASG(NOREAD) { RULE(1, NONE) }
"""


# Type and name of each record, and its fields; a counted one has its counter.
_RECORDS = (
    ("ao", "LOOP", {"OMSL": "closed_loop", "DOL": "{p}AO2", "SCAN": ".1 second"}),
    ("ao", "DISP", {"DISP": 1}),
    ("ao", "NOWRITE", {"ASG": "NOWRITE"}),
    ("ao", "NOREAD", {"ASG": "NOREAD"}),
    ("ao", "NAN", {"VAL": "nan"}),
    ("ao", "ALARM", {"HIGH": 5, "HSV": "MINOR", "HIHI": 8, "HHSV": "MAJOR"}),
    ("ao", "F", {"DESC": "a record for its fields"}),
    ("ai", "AI", {}),
    ("longout", "LOCLAMP", {"DRVH": 10, "DRVL": -10}),
    ("longin", "LI", {}),
    ("int64out", "I64", {}),
    ("int64out", "I64CLAMP", {"DRVH": 10, "DRVL": -10}),
    ("ao", "ODDCLAMP", {"DRVH": -10, "DRVL": 10}),
    ("int64in", "I64IN", {}),
    ("bo", "BONONE", {}),
    ("bo", "BOONE", {"ZNAM": "Off"}),
    ("bi", "BI", {"ZNAM": "Out", "ONAM": "In"}),
    ("mbbo", "MBNONE", {}),
    ("mbbo", "MBFEW", {"ZRST": "a", "TWST": "b"}),
    ("mbbo", "MBVAL", {"ZRST": "x", "ZRVL": 5, "ONST": "y", "ONVL": 7}),
    ("mbbi", "MBI", {"ZRST": "in", "ONST": "out"}),
    ("mbboDirect", "MBD", {}),
    ("mbbiDirect", "MBID", {}),
    ("stringin", "SI", {}),
    ("lso", "LSO", {"SIZV": 100}),
    ("lso", "LSOSHORT", {"SIZV": 20}),
    ("lsi", "LSI", {"SIZV": 100}),
    *(("waveform", f"W:{element}", {"FTVL": element, "NELM": LENGTH}) for element in ELEMENTS),
    *(("aao", f"A:{element}", {"FTVL": element, "NELM": LENGTH}) for element in ELEMENTS),
    *(("waveform", f"ONE:{element}", {"FTVL": element, "NELM": 1}) for element in ELEMENTS),
    ("aai", "AAI", {"FTVL": "SHORT", "NELM": LENGTH}),
    ("waveform", "BIG", {"FTVL": "DOUBLE", "NELM": "{big}"}),
    ("waveform", "TEXTS", {"FTVL": "STRING", "NELM": 20000}),
    ("calc", "CALC", {"CALC": "A+B"}),
    ("calcout", "CALCOUT", {"CALC": "A"}),
    ("calcout", "SLOW", {"CALC": "A", "ODLY": 1.0}),
    ("calc", "CLOCK", {"CALC": "VAL+1", "SCAN": ".1 second"}),
    ("aSub", "ASUB", {"FTA": "ULONG", "FTB": "INT64", "FTC": "USHORT", "FTD": "SHORT", "NOD": 3}),
    ("dfanout", "DFAN", {"SELM": "Specified"}),
    ("fanout", "FAN", {}),
    ("permissive", "PERM", {}),
    ("sel", "SEL", {}),
    ("seq", "SEQ", {}),
    ("compress", "COMPRESS", {"NSAM": 3, "ALG": "Circular Buffer"}),
    ("histogram", "HISTO", {"NELM": 3}),
    ("event", "EVENT", {}),
    ("state", "STATE", {}),
    ("mbbo", "MODE", {"ZRST": "Shutdown", "ONST": "Injection", "TWST": "User", "VAL": 2}),
    ("bo", "PERMIT", {"ZNAM": "no", "ONAM": "yes", "VAL": 1}),
)
_COUNTED = (
    ("ao", "AO", {"VAL": "{start}", "EGU": "A", "PREC": 3, "HOPR": 100, "LOPR": -100}),
    ("ao", "AO2", {}),
    ("ao", "CLAMP", {"DRVH": 10, "DRVL": -10}),
    ("longout", "LO", {}),
    ("bo", "BO", {"ZNAM": "Off", "ONAM": "On"}),
    ("mbbo", "MB", {"ZRST": "10", "ONST": "1", "TWST": "0"}),
    ("stringout", "SO", {}),
    ("waveform", "BYTES", {"FTVL": "CHAR", "NELM": 400}),
)


def database(prefix: str, big: int, start: float) -> str:
    """All records, their names with `prefix`; `big` elements in `BIG`, and `start` in `AO`."""
    records = list(_RECORDS)
    for kind, name, fields in _COUNTED:
        records.append((kind, name, {**fields, "FLNK": f"{prefix}{name}:PUTS"}))
        records.append(("calc", f"{name}:PUTS", {"CALC": "VAL+1", "DISP": 1}))
    lines = []
    for kind, name, fields in records:
        lines.append(f'record({kind}, "{prefix}{name}") {{')
        for field, value in fields.items():
            filled = str(value).format(p=prefix, big=big, start=start)
            lines.append(f'  field({field}, "{filled}")')
        lines.append("}")
    lines.append(f'alias("{prefix}AO", "{prefix}AO:ALIAS")')
    return "\n".join(lines)


def main() -> None:
    """Serve until SIGTERM or the end of standard input; prints `ready`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--prefix", default="T:")
    parser.add_argument("--big", type=int, default=1000)
    parser.add_argument("--start", type=float, default=0)
    add_until_eof(parser)
    arguments = parser.parse_args()
    end_when_told(until_eof=arguments.until_eof)
    keep_to_loopback(arguments.port)
    os.environ["EPICS_CA_MAX_ARRAY_BYTES"] = str(64 * 1024 * 1024)
    stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # Only here: EPICS reads its environment when it loads.
    from epicscorelibs import ioc  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "ioc.acf").write_text(_ACCESS)
        (folder / "ioc.db").write_text(database(arguments.prefix, arguments.big, arguments.start))
        # `asSetFilename` is known once the shell's commands are registered.
        ioc.iocshRegisterCommon()
        ioc.ioc(f'asSetFilename("{folder}/ioc.acf")')
        ioc.start_ioc(str(folder / "ioc.db"))
        print("ready", file=stdout, flush=True)
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
