import warnings
from contextlib import suppress

import pytest

from activities.generators.answers import Answer, NoProgramError, read_answer

PROGRAM = 'x = 1\nresults = {"x": x}\n'


@pytest.mark.parametrize(
    "content",
    [
        PROGRAM,
        f"```python\n{PROGRAM}```",
        f"```\n{PROGRAM}```",
        f"~~~py\n{PROGRAM}~~~",
        f"````python\n{PROGRAM}````",
        f"``` Python \n{PROGRAM}```  ",
        f"Sure.\n\n```python\n{PROGRAM}\n```\nThis reads `x`.",
        f"```python\n{PROGRAM}",
        PROGRAM.replace("\n", "\r\n"),
        f"\ufeff{PROGRAM}",
        f"\n\n{PROGRAM}\n\n",
        '1. Run:\n   ```python\n   x = 1\n   results = {"x": x}\n   ```',
        f"```bash\npip install a-package-with-a-very-long-name\n```\n```python\n{PROGRAM}```",
        f"```text\n1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18\n```\n```\n{PROGRAM}```",
        f'```json\n{{"an": "example"}}\n```\n```python\n{PROGRAM}```',
        f"First\n```python\nimport os\n```\nthen\n```python\n{PROGRAM}```\n",
        f"```\nresults = 'longer than the block that is labelled'\n```\n```py\n{PROGRAM}```",
    ],
)
def test_the_program_comes_out_of_fences_and_prose(content: str) -> None:
    assert read_answer(content).code == PROGRAM


@pytest.mark.parametrize(
    "content",
    [
        '{"code": "x = 1\\nresults = {\\"x\\": x}"}',
        '{"code": "x = 1\\r\\nresults = {\\"x\\": x}\\r\\n", "explanation": "It is one."}',
        '```json\n{"code": "x = 1\\nresults = {\\"x\\": x}"}\n```',
        '{"code": "```python\\nx = 1\\nresults = {\\"x\\": x}\\n```", "explanation": null}',
    ],
)
def test_the_program_comes_out_of_json(content: str) -> None:
    assert read_answer(content).code == PROGRAM


def test_what_the_model_says_about_its_program_is_kept() -> None:
    answer = read_answer('{"code": "x = 1", "explanation": "It is one."}')

    assert answer == Answer("x = 1\n", "It is one.")


@pytest.mark.parametrize("around", ["{}", "```python\n{}```", "Here:\n```python\n{}```\nDone."])
def test_fences_in_the_strings_of_a_program_stay_in_it(around: str) -> None:
    program = 'text = """\n```bash\nls\n```\n"""\nresults = {"text": text}\n'

    assert read_answer(around.format(program) if around != "{}" else program).code == program


@pytest.mark.parametrize(
    "program",
    [
        "results = {'a': (1}\n",
        "for n in range(3)\n    print(n)\nelse:\n    pass\n",
        "def f(:\n    pass\n",
        "import numpy as np\nnp.mean([1\n",
        'print("a"\n',
        "results = {}\n\0\n",
        "a, b = 1,, 2\n",
    ],
)
def test_code_with_a_syntax_error_passes(program: str) -> None:
    assert read_answer(program).code == program
    assert read_answer(f"```python\n{program}```").code == program


@pytest.mark.parametrize(
    "content",
    [
        "Sorry",
        "I can't do that, but I would like to.",
        "To measure the orbit, please tell me which monitors you mean.\nThere are eight of them.",
        "read_channel() is what I would need here.",
        '"a text and nothing else"',
        "# only a comment",
        "```python\n# only a comment\n```",
        "```python\n```",
        "```bash\nls -l\n```",
        '{"code": ""}',
        '{"code": "I am not able to help with that."}',
        "null",
        "[1, 2",
    ],
)
def test_prose_is_no_program(content: str) -> None:
    with pytest.raises(NoProgramError, match="no Python code"):
        read_answer(content)


@pytest.mark.parametrize("content", ["", "  \n\t", "\ufeff"])
def test_an_empty_answer_is_no_program(content: str) -> None:
    with pytest.raises(NoProgramError, match="empty"):
        read_answer(content)


@pytest.mark.parametrize("content", ['{"code": null}', '{"program": "x = 1"}', "{}"])
def test_json_without_code_is_no_program(content: str) -> None:
    with pytest.raises(NoProgramError, match='field "code"'):
        read_answer(content)


def test_code_over_256_kb_is_refused() -> None:
    line = "x = 1\n"

    assert read_answer(line * (256 * 1024 // len(line)))
    with pytest.raises(NoProgramError, match="256 KB"):
        read_answer(line * (256 * 1024 // len(line) + 1))
    with pytest.raises(NoProgramError, match="1024 KB"):
        read_answer(line * 1_000_000)


def test_code_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(NoProgramError, match="Unicode"):
        read_answer('{"code": "x = \'\\ud800\'"}')


@pytest.mark.parametrize(
    "program", ["(" * 5000, "-" * 50_000 + "1", "x = " + "[" * 3000, "```python\n(\n" * 2000]
)
def test_code_that_no_parser_can_take_passes_or_is_refused_but_never_breaks(program: str) -> None:
    with suppress(NoProgramError):
        assert read_answer(f"import os\n{program}").code


def test_reading_a_program_warns_of_nothing() -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert read_answer('x = "\\d"\n').code == 'x = "\\d"\n'

    assert warned == []
