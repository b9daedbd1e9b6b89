"""Integer fields: the table is complete for EPICS base."""

import re
from pathlib import Path

import epicscorelibs.path
import pytest

from gate.channel_access.record_types import ELEMENTS, element_field, field_range

DEFINITIONS = Path(epicscorelibs.path.base_path) / "dbd"
# What Channel Access shows as a wider type than the field is.
WIDER = {"USHORT", "ULONG", "INT64", "UINT64"}
FIELD = re.compile(r"field\((\w+),\s*DBF_(\w+)\)\s*\{(.*?)\n\s*\}", re.DOTALL)


@pytest.mark.parametrize(
    "file", sorted(DEFINITIONS.glob("*Record.dbd")), ids=lambda path: path.stem
)
def test_every_field_that_is_shown_wider_than_it_is_has_its_range(file: Path) -> None:
    text = file.read_text()
    record_type = re.search(r"recordtype\((\w+)\)", text)
    common = (DEFINITIONS / "dbCommon.dbd").read_text()
    for field, kind, details in FIELD.findall(text + common):
        if record_type and kind in WIDER and "SPC_NOMOD" not in details:
            assert field_range(record_type[1], field) == ELEMENTS[kind], field


def test_fields_whose_type_each_record_chooses_are_told_by_another_field() -> None:
    assert element_field("waveform", "VAL") == "FTVL"
    assert element_field("waveform", "NORD") is None
    assert [element_field("aSub", field) for field in ("A", "VALU", "VAL", "NOVA", "Z")] == [
        "FTA", "FTVU", None, None, None,
    ]  # fmt: skip
    assert element_field("ao", "VAL") is None


def test_without_states_an_mbbo_is_no_enum_and_holds_16_bits() -> None:
    assert field_range("mbbo", "VAL") == field_range("mbbi", "VAL") == (0, 65535)


def test_bits_are_0_or_1() -> None:
    assert field_range("mbboDirect", "B0") == field_range("mbbiDirect", "B1F") == (0, 1)
