"""Makes refused puts raise: pyepics drops a put's failure, and a refused one would look done.

The gate sends each refusal as an error of Channel Access, before the put's own answer. libca gives
such errors to a handler. What is raised here is for the program alone: the workflow learns of a
refusal from the gate.
"""

import ctypes
import json
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

BARRIER_SECONDS = 2.0
_HOOKED = "epics.ca"
_FIELDS = ("min_value", "max_value", "max_step", "current_value")


class ChannelLimitsViolationError(Exception):
    """A write that is not allowed; the fields are those of the class in `runpermit.errors`."""

    def __init__(
        self,
        channel_address: str,
        value: Any,  # noqa: ANN401
        violation_type: str,
        violation_reason: str,
        min_value: float | None = None,
        max_value: float | None = None,
        max_step: float | None = None,
        current_value: Any = None,  # noqa: ANN401
    ) -> None:
        super().__init__(f"{channel_address}: {violation_reason} ({violation_type})")
        self.channel_address = channel_address
        self.attempted_value = value
        self.violation_type = violation_type
        self.violation_reason = violation_reason
        self.min_value = min_value
        self.max_value = max_value
        self.max_step = max_step
        self.current_value = current_value


class _ExceptionArguments(ctypes.Structure):
    """libca's exception_handler_args."""

    _fields_ = (
        ("usr", ctypes.c_void_p),
        ("chid", ctypes.c_void_p),
        ("type", ctypes.c_long),
        ("count", ctypes.c_long),
        ("addr", ctypes.c_void_p),
        ("stat", ctypes.c_long),
        ("op", ctypes.c_long),
        ("context", ctypes.c_char_p),
        ("file", ctypes.c_char_p),
        ("line", ctypes.c_uint),
    )


class RefusedPuts:
    """Wraps `put` of pyepics' `ca` so that a refusal is raised where it was called.

    After each put that was not refused it calls `written`, where somebody wants to know.
    """

    def __init__(self, ca: Any, written: Callable[[], None] | None = None) -> None:  # noqa: ANN401  (the module)
        self._ca = ca
        self._written = written
        self._put: Callable[..., Any] = ca.put
        self._refusals: dict[int, ChannelLimitsViolationError] = {}
        self._contexts: set[int | None] = set()
        self._handler = ctypes.CFUNCTYPE(None, _ExceptionArguments)(self._take)
        self._read = ctypes.CFUNCTYPE(None, ca.dbr.event_handler_args)(_arrived)
        self._unanswered: list[threading.Event] = []

    def put(
        self,
        chid: Any,  # noqa: ANN401
        value: Any,  # noqa: ANN401
        wait: bool = False,  # noqa: FBT001, FBT002  (pyepics' signature)
        timeout: float = 30,
        callback: Callable[..., Any] | None = None,
        **others: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """As pyepics' own; raises ChannelLimitsViolationError where the gate refused.

        Also where it refused the put before on this channel, and that was told too late for it:
        then nothing is sent.
        """
        self._listen()
        key = _key(chid)
        self._raise_refused(key)
        done = self._put(chid, value, wait=wait, timeout=timeout, callback=callback, **others)
        if key not in self._refusals and (not wait or callable(callback)):
            self._barrier(chid)
        self._raise_refused(key)
        if self._written is not None:
            self._written()
        return done

    def _raise_refused(self, key: int) -> None:
        refusal = self._refusals.pop(key, None)
        if refusal is not None:
            raise refusal

    def _listen(self) -> None:
        """Have libca call us; once for each of its contexts."""
        context = self._ca.current_context()
        if context not in self._contexts:
            self._ca.libca.ca_add_exception_event(self._handler, None)
            self._contexts.add(context)

    def _take(self, arguments: _ExceptionArguments) -> None:
        text = (arguments.context or b"").decode("utf-8", "replace")
        try:
            told = json.loads(text)["runpermit"]
            refusal = ChannelLimitsViolationError(
                told["channel"],
                told["value"],
                told["violation_type"],
                told["reason"],
                *(told[field] for field in _FIELDS),
            )
        except (ValueError, LookupError, TypeError):
            sys.stderr.write(f"Channel Access: {text or f'error {arguments.stat}'}\n")
            return
        self._refusals.setdefault(arguments.chid or 0, refusal)

    def _barrier(self, chid: Any) -> None:  # noqa: ANN401
        """Wait until the gate has judged a put that nobody waits for: by a read behind it."""
        # libca's own threads can't wait for libca.
        if isinstance(threading.current_thread(), threading._DummyThread):  # noqa: SLF001
            return
        ca, arrived = self._ca, threading.Event()
        user = ctypes.py_object(arrived)
        asked = ca.libca.ca_array_get_callback(ca.field_type(chid), 1, chid, self._read, user)
        if asked == ca.dbr.ECA_NORMAL:
            ca.flush_io()
            if arrived.wait(BARRIER_SECONDS):
                return
        # Its answer may still come, and must find the event.
        self._unanswered.append(arrived)


class _Finder(MetaPathFinder):
    """Wraps `epics.ca` when the program imports it, which costs a program without it nothing."""

    def __init__(self, written: Callable[[], None] | None) -> None:
        self._written = written

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Find `epics.ca` as always, and have it wrapped once it is loaded."""
        if fullname != _HOOKED:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def load_and_wrap(module: ModuleType) -> None:
            load(module)
            _wrap(module, self._written)

        spec.loader.exec_module = load_and_wrap  # type: ignore[method-assign]
        return spec


def install(written: Callable[[], None] | None) -> None:
    """Wrap pyepics' puts, now or as soon as it is imported; see RefusedPuts for `written`."""
    loaded = sys.modules.get(_HOOKED)
    if loaded is None:
        sys.meta_path.insert(0, _Finder(written))
    else:
        _wrap(loaded, written)


def _wrap(ca: Any, written: Callable[[], None] | None) -> None:  # noqa: ANN401  (the module)
    ca.put = RefusedPuts(ca, written).put


def _key(chid: Any) -> int:  # noqa: ANN401
    return int(getattr(chid, "value", chid) or 0)


def _arrived(arguments: Any) -> None:  # noqa: ANN401
    arguments.usr.set()
