import contextlib
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runpermit.errors import CodeSyntaxError
from runpermit.models.analysis import AnalysisResult

Analyse = Callable[..., AnalysisResult]

REFUSED = {
    "empty": "",
    "blank": " \n\t",
    "comment": "# nothing",
    "null": "x = 1\0",
    "surrogate": "x = '\ud800'",
    "magic": "%matplotlib inline",
    "shell": "!ls",
    "return outside": "return 1",
    "deep unary": "-" * 50_000 + "1",
    "deep list": "[" * 5_000 + "]" * 5_000,
    "deep attributes": "a" + ".b" * 50_000,
    "long sum": "+".join(["1"] * 20_000),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_python_is_a_syntax_error(name: str, analyse: Analyse) -> None:
    with pytest.raises(CodeSyntaxError) as caught:
        analyse(REFUSED[name])
    assert caught.value.syntax_issues


def test_a_syntax_error_names_line_column_and_text(analyse: Analyse) -> None:
    with pytest.raises(CodeSyntaxError) as caught:
        analyse("x = 1\ny = = 2\n")
    assert caught.value.syntax_issues == ["line 2, column 5: invalid syntax: y = = 2"]


def test_top_level_await_is_python_in_a_kernel(analyse: Analyse) -> None:
    assert analyse("await f()").writes == []


@given(st.text())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_junk_raises_nothing_but_syntax_errors(analyse: Analyse, code: str) -> None:
    with contextlib.suppress(CodeSyntaxError):
        analyse(code)


HOSTILE = {
    "numbers": "x = 10**10**10\ny = 'a' * 10**10\nz = [0] * 10**10\nw = 1 << 10**9\n"
    "v = round(5, -(10**9))",
    "formats": "a = '%1000000000d' % 1\nb = f'{1:>1000000000}'\nc = '{:>{}}'.format(1, 10**9)",
    "text methods": "a = 'a'.zfill(10**9)\nb = 'a'.ljust(10**9)\nc = list(range(10**9))",
    "long range": "for i in range(10**9):\n    caput(f'A{i}', i)",
    "nested loops": "".join(f"{'  ' * d}for i{d} in range(200):\n" for d in range(18))
    + "  " * 18
    + "caput('A', 1)",
    "calls of calls": "def f0(x): caput('A', x)\n"
    + "".join(f"def f{i}(x):\n{f'  f{i - 1}(x){chr(10)}' * 10}" for i in range(1, 9))
    + "f8(1)",
    "list in itself": "a = []\na.append(a)\nb = [a] * 1000\nc = [b] * 1000\ncaput('A', c)\ng(c)",
    "growing text": "s = 'a'\n" + "s = s + s\n" * 1000,
    "growing path": "import numpy as n\n" + "n = n.a.b\n" * 5_000,
    "branches": "".join(f"if q{i}: x = {i}\n" for i in range(3_000)),
}


NAMES = "".join(f"n{i} = 1\n" for i in range(6_000))
CROWDED = {
    "stars": "from epics import *\n" * 6_000 + "foo\n" * 6_000,
    "names and tries": NAMES + "try:\n x = 1\nexcept E: pass\n" * 4_000,
    "names and branches": NAMES + "if q: x = 1\n" * 6_000,
    "names and cases": NAMES + "match q:\n" + "".join(f" case {i}: x=1\n" for i in range(6_000)),
}


@pytest.mark.parametrize("name", CROWDED)
def test_time_grows_with_the_program_not_with_its_square(name: str, analyse: Analyse) -> None:
    start = time.process_time()
    analyse(CROWDED[name])
    assert time.process_time() - start < 4


TOO_LARGE = {
    "different stars": "".join(f"from m{i} import *\n" for i in range(5_000)) + "foo\n" * 15_000,
    "alternatives": "".join(f"if q: a = {i % 190}\n" for i in range(12_000)),
    "large constants": "a = ['" + "x" * 900 + "'] * 900\n" + "b = a + []\ncaput('A', a)\n" * 9_000,
    "names in deep scopes": "".join(f"{' ' * d}def f{d}():\n" for d in range(90))
    + (" " * 90 + "a;b;c;d;e;f;g;h;i;j;k;l;m;n;o;p;q;r;" * 10 + "\n") * 350,
    "a wide line in deep loops": "".join(f"{' ' * d}for i in q:\n" for d in range(90))
    + " " * 90
    + f"y = [{'x,' * 100_000}]\n",
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_what_takes_too_many_steps_is_refused(name: str, analyse: Analyse) -> None:
    with pytest.raises(CodeSyntaxError, match="too large to analyse"):
        analyse(TOO_LARGE[name])


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_code_is_read_in_bounded_time(name: str, analyse: Analyse) -> None:
    start = time.process_time()
    analyse(HOSTILE[name])
    assert time.process_time() - start < 5
