"""Results as JSON: whatever a program leaves becomes valid JSON that tells what is missing.

Standard library alone, because kernels load this file by itself. numpy, pandas and matplotlib
objects are known by the names of their types and never imported.

A value without a plain JSON form becomes an object with a `_type`:

- `{"_type": "float", "value": "nan" | "inf" | "-inf"}`
- `{"_type": "set", "items": […]}`, `{"_type": "complex", "real": …, "imag": …}`
- `{"_type": "bytes", "base64": …}`, `{"_type": "decimal", "value": …}`,
  `{"_type": "timedelta", "seconds": …}`, `{"_type": "matplotlib_figure"}`
- `{"_type": "dataframe", "columns": […], "index": […], "data": […]}`,
  `{"_type": "series", "name": …, "index": […], "data": […]}`
- `{"_type": "unserializable", "type": …, "reason": …}` in place of what has no form at all

datetime, date and time become ISO 8601; arrays, tuples and ranges lists; keys that are no strings
their text, so `(1, 2)` becomes `"(1, 2)"`.
"""

import array
import base64
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import hashlib
import json
import math
import pathlib
import tempfile
import uuid
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

MAX_ELEMENTS = 1_000_000
MAX_TEXT = 16 * 1024 * 1024
MAX_DEPTH = 100
MAX_INTEGER_BITS = 1024
MAX_FILE_BYTES = 64 * 1024 * 1024

_NAMED_LOSSES = 20
_module_of = type.__dict__["__module__"].__get__
_qualname_of = type.__dict__["__qualname__"].__get__
_mro_of = type.__dict__["__mro__"].__get__


def make_json_serializable(obj: Any) -> Any:  # noqa: ANN401  (any object, any JSON)
    """`obj` as something that `json.dumps(…, allow_nan=False)` always accepts. Never raises.

    At most `MAX_ELEMENTS` elements, `MAX_TEXT` characters and `MAX_DEPTH` levels; what goes
    beyond, contains itself or has no JSON form is marked `unserializable` in its place.
    """
    return _Walk().value(obj)


def serialize_results_to_file(results: Any, file_path: str) -> dict[str, Any]:  # noqa: ANN401
    """Write `results` as JSON to `file_path`, complete or not at all. Never raises.

    Returns `{"success", "file_path", "error", "size_bytes", "sha256", "unserializable"}`;
    `unserializable` names the entries that are marked in the file. Success is false, and `error`
    says why, where nothing was written, as where the results as a whole can't be serialised.
    """
    outcome: dict[str, Any] = {
        "success": False,
        "file_path": str(file_path),
        "error": None,
        "size_bytes": 0,
        "sha256": None,
        "unserializable": [],
    }
    walk = _Walk()
    value = walk.value(results)
    outcome["unserializable"] = walk.losses
    if type(value) is dict and value.get("_type") == "unserializable":
        outcome["error"] = f"results can't be serialised: {value['type']}: {value['reason']}"
        return outcome
    try:
        content = json.dumps(value, allow_nan=False).encode()
        if len(content) > MAX_FILE_BYTES:
            outcome["error"] = (
                f"results are {len(content)} bytes of JSON, at most {MAX_FILE_BYTES} are kept: "
                "reduce them, or save the data to a file in the working folder"
            )
            return outcome
        _replace(file_path, content)
    except Exception as error:  # noqa: BLE001  (told in the outcome)
        outcome["error"] = f"{file_path} can't be written: {type(error).__name__}: {error}"
        return outcome
    outcome["success"] = True
    outcome["size_bytes"] = len(content)
    outcome["sha256"] = hashlib.sha256(content).hexdigest()
    return outcome


def strict_json_loads(text: str | bytes) -> Any:  # noqa: ANN401  (any JSON)
    """Parse `text`, for readers that don't trust its writer.

    Raises ValueError for NaN and infinities (also as `1e999`), duplicate keys, nesting beyond
    the parser's depth, strings that are no Unicode text, and everything that is no JSON.
    """
    try:
        source = text.decode() if isinstance(text, bytes) else text
        value = json.loads(
            source,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=_unique_keys,
        )
        if "\\ud" in source.lower():
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        message = "the JSON is nested too deeply"
        raise ValueError(message) from None
    return value


