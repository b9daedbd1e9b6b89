"""The control libraries: which of their functions and methods read, write, or give an object."""

import re
from collections.abc import Mapping

from activities.analyser.values import Use, words

INJECTED = {
    "read_channel": Use.READ,
    "write_channel": Use.WRITE,
    "write_channels": Use.WRITE,
}
# There without import as well; a program may have another use for the name.
DECLARES = "plan"

LIBRARIES = words(
    "epics caproto p4p pvaccess pvapy tango PyTango taurus ophyd ophyd_async aioca cothread"
)

# Without an import these names can only be meant as pyepics', and are judged as such.
EPICS_NAMES = words(
    "epics PV caput caget caput_many caget_many cainfo camonitor camonitor_clear get_pv Device "
    "Motor"
)

# A name that nothing binds has no value to resolve, so that its own words are all there is.
CHANNEL_NAME = re.compile(r"(^|_)pvs?\d*($|_)", re.IGNORECASE)

_FUNCTIONS = {
    Use.WRITE: "caput caput_many put sg_put write rpc",
    Use.READ: "caget caget_many cainfo camonitor connect get sg_get read subscribe monitor",
}
_METHODS = {
    Use.WRITE: "put put_async put_complete put_values set set_value abs_set rel_set move move_to "
    "mv mvr tweak set_position stop write write_attribute write_attributes write_read_attribute "
    "write_pipe restore_state command_inout command_inout_asynch rpc post trigger",
    Use.READ: "get get_all get_complete get_with_metadata get_ctrlvars get_timevars get_position "
    "add_callback camonitor monitor subscribe subscribe_event read read_attribute "
    "read_attributes save_state describe",
}


def _by_name(table: Mapping[Use, str]) -> dict[str, Use]:
    return {name: use for use, names in table.items() for name in names.split()}


_METHOD_USES = _by_name(_METHODS)
# `epics.PV.put(pv, 1)` is a method called through its class.
_FUNCTION_USES = _METHOD_USES | _by_name(_FUNCTIONS)

# Names that mean the same on an object of whatever kind: of connectors, of pyepics, of Tango.
ANY_OBJECT = INJECTED | {
    "caget": Use.READ,
    "caget_many": Use.READ,
    "caput": Use.WRITE,
    "caput_many": Use.WRITE,
    "read_attribute": Use.READ,
    "write_attribute": Use.WRITE,
    "write_attributes": Use.WRITE,
    "command_inout": Use.WRITE,
    "command_inout_asynch": Use.WRITE,
    "set_value": Use.WRITE,
}
# On an object that is not known these count as writes where the program uses a control library.
DOUBTFUL = words("put put_async put_complete move __setattr__")

# What a channel's object answers from its record; other attributes are its own.
CHANNEL_ATTRIBUTES = words("value char_value severity status timestamp alarm units")

CHANNEL_KEYWORDS = words(
    "pvname pvlist pvs pv names name channel channel_address chid attr attribute attr_name prefix"
)
VALUE_KEYWORDS = words("value values val data")

CHANNEL_OBJECTS = words(
    "PV get_pv create_channel Channel PvObject EpicsSignal EpicsSignalRO Signal AttributeProxy"
)
# Devices, with what joins their name to that of a field.
DEVICES = {"Device": "", "Motor": ".", "EpicsMotor": ".", "DeviceProxy": "/"}
# pyepics lets a motor's fields be named by what they mean.
MOTOR_FIELDS = {"drive": "VAL", "readback": "RBV", "position": "VAL", "tweak_val": "TWV"}


def is_control(path: str) -> bool:
    """Whether `path` lies in a control library."""
    return path.partition(".")[0] in LIBRARIES


def writes_inside(path: str) -> bool:
    """Whether calling `path` may write to channels that its arguments don't name."""
    return path.startswith(("epics.autosave.", "epics.devices.")) and not path.endswith(".save_pvs")


def use_of(path: str) -> Use | None:
    """What calling `path` does: a function of a control library, or one that we inject."""
    head, _, last = path.rpartition(".")
    if head == "runpermit":
        return INJECTED.get(last)
    return _FUNCTION_USES.get(last) if is_control(path) and head else None


def method_use(name: str) -> Use | None:
    """What calling the method `name` of a control object does."""
    return _METHOD_USES.get(name) or ANY_OBJECT.get(name)


def field_of(prefix: str, field: str) -> str:
    """The channel behind the field of a device."""
    return prefix + (MOTOR_FIELDS.get(field, field) if prefix.endswith(".") else field)
