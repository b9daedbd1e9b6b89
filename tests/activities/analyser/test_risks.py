from collections.abc import Callable

import pytest

from runpermit.models.analysis import AnalysisResult, Severity

Analyse = Callable[..., AnalysisResult]

REFUSED = [
    "exec('x')",
    "e = eval\ne('x')",
    "compile('x', '', 'exec')",
    "__import__('epics')",
    "import importlib\nimportlib.import_module('epics')",
    "import os\nos.system('x')",
    "import os\ngetattr(os, 'sys' + 'tem')('x')",
    "from os import *\nsystem('x')",
    "import pathlib\npathlib.os.system('x')",
    "import subprocess",
    "from multiprocessing import Process",
    "import ctypes",
    "import socket",
    "import urllib.request",
    "import pickle\npickle.loads(b'')",
    "import epics\ngetattr(epics, name)('A')",
    "globals()['x']",
    "import epics\nepics.__dict__['caput']",
    "().__class__.__base__.__subclasses__()",
    "import sys\nsys.modules['epics']",
    "get_ipython().system('x')",
    "import signal",
    "import os\nos._exit(0)",
    "import doctest\ndoctest.testmod()",
    "import cProfile\ncProfile.run('x')",
    "import profile\nprofile.run('x')",
    "import trace\ntrace.Trace().run('x')",
    "import logging.config\nlogging.config.dictConfig({})",
    "import logging.handlers\nlogging.handlers.SocketHandler('h', 1)",
    "import site\nsite.addpackage('a', 'b', None)",
    "import numpy as np\nnp.load('x', allow_pickle=True)",
    "import numpy as np\nnp.load('x', None, flag)",
    "import asyncio\nawait asyncio.get_running_loop().create_connection(P, 'h', 1)",
    "import asyncio\nawait asyncio.get_running_loop().subprocess_shell(P, 'x')",
    "import os\nmatch os:\n    case object(system=run):\n        run('x')",
    "import epics\nepics.caput = print",
    "import os\nos.environ['EPICS_CA_ADDR_LIST'] = 'x'",
    "import epics\nobject.__setattr__(epics.PV('A'), 'value', 1)",
]


@pytest.mark.parametrize("code", REFUSED)
def test_code_that_leaves_sight_is_refused_with_line_and_way_out(
    code: str, analyse: Analyse
) -> None:
    result = analyse(code)
    assert result.severity is Severity.ERROR
    assert any(issue.startswith("line ") for issue in result.issues)
    assert len(result.recommendations) >= 2


PVA, CAPROTO, TANGO = "speaks PV Access", "asks no name server", "speaks Tango"
WITHOUT_ROUTE = [
    ("import p4p", PVA),
    ("from p4p.client.thread import Context\nContext('pva').get('A')", PVA),
    ("import pvaccess as pva\npva.Channel('A').get()", PVA),
    ("from pvapy.hpc import x", PVA),
    ("from epics import pva", PVA),
    ("from caproto.threading.client import Context", CAPROTO),
    ("from caproto.sync.client import read\nread('A')", CAPROTO),
    ("import caproto.asyncio.client", CAPROTO),
    ("import tango\ntango.DeviceProxy('a/b/c')", TANGO),
    ("from PyTango import DeviceProxy", TANGO),
]


@pytest.mark.parametrize(("code", "why"), WITHOUT_ROUTE)
def test_a_client_without_a_route_goes_back_with_line_and_the_way_that_there_is(
    code: str, why: str, analyse: Analyse
) -> None:
    result = analyse(f"x = 1\n{code}\nresults = {{}}")
    assert result.severity is Severity.ERROR
    assert result.issues[0].startswith("line 2: ")
    assert why in result.issues[0]
    assert result.recommendations == [
        "Only Channel Access by libca has a route out of the sandbox. "
        "Use read_channel, write_channel(s) or pyepics."
    ]


FALLBACKS = [
    ("try:\n    import p4p\nexcept ImportError:\n    p4p = None", PVA),
    (
        "try:\n    from caproto.sync import client\nexcept (OSError, ModuleNotFoundError):\n"
        "    import epics",
        CAPROTO,
    ),
    (
        "def device():\n    return tango.DeviceProxy('a/b/c')\n"
        "try:\n    import tango\nexcept ImportError:\n    tango = None\nif tango:\n    device()",
        TANGO,
    ),
]


@pytest.mark.parametrize(("code", "why"), FALLBACKS)
def test_a_client_that_the_code_can_do_without_is_warned_of(
    code: str, why: str, analyse: Analyse
) -> None:
    result = analyse(f"{code}\nresults = {{}}")
    assert result.severity is Severity.WARNING
    assert all(why in issue for issue in result.issues)