class _Walk:
    """One pass over one object: what it met, and how much may still follow."""

    def __init__(self) -> None:
        self.losses: list[str] = []
        self._path: list[str] = []
        self._open: set[int] = set()
        self._elements = MAX_ELEMENTS
        self._text = MAX_TEXT

    def value(self, obj: Any) -> Any:  # noqa: ANN401
        # The real type, never `isinstance`: an object may lie about its `__class__`.
        kind = type(obj)
        try:
            if obj is None or kind is bool:
                return obj
            for scalar, convert in ((float, _float), (str, self._string), (int, self._integer)):
                if issubclass(kind, scalar):
                    return convert(obj)
            return self._inside(obj, kind)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except _Refusal as refusal:
            return self._marker(kind, str(refusal))
        except BaseException as error:  # noqa: BLE001  (an object's own code may raise anything)
            return self._marker(kind, f"raised {_name(type(error))} when it was read")

    def _inside(self, obj: Any, kind: type) -> Any:  # noqa: ANN401
        """Convert what is not a plain scalar, with this object on the path that leads to it."""
        if id(obj) in self._open:
            message = "contains itself"
            raise _Refusal(message)
        if len(self._open) >= MAX_DEPTH:
            message = f"nested deeper than {MAX_DEPTH} levels"
            raise _Refusal(message)
        self._open.add(id(obj))
        depth = len(self._path)
        try:
            return self._standard(obj, kind)
        finally:
            self._open.discard(id(obj))
            del self._path[depth:]

    def _standard(self, obj: Any, kind: type) -> Any:  # noqa: ANN401
        for known, convert in _CONVERTERS:
            if issubclass(kind, known):
                return convert(self, obj)
        for base in _mro_of(kind):
            named = _BY_NAME.get((_text_of(_module_of(base)).partition(".")[0], _name(base)))
            if named is not None:
                return named(self, obj)
        if _is_dataclass(kind):
            return self.mapping(
                [(name, object.__getattribute__(obj, name)) for name in _field_names(kind)]
            )
        message = "has no JSON form"
        raise _Refusal(message)

    def _string(self, obj: str) -> str:
        text = str.__str__(obj)
        if len(text) > self._text:
            message = f"{len(text)} characters, and results hold at most {MAX_TEXT} in all"
            raise _Refusal(message)
        self._text -= len(text)
        return _text_of(text)

    def _integer(self, obj: int) -> int:
        number = int.__int__(obj)
        if number.bit_length() > MAX_INTEGER_BITS:
            message = f"an integer of {number.bit_length()} bits, more than {MAX_INTEGER_BITS}"
            raise _Refusal(message)
        return number

    def admit(self, count: int) -> None:
        """Reserve room for `count` elements, or refuse the object that holds them."""
        if count > self._elements:
            message = (
                f"{count} elements, and results hold at most {MAX_ELEMENTS} in all: "
                "reduce them, or save the data to a file in the working folder"
            )
            raise _Refusal(message)
        self._elements -= count

    def items(self, values: Iterable[Any], count: int) -> list[Any]:
        self.admit(count)
        return [self.part(str(index), item) for index, item in enumerate(list(values))]

    def mapping(self, pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
        self.admit(len(pairs))
        result: dict[str, Any] = {}
        repeats: collections.Counter[str] = collections.Counter()
        for key, item in pairs:
            name = text = self._string(_key(key))
            while name in result:
                repeats[text] += 1
                name = f"{text} #{repeats[text] + 1}"
            result[name] = self.part(name, item)
        return result

    def part(self, name: str, obj: Any) -> Any:  # noqa: ANN401
        self._path.append(name[:80])
        value = self.value(obj)
        self._path.pop()
        return value

    def _marker(self, kind: type, reason: str) -> dict[str, str]:
        if len(self.losses) < _NAMED_LOSSES:
            self.losses.append(" › ".join(["results", *self._path])[:500])
        module = _text_of(_module_of(kind))
        name = _name(kind) if module == "builtins" else f"{module}.{_name(kind)}"
        return {"_type": "unserializable", "type": name[:200], "reason": reason}


class _Refusal(Exception):  # noqa: N818  (never leaves this file)
    """Why one value can't be serialised."""


def _float(obj: float) -> float | dict[str, str]:
    number = float.__float__(obj)
    if math.isfinite(number):
        return number
    text = "nan" if math.isnan(number) else "inf" if number > 0 else "-inf"
    return {"_type": "float", "value": text}


def _text_of(value: Any) -> str:  # noqa: ANN401
    """Make a string valid Unicode; lone surrogates become escapes. No string: a question mark."""
    if not issubclass(type(value), str):
        return "?"
    return str.encode(value, "utf-8", "backslashreplace").decode()


def _name(kind: type) -> str:
    return _text_of(_qualname_of(kind))


def _key(key: Any) -> str:  # noqa: ANN401
    """Put a mapping's key as text."""
    kind = type(key)
    if issubclass(kind, str):
        return str.__str__(key)
    if key is None or kind is bool:
        return json.dumps(key)
    if issubclass(kind, tuple):
        return "(" + ", ".join(_key(item) for item in tuple.__iter__(key)) + ")"
    form = _Walk().value(key)
    return form if type(form) is str else json.dumps(form)


def _set(walk: _Walk, obj: Any) -> dict[str, Any]:  # noqa: ANN401
    base = frozenset if issubclass(type(obj), frozenset) else set
    items = walk.items(base.__iter__(obj), base.__len__(obj))
    try:
        items.sort()
    except TypeError:
        items.sort(key=json.dumps)
    return {"items": items, "_type": "set"}


def _dict(walk: _Walk, obj: dict[Any, Any]) -> dict[str, Any]:
    _refuse_huge(walk, dict.__len__(obj))
    return walk.mapping(list(dict.items(obj)))


def _bytes(walk: _Walk, obj: bytes | bytearray) -> dict[str, Any]:
    if len(memoryview(obj)) > MAX_TEXT:
        message = f"{len(memoryview(obj))} bytes, and results hold at most {MAX_TEXT} in all"
        raise _Refusal(message)
    text = base64.b64encode(memoryview(obj)).decode()
    return {"_type": "bytes", "base64": walk.value(text)}


def _complex(_walk: _Walk, obj: complex) -> dict[str, Any]:
    number = complex.__complex__(obj)
    return {"real": _float(number.real), "imag": _float(number.imag), "_type": "complex"}


def _datetime(_walk: _Walk, obj: dt.datetime) -> str | None:
    # pandas' NaT claims to be a datetime, of year 1.
    return None if _name(type(obj)) == "NaTType" else dt.datetime.isoformat(obj)


def _timedelta(_walk: _Walk, obj: dt.timedelta) -> dict[str, Any]:
    return {"_type": "timedelta", "seconds": dt.timedelta.total_seconds(obj)}


def _decimal(walk: _Walk, obj: decimal.Decimal | fractions.Fraction) -> dict[str, Any]:
    base = decimal.Decimal if issubclass(type(obj), decimal.Decimal) else fractions.Fraction
    return {"_type": "decimal", "value": walk.value(base.__str__(obj))}


def _refuse_huge(walk: _Walk, count: int) -> None:
    """Refuse by its length what need not be copied to be known as too large."""
    if count > MAX_ELEMENTS:
        walk.admit(count)


def _array(walk: _Walk, obj: Any) -> Any:  # noqa: ANN401
    _refuse_huge(walk, int(obj.size))
    # Lists of datetime64[ns] would be nanoseconds.
    return walk.value((obj.astype(str) if obj.dtype.kind == "M" else obj).tolist())


def _index(walk: _Walk, obj: Any) -> Any:  # noqa: ANN401
    _refuse_huge(walk, int(obj.size))
    return walk.value(obj.tolist())


def _numpy_scalar(walk: _Walk, obj: Any) -> Any:  # noqa: ANN401
    if obj.dtype.kind == "M":
        return walk.value(str(obj))
    # longdouble's own item() is a longdouble again.
    convert: dict[str, Callable[[Any], Any]] = {"f": float, "c": complex}
    return walk.value(convert.get(obj.dtype.kind, type(obj).item)(obj))


def _dataframe(walk: _Walk, obj: Any) -> dict[str, Any]:  # noqa: ANN401
    _refuse_huge(walk, int(obj.size))
    parts = obj.to_dict(orient="split")
    return {"_type": "dataframe"} | {
        part: walk.part(part, parts[part]) for part in ("columns", "index", "data")
    }


def _series(walk: _Walk, obj: Any) -> dict[str, Any]:  # noqa: ANN401
    _refuse_huge(walk, int(obj.size))
    return {
        "_type": "series",
        "name": walk.part("name", obj.name),
        "index": walk.part("index", obj.index.tolist()),
        "data": walk.part("data", obj.tolist()),
    }


def _is_dataclass(kind: type) -> bool:
    return any(
        "__dataclass_fields__" in type.__dict__["__dict__"].__get__(base) for base in _mro_of(kind)
    )


def _field_names(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


# Order matters: a datetime is a date, a namedtuple a tuple. Methods of the base class are called
# by name throughout, so that a subclass's own ones don't run.
_CONVERTERS: list[tuple[Any, Callable[[_Walk, Any], Any]]] = [
    (dict, _dict),
    (list, lambda walk, obj: walk.items(list.__iter__(obj), list.__len__(obj))),
    (tuple, lambda walk, obj: walk.items(tuple.__iter__(obj), tuple.__len__(obj))),
    ((set, frozenset), _set),
    (range, lambda walk, obj: walk.items(obj, len(obj))),
    (collections.deque, lambda walk, obj: walk.items(collections.deque.__iter__(obj), len(obj))),
    (array.array, lambda walk, obj: walk.items(array.array.__iter__(obj), len(obj))),
    ((type({}.keys()), type({}.values())), lambda walk, obj: walk.items(obj, len(obj))),
    (complex, _complex),
    ((bytes, bytearray), _bytes),
    (dt.datetime, _datetime),
    (dt.date, lambda _walk, obj: dt.date.isoformat(obj)),
    (dt.time, lambda _walk, obj: dt.time.isoformat(obj)),
    (dt.timedelta, _timedelta),
    (pathlib.PurePath, lambda walk, obj: walk.value(pathlib.PurePath.__str__(obj))),
    (uuid.UUID, lambda walk, obj: walk.value(uuid.UUID.__str__(obj))),
    ((decimal.Decimal, fractions.Fraction), _decimal),
    (enum.Enum, lambda walk, obj: walk.value(object.__getattribute__(obj, "_value_"))),
]
_BY_NAME: dict[tuple[str, str], Callable[[_Walk, Any], Any]] = {
    ("numpy", "ndarray"): _array,
    ("numpy", "generic"): _numpy_scalar,
    ("pandas", "DataFrame"): _dataframe,
    ("pandas", "Series"): _series,
    ("pandas", "Index"): _index,
    ("pandas", "NAType"): lambda _walk, _obj: None,
    ("matplotlib", "Figure"): lambda _walk, _obj: {"_type": "matplotlib_figure"},
}


def _replace(file_path: str, content: bytes) -> None:
    path = pathlib.Path(file_path)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
        temporary = pathlib.Path(file.name)
        try:
            file.write(content)
            file.close()
            temporary.replace(path)
        except BaseException:
            temporary.unlink()
            raise


def _refuse_constant(name: str) -> NoReturn:
    message = f"{name} is not JSON"
    raise ValueError(message)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        message = f"{text} is out of range"
        raise ValueError(message)
    return number


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        message = "a key occurs twice in one JSON object"
        raise ValueError(message)
    return result
