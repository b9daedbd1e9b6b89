from collections.abc import Callable

import pytest

from runpermit.models.analysis import AnalysisResult
from runpermit.models.modes import ExecutionMode

Analyse = Callable[..., AnalysisResult]

WRITES = {
    "write_channel": ("write_channel('A', 42)", [("A", 42)]),
    "write_channels": ("write_channels({'A': 1, 'B': [1, 2]})", [("A", 1), ("B", [1, 2])]),
    "connector": ("connector.write_channel('A', -1)", [("A", -1)]),
    "caput without import": ("caput('A', 42)", [("A", 42)]),
    "PV put": ("import epics\nepics.PV('A').put(1)", [("A", 1)]),
    "value assigned": ("pv = PV('A')\npv.value = 1", [("A", 1)]),
    "value of a free pv": ("pv.value = 1", [(None, 1)]),
    "alias": ("from epics import caput as w; w('A', 2)", [("A", 2)]),
    "getattr": ("import epics\ngetattr(epics, 'ca' + 'put')('A', 1)", [("A", 1)]),
    "star": ("from epics import *\ncaput_many(['A', 'B'], [1, 2])", [("A", 1), ("B", 2)]),
    "f-string in a loop": (
        "for i in range(1, 4):\n    caput(f'H{i}:SP', i * 2)",
        [("H1:SP", 2), ("H2:SP", 4), ("H3:SP", 6)],
    ),
    "dict of PVs": (
        "pvs = {n: PV(n) for n in ('A', 'B')}\nfor p in pvs.values():\n    p.put(3)",
        [("A", 3), ("B", 3)],
    ),
    "own function": ("def s(n, v):\n    caput(n, v)\ns('A', 1)", [(None, None)]),
    "corrector loop": (
        "for i in range(1, 4):\n    caput(f'H{i}:SP', 0.1)",
        [("H1:SP", 0.1), ("H2:SP", 0.1), ("H3:SP", 0.1)],
    ),
    "pairs": (
        "for n, v in {'A': 1, 'B': 2}.items():\n    caput(n, v)",
        [("A", 1), ("B", 2)],
    ),
    "one of two channels": (
        "n = 'A'\nif q:\n    n = 'B'\ncaput(n, 1)",
        [("B", 1), ("A", 1)],
    ),
    "one of two values": ("caput('A', 1 if q else 2)", [("A", None)]),
    "settings with a computed value": (
        "s = {'A': caget('A') + 1, 'B': 2}\nwrite_channels(s)",
        [("A", None), ("B", 2)],
    ),
    "changed list": ("n = ['A']\nn.append(q)\ncaput_many(n, [1])", [(None, [1])]),
    "bound twice": ("x = 1\ndef f():\n    caput('A', x)\nx = 2", [("A", None)]),
    "global in a loop": (
        "while q:\n    def f():\n        global x\n        x = 1\n    caput('A', x)",
        [("A", None)],
    ),
    "changed by the loop": ("x = 1\nwhile q:\n    caput('A', x)\n    x = x * 2", [("A", None)]),
    "object": (
        "class C:\n    def __init__(self, n):\n        self.pv = PV(n)\n"
        "    def go(self):\n        self.pv.put(5)\nC('A').go()",
        [(None, 5)],
    ),
    "clamped before": ("x = 150\nif x > 100:\n    x = 100\ncaput('A', x)", [("A", None)]),
    "motor": ("from epics import Motor\nm = Motor('M')\nm.move(3)", [("M.VAL", 3)]),
    "bound method": ("f = PV('A').put\nf(3)", [("A", 3)]),
    "never called": ("def f():\n    caput('A', 1)", [("A", 1)]),
    "lambda": ("lambda: caput('A', 1)", [("A", 1)]),
    "after return": ("def f():\n    return\n    caput('A', 1)", [("A", 1)]),
    "ruled out": ("if False:\n    caput('A', 1)", [("A", 1)]),
    "empty loop": ("for _ in []:\n    caput('A', 1)", [("A", 1)]),
    "handed on": ("map(caput, ['A'], [1])", [(None, None)]),
    "shadowed": ("def write_channel(*a): ...\nwrite_channel('A', 1)", [("A", 1)]),
    "computed": ("caput('A', caget('B'))", [("A", None)]),
    "parameter": ("import epics\ndef f(p):\n    p.put(1)", [(None, 1)]),
    "later round": ("f = caget\nwhile q:\n    f('A', 1)\n    f = caput", [(None, None)]),
    "tango": ("import tango\ntango.DeviceProxy('a/b').write_attribute('c', 3)", [("a/b/c", 3)]),
    "p4p": ("from p4p.client.thread import Context\nContext('pva').put('A', 1)", [("A", 1)]),
    "lone surrogate": ("caput('A', '\\ud800')", [("A", None)]),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_write_is_found_with_channel_and_value(name: str, analyse: Analyse) -> None:
    code, expected = WRITES[name]
    result = analyse(code)
    assert [(use.channel, use.value) for use in result.writes] == expected
    assert result.execution_mode is ExecutionMode.WRITE_ACCESS
    result.model_dump_json()


READS = {
    "read_channel": "read_channel('A')",
    "caget": "from epics import caget as g; g('A')",
    "PV get": "PV('A').get()",
    "PV value": "x = PV('A').value",
    "callback": "PV('A').add_callback(print)",
    "camonitor": "camonitor('A')",
    "camonitor at birth": "PV('A', callback=print)",
}


@pytest.mark.parametrize("name", READS)
def test_a_read_is_no_write(name: str, analyse: Analyse) -> None:
    result = analyse(READS[name])
    assert [use.channel for use in result.reads] == ["A"]
    assert not result.has_epics_writes
    assert result.execution_mode is ExecutionMode.READ_ONLY


NEITHER = {
    "pure": "x = 1 + 1",
    "dict": "d = {}\nd.get('k')",
    "queue": "queue.put(x)",
    "queue beside epics": "import epics, queue\nq = queue.Queue()\nq.put(1)",
    "comment": "x = 1  # write_channel(x)",
    "text": "s = 'caput'",
    "numpy": "import numpy as np\nnp.put([0], [0], [1])",
    "own class": "class A:\n    def put(self, x):\n        self.value = x\nA().put(1)",
}


@pytest.mark.parametrize("name", NEITHER)
def test_neither_read_nor_write(name: str, analyse: Analyse) -> None:
    result = analyse(NEITHER[name])
    assert not result.reads
    assert not result.writes


def test_writes_found_while_disabled_stay_read_only(analyse: Analyse) -> None:
    result = analyse("caput('A', 1)", writes=False)
    assert result.has_epics_writes
    assert result.execution_mode is ExecutionMode.READ_ONLY


def test_lists_are_cut_at_200_and_say_so(analyse: Analyse) -> None:
    result = analyse("".join(f"caput('A{i}', 1)\n" for i in range(300)))
    assert len(result.writes) == 200
    assert any("cut" in issue for issue in result.issues)


@pytest.mark.parametrize(
    "code",
    [
        "import epics\nmatch epics:\n    case object(caput=w):\n        w('A', 1)",
        "import epics\nmatch [epics]:\n    case [object(caput=w)]:\n        w('A', 1)",
        "import epics\nmatch x:\n    case C(put=w):\n        w(1)",
        "import epics.autosave\nepics.autosave.restore_pvs('x')",
        "from epics.devices import Scaler\nScaler('A')",
    ],
)
def test_a_write_taken_out_of_sight_counts_without_a_channel(
    code: str, analyse: Callable[..., AnalysisResult]
) -> None:
    assert None in [write.channel for write in analyse(code).writes]


def test_a_name_bound_in_some_cases_keeps_all_its_alternatives(
    analyse: Callable[..., AnalysisResult],
) -> None:
    code = (
        "x = 'A'\nmatch q:\n    case 1:\n        x = 'B'\n    case 2:\n        y = 1\n"
        "    case 3:\n        if r:\n            x = 'C'\ncaput(x, 1)"
    )
    assert [write.channel for write in analyse(code).writes] == ["A", "B", "C"]
