"""The channel functions that a program finds without import: thin wrappers of pyepics."""

from collections.abc import Callable
from typing import Any

CONNECT_TIMEOUT = 3.0  # s
READ_TIMEOUT = 3.0  # s
WRITE_TIMEOUT = 30.0  # s, for records that answer only when the device arrived


class ChannelError(RuntimeError):
    """A channel that does not answer, or a write that was not carried out."""


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


def read_channel(name: str) -> Any:  # noqa: ANN401  (a number, a string or an array)
    """Read the value of channel `name` now. Raises ChannelError where it does not answer."""
    value = _connected(name).get(use_monitor=False, timeout=READ_TIMEOUT)
    if value is None:
        raise ChannelError(f"{name}: connected, but gave no value within {READ_TIMEOUT:g} s")
    return value


def write_channel(name: str, value: Any) -> None:  # noqa: ANN401
    """Write `value` to channel `name` and wait until its record has processed it."""
    channel = _connected(name)
    try:
        done = channel.put(value, wait=True, timeout=WRITE_TIMEOUT)
    except Exception as error:
        raise ChannelError(f"{name}: writing {value!r} failed: {error}") from error
    if done is None or done < 0:
        raise ChannelError(f"{name}: writing {value!r} was not confirmed in {WRITE_TIMEOUT:g} s")


def write_channels(values: dict[str, Any]) -> None:
    """Write each of `values`, channel name to value, one after the other in their order."""
    for name, value in values.items():
        write_channel(name, value)


def functions(mode: str) -> dict[str, Callable[..., Any]]:
    """Give what a program finds in its namespace in `mode`.

    That the write functions refuse outside `write_access` is for a clear message: what protects
    the machine stands outside this process.
    """
    if mode == "write_access":
        writes = (write_channel, write_channels)
        return {function.__name__: function for function in (read_channel, *writes)}

    def refuse(name: str, value: Any) -> None:  # noqa: ANN401
        raise ChannelLimitsViolationError(
            name, value, "NOT_ALLOWED", f"this run is {mode}, in which nothing may be written"
        )

    def refuse_all(values: dict[str, Any]) -> None:
        for name, value in values.items():
            refuse(name, value)

    return {"read_channel": read_channel, "write_channel": refuse, "write_channels": refuse_all}


def _connected(name: str) -> Any:  # noqa: ANN401  (an epics.PV)
    # Imported here, with numpy behind it, so that a program without channels starts fast.
    import epics  # noqa: PLC0415

    channel = epics.get_pv(name)
    if not channel.wait_for_connection(CONNECT_TIMEOUT):
        raise ChannelError(f"{name}: not connected within {CONNECT_TIMEOUT:g} s. Does it exist?")
    return channel
