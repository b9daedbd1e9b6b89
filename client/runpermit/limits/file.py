"""The limits database as the file that it is: read again when it changes, refusing while broken."""

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from runpermit.errors import ContainerConfigurationError
from runpermit.limits.database import LimitsDatabase
from runpermit.limits.reading import read_regular
from runpermit.limits.validator import LimitsValidator

# A file changed this recently may change again without a new time stamp (coarse clocks of file
# systems), so its content is compared as well.
_SETTLED_SECONDS = 2.0

_Stamp = tuple[int, int, int, int, int]


class LimitsStatus(BaseModel):
    """What limits are in force, for status, approval page and doctor."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool
    path: str | None
    sha256: str | None
    channels: int
    allow_unlisted: bool
    error: str | None

    @property
    def binds(self) -> str:
        """The sha256 that an approval binds: over the database and both switches."""
        text = f"{self.enabled} {self.allow_unlisted} {self.sha256}"
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class _Loaded:
    """One reading of the file; `stamp` is None where the next look must read again."""

    stamp: _Stamp | None
    digest: str | None
    validator: LimitsValidator


class LimitsFile:
    """Gives the validator for the limits file as it is now.

    A file that is missing, broken or not configured gives a validator that refuses every write
    with the reason; it recovers when the file is mended. With `enabled` False writes are not
    judged (see LimitsValidator), and a file is only read for what it tells about channels.
    """

    def __init__(
        self, path: Path | None, *, enabled: bool = True, allow_unlisted: bool = False
    ) -> None:
        self.path = path
        self.enabled = enabled
        self.allow_unlisted = allow_unlisted
        self._loaded: _Loaded | None = None

    @property
    def validator(self) -> LimitsValidator:
        """The validator for the file's present content."""
        return self.look()

    def look(self, on_change: Callable[[], None] = lambda: None) -> LimitsValidator:
        """The same; `on_change` is called before another content is parsed, which takes time."""
        loaded = self._look(on_change)
        self._loaded = loaded
        return loaded.validator

    def status(self) -> LimitsStatus:
        """What is in force now, and what is wrong with the file, if anything."""
        validator = self.validator
        database = validator.database
        return LimitsStatus(
            enabled=self.enabled,
            path=str(self.path) if self.path else None,
            sha256=database.sha256 if database else None,
            channels=len(database.channels) if database else 0,
            allow_unlisted=self.allow_unlisted,
            error=validator.unavailable_reason,
        )

    def _look(self, on_change: Callable[[], None]) -> _Loaded:
        if self.path is None:
            why = "[limits] enabled is true and [limits] file is not set. Set it to the database"
            return self._unavailable(why if self.enabled else None)
        known = self._loaded
        try:
            found = self.path.stat()
            if known and known.stamp == _stamp(found):
                return known
            content, found = read_regular(self.path)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            return self._unavailable(
                f"{self.path}: the limits database can't be read: {why}. "
                "Set [limits] file to a readable file"
            )
        digest = hashlib.sha256(content).hexdigest()
        unchanged = known is not None and known.digest == digest
        if known and unchanged:
            validator = known.validator
        else:
            on_change()
            validator = self._judging(self.path, content)
        return _Loaded(_stamp(found) if _settled(found) else None, digest, validator)

    def _judging(self, path: Path, content: bytes) -> LimitsValidator:
        try:
            return self._validator(LimitsDatabase.from_bytes(content, path), None)
        except ContainerConfigurationError as error:
            return self._refusal(error.message)
        except (ValueError, ArithmeticError, RecursionError) as error:
            why = str(error).encode("ascii", "backslashreplace").decode()
            return self._refusal(f"{path}: the limits database can't be used: {why}")

    def _unavailable(self, why: str | None) -> _Loaded:
        return _Loaded(None, None, self._refusal(why))

    def _refusal(self, why: str | None) -> LimitsValidator:
        return self._validator(None, why)

    def _validator(self, database: LimitsDatabase | None, why: str | None) -> LimitsValidator:
        return LimitsValidator(
            database,
            enabled=self.enabled,
            allow_unlisted=self.allow_unlisted,
            unavailable_reason=why,
        )


def _stamp(found: os.stat_result) -> _Stamp:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _settled(found: os.stat_result) -> bool:
    return time.time() - max(found.st_mtime, found.st_ctime) > _SETTLED_SECONDS
