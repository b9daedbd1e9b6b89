from typing import Any

import pytest

from activities.generators.context_shape import MAX_LINES, context_lines


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (1, "int"),
        (1.5, "float"),
        (True, "bool"),
        (None, "NoneType"),
        ("abc", "str of 3 characters"),
        ([], "list of 0"),
        ([1.0, 2.0], "list of 2 float"),
        ([1, "a"], "list of 2 int or str"),
        ({}, "dict of 0 keys"),
    ],
)
def test_a_value_is_told_by_its_type_and_size(value: Any, line: str) -> None:
    assert context_lines({"x": value}) == [f'context["x"]: {line}']


def test_nested_data_is_told_by_the_expression_that_reads_it() -> None:
    context = {"orbit": {"x": [0.1] * 8}, "rows": [{"time": 1.0, "name": "a"}] * 5}

    assert context_lines(context) == [
        'context["orbit"]["x"]: list of 8 float',
        'context["rows"]: list of 5 dict',
        'context["rows"][0]["time"]: float',
        'context["rows"][0]["name"]: str of 1 characters',
    ]


def test_many_keys_are_counted() -> None:
    lines = context_lines({f"key {n}": n for n in range(1000)})

    assert lines[0] == 'context["key 0"]: int'
    assert lines[-1] == "context: 960 more keys"


def test_wide_and_deep_data_stays_short() -> None:
    deep: dict[str, Any] = {}
    for _ in range(90):
        deep = {f"k{n}": deep for n in range(3)}
    wide = {
        f"a{n}": {f"b{m}": {f"c{k}": 0 for k in range(50)} for m in range(50)} for n in range(9)
    }

    assert len(context_lines(deep)) <= MAX_LINES + 1
    assert len(context_lines(wide)) == MAX_LINES + 1
    assert context_lines(wide)[-1] == "…"


def test_a_key_cannot_leave_its_line() -> None:
    (line,) = context_lines({'a"\n```' + "x" * 1000: 1})

    assert "\n" not in line
    assert len(line) < 120