@pytest.mark.parametrize(
    "code",
    [
        "try:\n    import p4p\nexcept Exception as error:\n    print(error)",
        "try:\n    import p4p\nexcept:\n    pass",
        "try:\n    import epics\nexcept ImportError:\n    import p4p",
        "try:\n    import subprocess\nexcept ImportError:\n    subprocess = None",
    ],
)
def test_what_is_no_fallback_stays_refused(code: str, analyse: Analyse) -> None:
    assert analyse(f"{code}\nresults = {{}}").severity is Severity.ERROR


@pytest.mark.parametrize(
    "code",
    [
        "from epics import caget\ncaget('A')",
        "from aioca import caget\nawait caget('A')",
        "from cothread.catools import caget\ncaget('A')",
        "from ophyd import EpicsSignal\nEpicsSignal('A').get()",
    ],
)
def test_clients_by_libca_have_a_route(code: str, analyse: Analyse) -> None:
    result = analyse(f"{code}\nresults = {{}}")
    assert result.issues == []
    assert [use.channel for use in result.reads] == ["A"]


FINE = [
    "import numpy as np\nnp.load('x')\nnp.load('x', allow_pickle=False)",
    "import re\nre.compile('x')",
    "model.eval()",
    "model_eval(1)",
    "import ast\nast.literal_eval('1')",
    "import urllib.parse",
    "from scipy import signal\nsignal.welch([1])",
    "import os\nos.path.join('a')\nos.environ['MPLBACKEND'] = 'Agg'",
    "print(type(x).__name__)",
    "import epics\nepics.ca.DEFAULT_CONNECTION_TIMEOUT = 5",
    "import any_library",
    "x = '\\d'",
]


@pytest.mark.parametrize("code", FINE)
def test_harmless_code_raises_no_alarm(code: str, analyse: Analyse) -> None:
    result = analyse(f"{code}\nresults = {{}}")
    assert result.issues == []


WARNED = [
    "open('a', 'w')",
    "import shutil\nshutil.rmtree('a')",
    "import time\ntime.sleep(61)",
    "while True:\n    x = 1",
    "import pandas as pd\npd.eval('1')",
    "df.eval('a + b')",
]


@pytest.mark.parametrize("code", WARNED)
def test_doubtful_code_is_warned_of(code: str, analyse: Analyse) -> None:
    result = analyse(f"{code}\nresults = {{}}")
    assert result.severity is Severity.WARNING
    assert len(result.issues) == 1


@pytest.mark.parametrize(
    "code",
    [
        "results = {}",
        "(results := {})",
        "for results in x: pass",
        "import json as results",
        "with x as results: pass",
        "def f():\n    global results\n    results = {}",
        "a, (results, b) = x",
    ],
)
def test_any_binding_of_results_will_do(code: str, analyse: Analyse) -> None:
    assert not any("results" in issue for issue in analyse(code).issues)


@pytest.mark.parametrize("code", ["x = 1", "results['a'] = 1", "def f():\n    results = {}"])
def test_missing_results_are_warned_of(code: str, analyse: Analyse) -> None:
    assert any("results" in issue for issue in analyse(code).issues)


def test_imports_are_listed(analyse: Analyse) -> None:
    assert analyse("import os.path\nfrom numpy import fft").imports == ["numpy", "os.path"]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("plan('A', 2, 1, 5)", "A: low = 2 is above high = 1"),
        ("low = 2\nplan('A', low, high=1.5, max_writes=5)", "A: low = 2 is above high = 1.5"),
        ("plan('A', 0, 1, 0)", "A: max_writes must be from 1 to 100000"),
        ("plan('A', 0, 1, 2.5)", "A: max_writes must be a whole number"),
        ("plan(1, 0, 1, 2)", "channel must be text"),
    ],
)
def test_a_declaration_that_will_fail_goes_back_with_its_reason(
    call: str, said: str, analyse: Analyse
) -> None:
    result = analyse(f"results = {{}}\n{call}")
    (issue,) = result.issues
    assert said in issue
    assert issue.startswith("line ")
    assert result.severity is Severity.ERROR
    assert "plan(channel, low, high, max_writes)" in result.recommendations[0]


@pytest.mark.parametrize(
    "code",
    [
        "plan('A', -1, 1, 20)",
        "plan('A', read_channel('A') - 1, read_channel('A') + 1, 20)",
        "for name in ['A', 'B']:\n    plan(name, 0, 1, 5)",
        "plan(*settings)",
        "plan = {'A': 2}\nplan.get('A')",
        "def plan(*steps): return steps\nplan('A', 2, 1, 0)",
    ],
)
def test_a_declaration_is_no_risk_and_no_write_nor_is_another_thing_of_that_name(
    code: str, analyse: Analyse
) -> None:
    result = analyse(f"{code}\nresults = {{}}")
    assert result.issues == []
    assert result.writes == []
