import dataclasses
import datetime as dt
import decimal
import enum
import json
import math
import pathlib
import subprocess
import sys
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from runpermit import serialization
from runpermit.serialization import (
    MAX_DEPTH,
    make_json_serializable,
    serialize_results_to_file,
    strict_json_loads,
)

mpl.use("agg")
UTC = dt.UTC


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: float
    y: set[int]


def unserializable(value: Any) -> bool:
    return isinstance(value, dict) and value.get("_type") == "unserializable"


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (None, None),
        (True, True),
        ("ä", "ä"),
        ({1}, {"items": [1], "_type": "set"}),
        (frozenset({3, 1}), {"items": [1, 3], "_type": "set"}),
        (1 + 2j, {"real": 1.0, "imag": 2.0, "_type": "complex"}),
        (dt.datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02T03:00:00+00:00"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (dt.timedelta(minutes=1), {"_type": "timedelta", "seconds": 60.0}),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array(["2026-01-02"], dtype="datetime64[ns]"), ["2026-01-02T00:00:00.000000000"]),
        (np.float64(1.5), 1.5),
        (np.int32(3), 3),
        (np.bool_(True), True),  # noqa: FBT003
        (np.longdouble(2), 2.0),
        (np.complex64(1j), {"real": 0.0, "imag": 1.0, "_type": "complex"}),
        ((1, range(2)), [1, [0, 1]]),
        (b"\x00\xff", {"_type": "bytes", "base64": "AP8="}),
        (pathlib.PurePosixPath("a/b"), "a/b"),
        (Color.RED, "red"),
        (Point(1.0, {2}), {"x": 1.0, "y": {"items": [2], "_type": "set"}}),
        (decimal.Decimal("1.10"), {"_type": "decimal", "value": "1.10"}),
        (
            pd.Series([1, 2], name="s"),
            {"_type": "series", "name": "s", "index": [0, 1], "data": [1, 2]},
        ),
        (
            pd.DataFrame({"a": [1], "b": ["x"]}),
            {"_type": "dataframe", "columns": ["a", "b"], "index": [0], "data": [[1, "x"]]},
        ),
        (pd.NaT, None),
    ],
)
def test_a_value_takes_its_documented_form(obj: object, expected: object) -> None:
    assert make_json_serializable(obj) == expected
    assert type(make_json_serializable(obj)) is type(expected)


def test_a_figure_is_named_as_one() -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415

    assert make_json_serializable({"f": Figure()}) == {"f": {"_type": "matplotlib_figure"}}


@pytest.mark.parametrize(
    ("number", "text"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")]
)
@pytest.mark.parametrize("wrap", [float, np.float64, lambda x: np.array([x])[0]])
def test_nan_and_infinity_stay_recognisable_in_valid_json(
    number: float, text: str, wrap: Any
) -> None:
    value = make_json_serializable({"x": wrap(number)})
    assert value == {"x": {"_type": "float", "value": text}}
    json.dumps(value, allow_nan=False)


def test_a_cycle_is_marked_where_it_closes() -> None:
    results: dict[str, Any] = {"mean": 1.5, "list": [1]}
    results["self"] = results
    results["list"].append(results["list"])
    value = make_json_serializable(results)
    assert value["mean"] == 1.5
    assert value["self"]["reason"] == "contains itself"
    assert value["list"][0] == 1
    assert unserializable(value["list"][1])


def test_an_object_that_occurs_twice_is_no_cycle() -> None:
    shared = [1]
    assert make_json_serializable([shared, shared]) == [[1], [1]]


def test_tuple_keys_become_text_and_no_entry_is_lost_to_another() -> None:
    value = make_json_serializable({(1, 2): "a", 1: "b", "1": "c", None: "d", 1.5: "e"})
    assert value == {"(1, 2)": "a", "1": "b", "1 #2": "c", "null": "d", "1.5": "e"}


def test_an_open_file_is_marked_with_its_type_and_the_rest_kept(tmp_path: pathlib.Path) -> None:
    with (tmp_path / "f").open("w") as file:
        value = make_json_serializable({"file": file, "n": 1})
    assert value["n"] == 1
    assert value["file"] == {
        "_type": "unserializable",
        "type": "_io.TextIOWrapper",
        "reason": "has no JSON form",
    }


@pytest.mark.parametrize(
    "huge",
    [np.zeros(10**7), range(10**7), bytes(10**8), "x" * 10**8],
    ids=["array", "range", "bytes", "text"],
)
def test_what_is_too_large_is_marked_with_its_size(huge: Any) -> None:
    value = make_json_serializable({"huge": huge, "n": 1})
    assert unserializable(value["huge"])
    assert value["huge"]["reason"].startswith(f"{len(huge)} ")
    assert value["n"] == 1


def test_many_small_containers_are_bounded_like_one_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serialization, "MAX_ELEMENTS", 10_000)
    doubled: list[Any] = [1, 2]
    for _ in range(40):
        doubled = [doubled, doubled]
    assert len(json.dumps(make_json_serializable(doubled))) < 10_000 * 300


