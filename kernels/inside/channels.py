"""The channel functions that a program finds without import: thin wrappers of pyepics."""

from typing import Any

from .declaring import Declarations
from .refusals import ChannelLimitsViolationError, install
from .rehearsal import Rehearsal

CONNECT_TIMEOUT = 3.0  # s
READ_TIMEOUT = 3.0  # s
WRITE_TIMEOUT = 30.0  # s, for records that answer only when the device arrived


class ChannelError(RuntimeError):
    """A channel that does not answer, or a write that was not carried out."""


def read_channel(name: str) -> Any:  # noqa: ANN401  (a number, a string or an array)
    """Read the value of channel `name` now. Raises ChannelError where it does not answer."""
    value = _connected(name).get(use_monitor=False, timeout=READ_TIMEOUT)
    if value is None:
        raise ChannelError(f"{name}: connected, but gave no value within {READ_TIMEOUT:g} s")
    return value


def write_channel(name: str, value: Any) -> None:  # noqa: ANN401
    """Write `value` to channel `name` and wait until its record has processed it.

    Raises ChannelLimitsViolationError where the gate refuses, ChannelError where it can't be done.
    """
    channel = _connected(name)
    try:
        done = channel.put(value, wait=True, timeout=WRITE_TIMEOUT)
    except ChannelLimitsViolationError:
        raise
    except Exception as error:
        raise ChannelError(f"{name}: writing {value!r} failed: {error}") from error
    if done is None or done < 0:
        raise ChannelError(f"{name}: writing {value!r} was not confirmed in {WRITE_TIMEOUT:g} s")


def write_channels(values: dict[str, Any]) -> None:
    """Write each of `values`, channel name to value, one after the other in their order."""
    for name, value in values.items():
        write_channel(name, value)


def functions(rehearsal: Rehearsal | None) -> dict[str, Any]:
    """Give what a program finds in its namespace; what it may do is the gate's business.

    Plain pyepics raises refusals from here on as well. A `rehearsal` hears of declarations and
    puts.
    """
    install(rehearsal.written if rehearsal else None)
    plan = Declarations(rehearsal.declared if rehearsal else None).plan
    given = (read_channel, write_channel, write_channels, ChannelLimitsViolationError, plan)
    return {thing.__name__: thing for thing in given}


def _connected(name: str) -> Any:  # noqa: ANN401  (an epics.PV)
    # Imported here, with numpy behind it, so that a program without channels starts fast.
    import epics  # noqa: PLC0415

    channel = epics.get_pv(name)
    if not channel.wait_for_connection(CONNECT_TIMEOUT):
        raise ChannelError(f"{name}: not connected within {CONNECT_TIMEOUT:g} s. Does it exist?")
    return channel
