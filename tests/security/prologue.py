"""What stands before each program: what it is told, and a look for what others left."""

import json

from tests.security.catalogue import Program
from tests.security.lab import Lab

PROLOGUE = """\
import json as _json, os as _os, glob as _glob
from types import SimpleNamespace as _Namespace
lab = _Namespace(**_json.loads({parameters!r}))
results = {{"ran": True}}
_places = ["/tmp", "/var/tmp", "/dev/shm", "/run", "/dev", "/", ".", _os.path.expanduser("~")]
_found = [name for name in _os.environ if name == lab.poison]
for _place in _places:
    _found += _glob.glob(f"{{_place}}/{{lab.poison}}*") + _glob.glob(f"{{_place}}/.{{lab.poison}}*")
print("POISONED" if _found else "CLEAN", _found)
del _found
"""


def code_of(program: Program, lab: Lab) -> str:
    """All that is executed."""
    parameters = json.dumps(lab.parameters(program.mode))
    return f"{PROLOGUE.format(parameters=parameters)}{program.source}\n\n{program.name}(lab)\n"
