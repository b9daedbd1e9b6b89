"""The control libraries: which of their functions and methods read, write, or give an object."""

import re
from enum import StrEnum

from activities.analyser.values import Handle, Kind


class Use(StrEnum):
    """What a call does to the machine."""

    READ = "read"
    WRITE = "write"


INJECTED = {
    "read_channel": Use.READ,
    "write_channel": Use.WRITE,
    "write_channels": Use.WRITE,
}

LIBRARIES = frozenset(
    [
        "epics",
        "caproto",
        "p4p",
        "pvaccess",
        "pvapy",
        "tango",
        "PyTango",
        "taurus",
        "ophyd",
        "ophyd_async",
        "aioca",
        "cothread",
    ]
)

# Without an import these names can only be meant as pyepics', and are judged as such.
EPICS_NAMES = frozenset(
    [
        "epics",
        "PV",
        "caput",
        "caget",
        "caput_many",
        "caget_many",
        "cainfo",
        "camonitor",
        "camonitor_clear",
        "get_pv",
        "Device",
        "Motor",
    ]
)

# A name that nothing binds has no value to resolve, so that its own words are all there is.
CHANNEL_NAME = re.compile(r"(^|_)pvs?\d*($|_)", re.IGNORECASE)

WRITE_FUNCTIONS = frozenset(
    [
        "caput",
        "caput_many",
        "caput_one",
        "caput_array",
        "put",
        "sg_put",
        "write",
        "write_read",
        "write_channel",
        "write_channels",
        "rpc",
    ]
)
READ_FUNCTIONS = frozenset(
    [
        "caget",
        "caget_many",
        "caget_one",
        "caget_array",
        "cainfo",
        "camonitor",
        "camonitor_one",
        "camonitor_array",
        "connect",
        "get",
        "get_complete",
        "get_with_metadata",
        "get_complete_with_metadata",
        "get_ctrlvars",
        "get_timevars",
        "get_severity",
        "get_timestamp",
        "get_enum_strings",
        "get_precision",
        "sg_get",
        "read",
        "read_channel",
        "subscribe",
        "create_subscription",
        "monitor",
    ]
)
WRITE_METHODS = frozenset(
    [
        "put",
        "put_async",
        "put_complete",
        "put_values",
        "set",
        "set_value",
        "set_async",
        "abs_set",
        "rel_set",
        "move",
        "move_to",
        "mv",
        "mvr",
        "tweak",
        "set_position",
        "set_callback_put",
        "stop",
        "StopNow",
        "write",
        "write_attribute",
        "write_attributes",
        "write_attribute_asynch",
        "write_attributes_asynch",
        "write_async",
        "write_asynch",
        "write_state",
        "write_read_attribute",
        "write_read_attributes",
        "write_pipe",
        "restore_state",
        "command_inout",
        "command_inout_asynch",
        "command_inout_raw",
        "rpc",
        "post",
        "putDouble",
        "putInt",
        "putString",
        "putScalarArray",
        "putGet",
        "set_property",
        "put_property",
        "trigger",
    ]
) - {"set_callback_put"}
READ_METHODS = frozenset(
    [
        "get",
        "get_async",
        "get_all",
        "get_complete",
        "get_with_metadata",
        "get_ctrlvars",
        "get_timevars",
        "get_position",
        "add_callback",
        "camonitor",
        "monitor",
        "subscribe",
        "read",
        "read_attribute",
        "read_attributes",
        "read_attribute_asynch",
        "read_async",
        "read_asynch",
        "read_state",
        "save_state",
        "subscribe_event",
        "getField",
        "describe",
    ]
)

# Names that mean the same on an object of whatever kind: of other sessions' connectors, of Tango.
ANY_OBJECT = {
    "read_channel": Use.READ,
    "read_attribute": Use.READ,
    "write_channel": Use.WRITE,
    "write_channels": Use.WRITE,
    "write_attribute": Use.WRITE,
    "write_attributes": Use.WRITE,
    "command_inout": Use.WRITE,
    "command_inout_asynch": Use.WRITE,
    "set_value": Use.WRITE,
}

# What a channel's object answers from its record; other attributes are its own.
CHANNEL_ATTRIBUTES = frozenset(
    ["value", "char_value", "severity", "status", "timestamp", "alarm", "units"]
)

CHANNEL_KEYWORDS = [
    "pvname",
    "pvlist",
    "pvs",
    "pv",
    "names",
    "name",
    "channel",
    "channel_address",
    "chid",
    "pv_name",
    "attr",
    "attribute",
    "attr_name",
]
VALUE_KEYWORDS = ["value", "values", "val", "data"]

_CHANNEL_OBJECTS = frozenset(
    [
        "PV",
        "get_pv",
        "create_channel",
        "Channel",
        "PvObject",
        "EpicsSignal",
        "EpicsSignalRO",
        "Signal",
    ]
)
_DEVICES = {"Device": "", "Motor": ".", "EpicsMotor": ".", "DeviceProxy": "/", "AttributeProxy": ""}
# pyepics lets a motor's fields be named by what they mean.
MOTOR_FIELDS = {"drive": "VAL", "readback": "RBV", "position": "VAL", "tweak_val": "TWV"}
_CHANNEL_ALONE = frozenset({"AttributeProxy"})


def root(path: str) -> str:
    """The top-level package of `path`."""
    return path.partition(".")[0]


def is_control(path: str) -> bool:
    """Whether `path` lies in a control library."""
    return root(path) in LIBRARIES


def use_of(path: str) -> Use | None:
    """What calling `path` does: a function of a control library, or one that we inject."""
    head, _, last = path.rpartition(".")
    if head == "runpermit":
        return INJECTED.get(last)
    if not is_control(path):
        return None
    # `epics.PV.put(pv, 1)` is a method called through its class.
    if last in WRITE_FUNCTIONS or last in WRITE_METHODS:
        return Use.WRITE
    if last in READ_FUNCTIONS or last in READ_METHODS:
        return Use.READ
    return None


def method_use(name: str) -> Use | None:
    """What calling the method `name` of a control object does."""
    if name in WRITE_METHODS:
        return Use.WRITE
    if name in READ_METHODS:
        return Use.READ
    return ANY_OBJECT.get(name)


def handle_made_by(path: str, channel: str | None, delimiter: str | None) -> Handle | None:
    """The object that calling `path` gives, or None where it gives none that reads or writes."""
    last = path.rpartition(".")[2]
    if last in _CHANNEL_OBJECTS or last in _CHANNEL_ALONE:
        return Handle(Kind.CHANNEL, channel)
    if last in _DEVICES:
        joint = _DEVICES[last] if delimiter is None else delimiter
        return Handle(Kind.DEVICE, channel if channel is None else channel + joint)
    if last[:1].isupper():
        return Handle(Kind.CONTEXT)
    return None


def field_of(handle: Handle, attribute: str | None) -> str | None:
    """The channel behind an attribute of a device."""
    if handle.channel is None or attribute is None:
        return None
    if handle.channel.endswith("."):
        attribute = MOTOR_FIELDS.get(attribute, attribute)
    return handle.channel + attribute
