"""What the gate of this host finds behind channels, for the commands that compare."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from runpermit.cli.gate_asking import ask_gate, other_version
from runpermit.models import FoundChannel

_TOGETHER = 100
# Those that no IOC has take the longest: their search has to end first.
_SECONDS = 60.0

_channels = TypeAdapter(list[FoundChannel])


def find_channels(socket_path: Path, names: Sequence[str]) -> dict[str, FoundChannel]:
    """What the gate finds behind each of `names`, a hundred at a time.

    Raises like `ask_gate`.
    """
    found: dict[str, FoundChannel] = {}
    for start in range(0, len(names), _TOGETHER):
        part = names[start : start + _TOGETHER]
        answer = ask_gate(socket_path, {"do": "inspect", "channels": list(part)}, _SECONDS)
        try:
            told = _channels.validate_python(answer.get("channels"))
        except ValidationError:
            raise other_version(socket_path) from None
        if [channel.name for channel in told] != list(part):
            raise other_version(socket_path)
        found |= {channel.name: channel for channel in told}
    return found
