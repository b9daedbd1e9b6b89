"""The limits database: read strictly, so that a mistake in it stops writes and says where it is."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from runpermit.errors import ContainerConfigurationError
from runpermit.limits.entry import ChannelLimitsConfig, ChannelName
from runpermit.limits.reading import read_regular
from runpermit.limits.values import shown

DEFAULTS = "defaults"
# Each names a channel, so defaults can only fill in its details where an entry has one.
_NAMING_A_CHANNEL = frozenset({"readback", "done", "stop"})
_MEND = (
    "Mend the entry and check it with `runpermit limits check`; until then every write is refused."
)
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_name = TypeAdapter(ChannelName)


class LimitsFileError(ValueError):
    """What is wrong and where, without the file's name."""


class _Object(dict[str, Any]):
    """A JSON object that remembers which keys were given twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        counts = Counter(key for key, _ in pairs if not key.startswith("_"))
        self.repeated = sorted(key for key, count in counts.items() if count > 1)


@dataclass(frozen=True)
class LimitsDatabase:
    """All listed channels with `defaults` filled in, and the sha256 of what they say.

    Equal content has an equal sha256, whatever its comments, order and layout.
    """

    channels: dict[str, ChannelLimitsConfig]
    sha256: str
    path: Path | None = None

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the database at `path`.

        Raises ContainerConfigurationError that names the file, and line or entry and field.
        """
        try:
            content, _ = read_regular(path)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise ContainerConfigurationError(
                f"{path}: the limits database can't be read: {why}. "
                "Set [limits] file to a readable file; until then every write is refused."
            ) from error
        return cls.from_bytes(content, path)

    @classmethod
    def from_bytes(cls, content: bytes, path: Path) -> Self:
        """The database in `content`, which was read from `path`; errors as in `load`."""
        try:
            return cls._build(_parsed(content), path)
        except LimitsFileError as error:
            raise ContainerConfigurationError(f"{path}: {error}") from error
        except RecursionError as error:
            raise ContainerConfigurationError(f"{path}: nested too deeply. {_MEND}") from error

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The database in `data`, of the file's form; errors as in `load`."""
        try:
            return cls._build(data, None)
        except LimitsFileError as error:
            raise ContainerConfigurationError(f"limits database: {error}") from error

    @classmethod
    def _build(cls, data: object, path: Path | None) -> Self:
        if not isinstance(data, Mapping):
            raise LimitsFileError(
                f"should be one object, channel name to entry, "
                f"and is {type(data).__name__}. {_MEND}"
            )
        if repeated := getattr(data, "repeated", ()):
            raise LimitsFileError(f"entry {_quoted(repeated[0])} is given twice. {_MEND}")
        entries = {
            str(name): _without_comments(entry, _quoted(str(name)))
            for name, entry in data.items()
            if not str(name).startswith("_")
        }
        defaults = entries.pop(DEFAULTS, {})
        _check_defaults(defaults)
        channels: dict[str, ChannelLimitsConfig] = {}
        for name, entry in entries.items():
            channel = _checked_name(name)
            if channel in channels:
                raise LimitsFileError(
                    f'entry "{name}": {channel} and {channel}.VAL are the same channel. {_MEND}'
                )
            channels[channel] = _validated(name, entry, defaults)
        return cls(channels, _sha256(channels), path)

    def find(self, channel: str) -> ChannelLimitsConfig | None:
        """The entry of `channel`; `A.VAL` is A, any other field only by its exact name."""
        return self.channels.get(channel) or self.channels.get(channel.removesuffix(".VAL"))


def _parsed(content: bytes) -> object:
    try:
        return json.loads(content.decode("utf-8"), object_pairs_hook=_Object)
    except json.JSONDecodeError as error:
        raise LimitsFileError(
            f"line {error.lineno}, column {error.colno}: not valid JSON: {error.msg}"
            f"{_comma_hint(error)}. {_MEND}"
        ) from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise LimitsFileError(f"line {line}: not UTF-8 text. {_MEND}") from error
    except (ValueError, RecursionError) as error:
        raise LimitsFileError(f"not usable JSON: {error}. {_MEND}") from error


def _comma_hint(error: json.JSONDecodeError) -> str:
    before = error.doc[: error.pos].rstrip()
    return " (is there a comma too many before it?)" if before.endswith(",") else ""