def test_depth_is_bounded() -> None:
    deep: list[Any] = []
    for _ in range(MAX_DEPTH * 100):
        deep = [deep]
    assert f"deeper than {MAX_DEPTH} levels" in json.dumps(make_json_serializable(deep))


def test_integers_that_no_json_reader_takes_are_marked() -> None:
    assert unserializable(make_json_serializable(10**5000))
    assert make_json_serializable(2**64) == 2**64


class Liar:
    @property
    def __class__(self) -> Any:
        return dict

    def items(self) -> Any:
        raise SystemExit(0)

    def __iter__(self) -> Any:
        while True:
            yield self

    def __str__(self) -> str:
        raise SystemExit(0)

    __repr__ = __str__

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class HostileDict(dict):  # type: ignore[type-arg]
    def items(self) -> Any:
        raise SystemExit(0)

    def __len__(self) -> int:
        raise SystemExit(0)


class HostileStr(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise SystemExit(0)

    def encode(self, *_: Any) -> Any:
        raise SystemExit(0)


class ndarray:  # noqa: N801
    size = 1

    def __getattr__(self, name: str) -> Any:
        raise SystemExit(0)


ndarray.__module__ = "numpy"


@dataclasses.dataclass
class Raising:
    x: int

    @property  # type: ignore[no-redef]
    def x(self) -> int:
        raise SystemExit(0)

    @x.setter
    def x(self, _: int) -> None: ...


@pytest.mark.parametrize(
    "make",
    [Liar, ndarray, lambda: Raising(1), lambda: Liar, lambda: print, lambda: iter([1])],
    ids=["liar", "fake array", "raising dataclass", "class", "function", "iterator"],
)
def test_hostile_objects_are_marked_and_break_nothing(make: Any) -> None:
    value = make_json_serializable({"bad": make(), "good": 1})
    assert unserializable(value["bad"])
    assert value["good"] == 1


def test_subclasses_of_plain_types_do_not_run_their_own_code() -> None:
    value = make_json_serializable([HostileDict(a=1), HostileStr("x\ud800")])
    assert value == [{"a": 1}, "x\\ud800"]
    assert type(value[1]) is str


def test_results_are_written_and_described(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "results.json"
    outcome = serialize_results_to_file({"a": {1}, "f": print}, str(path))
    assert outcome["success"] is True
    assert outcome["error"] is None
    assert outcome["file_path"] == str(path)
    assert outcome["size_bytes"] == path.stat().st_size
    assert outcome["unserializable"] == ["results › f"]
    assert strict_json_loads(path.read_bytes())["a"] == {"items": [1], "_type": "set"}
    assert list(tmp_path.iterdir()) == [path]


def test_results_that_are_too_large_as_a_whole_are_never_a_success(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "results.json"
    outcome = serialize_results_to_file(dict.fromkeys(range(10**7)), str(path))
    assert outcome["success"] is False
    assert "10000000 elements" in outcome["error"]
    assert not path.exists()


def test_a_file_that_would_be_too_large_is_not_written(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serialization, "MAX_FILE_BYTES", 10)
    outcome = serialize_results_to_file({"a": "x" * 20}, str(tmp_path / "r.json"))
    assert outcome["success"] is False
    assert "at most 10 are kept" in outcome["error"]


def test_a_folder_that_is_missing_is_told(tmp_path: pathlib.Path) -> None:
    outcome = serialize_results_to_file({}, str(tmp_path / "none" / "r.json"))
    assert outcome["success"] is False
    assert "none" in outcome["error"]


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        '{"a": Infinity}',
        "-Infinity",
        "1e999",
        '{"a": 1, "a": 2}',
        '"\\ud800"',
        "[" * 10**5,
        "",
        b"\xff",
    ],
)
def test_the_strict_reader_refuses_what_is_no_plain_json(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        strict_json_loads(text)


def test_the_strict_reader_reads_json() -> None:
    assert strict_json_loads('{"a": [1.5, "\\ud83d\\ude00", null]}') == {"a": [1.5, "😀", None]}


def test_the_file_loads_alone_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, runpy; runpy.run_path(sys.argv[1]);"
        "assert not {'numpy', 'pandas', 'matplotlib', 'pydantic', 'runpermit'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-I", "-c", code, str(serialization.__file__)], check=True)
