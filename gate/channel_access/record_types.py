"""Integer fields that Channel Access shows as something wider; from the record types of EPICS 7.

An IOC converts silently what it is sent: -1 to an unsigned field becomes 4294967295, 1.9 to an
int64out becomes 1. Channel Access has no unsigned and no 64-bit types, so the field's own range has
to be known. Fields that stand here nowhere have the range of their Channel Access type.
"""

from typing import NamedTuple


class IntegerRange(NamedTuple):
    """The integers that a field holds, both ends included."""

    low: int
    high: int


ELEMENTS: dict[str, IntegerRange | None] = {
    "STRING": None,
    "CHAR": IntegerRange(-(2**7), 2**7 - 1),
    "UCHAR": IntegerRange(0, 2**8 - 1),
    "SHORT": IntegerRange(-(2**15), 2**15 - 1),
    "USHORT": IntegerRange(0, 2**16 - 1),
    "LONG": IntegerRange(-(2**31), 2**31 - 1),
    "ULONG": IntegerRange(0, 2**32 - 1),
    "INT64": IntegerRange(-(2**63), 2**63 - 1),
    "UINT64": IntegerRange(0, 2**64 - 1),
    "FLOAT": None,
    "DOUBLE": None,
    "ENUM": IntegerRange(0, 2**16 - 1),
}
"""The element types that `FTVL` names, with the integers that each holds."""

_ARRAYS = frozenset({"waveform", "aai", "aao", "subArray"})
_ARGUMENTS = "ABCDEFGHIJKLMNOPQRSTU"
_BIT = IntegerRange(0, 1)

_INT64 = "VAL DRVH DRVL HOPR LOPR HIHI LOLO HIGH LOW HYST ADEL MDEL LALM ALST MLST SVAL IVOV"
_STATE_VALUES = "ZRVL ONVL TWVL THVL FRVL FVVL SXVL SVVL EIVL NIVL TEVL ELVL TVVL TTVL FTVL FFVL"
_FIELDS: dict[str, dict[str, str]] = {
    "aai": {"ULONG": "HASH"},
    "aao": {"ULONG": "HASH"},
    "ai": {"ULONG": "ROFF"},
    "ao": {"ULONG": "ROFF", "UCHAR": "OMOD"},
    "bi": {"ULONG": "RVAL ORAW MASK SVAL", "USHORT": "LALM MLST"},
    "bo": {"ULONG": "RVAL ORAW MASK RBV ORBV", "USHORT": "MLST LALM IVOV"},
    "calcout": {"USHORT": "DLYA"},
    "compress": {"ULONG": "NSAM N OFF NUSE OUSE INX"},
    "dfanout": {"USHORT": "SELN"},
    "fanout": {"USHORT": "SELN"},
    "histogram": {"USHORT": "NELM", "ULONG": "HOPR LOPR VAL"},
    "int64in": {"INT64": _INT64},
    "int64out": {"INT64": _INT64},
    # Without states the value of these two is no enum.
    "mbbi": {
        "USHORT": "VAL NOBT MLST LALM SHFT",
        "ULONG": f"{_STATE_VALUES} RVAL ORAW MASK SVAL",
    },
    "mbbo": {
        "USHORT": "VAL NOBT MLST LALM SHFT IVOV",
        "ULONG": f"{_STATE_VALUES} RVAL ORAW RBV ORBV MASK",
    },
    "mbbiDirect": {"ULONG": "RVAL ORAW MASK", "USHORT": "SHFT"},
    "mbboDirect": {"ULONG": "RVAL ORAW RBV ORBV MASK", "USHORT": "SHFT"},
    "permissive": {"USHORT": "VAL WFLG OVAL OFLG"},
    "sel": {"USHORT": "SELN NLST"},
    "seq": {"USHORT": "SELN OLDN"},
    "subArray": {"ULONG": "NELM INDX"},
    "waveform": {"ULONG": "HASH"},
}
_RANGES = {
    (record_type, field): ELEMENTS[element]
    for record_type, elements in _FIELDS.items()
    for element, fields in elements.items()
    for field in fields.split()
} | {
    (record_type, f"B{number:X}"): _BIT
    for record_type in ("mbbiDirect", "mbboDirect")
    for number in range(32)
}


def field_range(record_type: str, field: str) -> IntegerRange | None:
    """The integers that `field` of a record of `record_type` holds, None where not known here."""
    return _RANGES.get((record_type, field))


def element_field(record_type: str, field: str) -> str | None:
    """The field that names the element type of `field`, where each record has its own."""
    if record_type in _ARRAYS and field == "VAL":
        return "FTVL"
    if record_type == "aSub":
        if len(field) == 1 and field in _ARGUMENTS:
            return f"FT{field}"
        if len(field) == len("VALA") and field[:-1] == "VAL" and field[-1] in _ARGUMENTS:
            return f"FTV{field[-1]}"
    return None