def _without_comments(value: object, entry: str, field: str = "") -> Any:  # noqa: ANN401
    """`value` without `_` keys at any depth; refuses fields that are given twice."""
    if isinstance(value, Mapping):
        if repeated := getattr(value, "repeated", ()):
            raise LimitsFileError(
                f"entry {entry}, field {field}{_plain(repeated[0])}: given twice. {_MEND}"
            )
        kept = {key: item for key, item in value.items() if not str(key).startswith("_")}
        for key in kept:
            _check_text(key, entry, f"{field}{_plain(str(key))}")
        return {key: _without_comments(item, entry, f"{field}{key}.") for key, item in kept.items()}
    if isinstance(value, list):
        return [_without_comments(item, entry, f"{field}{n}.") for n, item in enumerate(value)]
    _check_text(value, entry, field.removesuffix("."))
    return value


def _check_text(value: object, entry: str, field: str) -> None:
    if isinstance(value, str) and _HALF_CHARACTER.search(value):
        raise LimitsFileError(
            f"entry {entry}, field {field}: half a character (such as \\ud800), "
            f"which no UTF-8 can hold. {_MEND}"
        )


def _plain(text: str) -> str:
    """`text` for a message: what no UTF-8 can hold is escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _quoted(name: str) -> str:
    return f'"{_plain(name)}"'


def _checked_name(name: str) -> str:
    try:
        _name.validate_python(name)
    except ValidationError:
        raise LimitsFileError(
            f"entry {shown(name)}: a channel's name is printable ASCII without spaces, "
            f"at most 256 characters. {_MEND}"
        ) from None
    return name.removesuffix(".VAL") or name


def _check_defaults(defaults: object) -> None:
    """Defaults may be partial, so what is missing in them is no fault; all else is."""
    _check_object(DEFAULTS, defaults)
    for field in _NAMING_A_CHANNEL & defaults.keys():  # type: ignore[attr-defined]
        part = defaults[field]  # type: ignore[index]
        if isinstance(part, Mapping) and "channel" in part:
            raise LimitsFileError(
                f'entry "{DEFAULTS}", field {field}.channel: a channel belongs to one entry '
                f"and can't be a default. {_MEND}"
            )
    try:
        ChannelLimitsConfig.model_validate(defaults)
    except ValidationError as error:
        faults = [fault for fault in error.errors() if fault["type"] != "missing"]
        if faults:
            raise LimitsFileError(_described(DEFAULTS, faults)) from error


def _validated(name: str, entry: object, defaults: Mapping[str, Any]) -> ChannelLimitsConfig:
    _check_object(name, entry)
    try:
        return ChannelLimitsConfig.model_validate(_filled(entry, defaults))  # type: ignore[arg-type]
    except ValidationError as error:
        raise LimitsFileError(_described(name, error.errors())) from error
    except ArithmeticError as error:
        raise LimitsFileError(f'entry "{name}": a number is out of range. {_MEND}') from error


def _check_object(name: str, entry: object) -> None:
    if not isinstance(entry, Mapping):
        raise LimitsFileError(
            f'entry "{name}": should be an object of fields, and is {shown(entry)}. {_MEND}'
        )


def _filled(entry: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """`entry` with what it leaves open taken from `defaults`, in nested objects too."""
    filled = {key: value for key, value in defaults.items() if key not in _NAMING_A_CHANNEL}
    for key, value in entry.items():
        default = defaults.get(key)
        both = isinstance(value, Mapping) and isinstance(default, Mapping)
        filled[key] = {**default, **value} if both else value  # type: ignore[dict-item]
    return filled


def _described(name: str, faults: list[Any]) -> str:
    parts = []
    for fault in faults[:5]:
        place = ".".join(str(part) for part in fault["loc"])
        where = f'entry "{name}"' + (f", field {place}" if place else "")
        what = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            what = "no such field"
        got = f" (is {shown(fault['input'])})" if place and fault["type"] != "missing" else ""
        parts.append(f"{where}: {what}{got}")
    more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""  # noqa: PLR2004
    return f"{'; '.join(parts)}{more}. {_MEND}"


def _sha256(channels: Mapping[str, ChannelLimitsConfig]) -> str:
    content = {name: entry.model_dump(mode="json") for name, entry in channels.items()}
    canonical = json.dumps(
        content, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return hashlib.sha256(canonical.encode()).hexdigest()
