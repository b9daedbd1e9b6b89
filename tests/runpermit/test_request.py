"""What a request may hold; every refusal names the field."""

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runpermit.errors import ErrorCategory, InvalidRequestError
from runpermit.models import PlanningMode, PythonExecutionRequest, accept_request
from runpermit.models.wire import CODE_BYTES, REQUEST_BYTES


def request(**fields: Any) -> dict[str, Any]:
    return {
        "user_query": "How is the beam?",
        "task_objective": "Read the current",
        "execution_folder_name": "orbit",
    } | fields


def refused(value: Any) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as refusal:
        accept_request(value)
    return refusal.value


def test_the_defaults_are_those_of_the_reference() -> None:
    accepted = accept_request(request())

    assert accepted.expected_results == {}
    assert accepted.capability_prompts == []
    assert accepted.retries == 3
    assert accepted.planning_mode is PlanningMode.GENERATOR_DRIVEN
    optional = (
        "structured_plan", "capability_context_data", "approved_code",
        "existing_execution_folder", "session_context", "execution_folder_path",
    )  # fmt: skip
    assert all(getattr(accepted, name) is None for name in optional)


def test_a_request_passes_as_model_and_as_json() -> None:
    accepted = accept_request(request(planning_mode="capability_driven"))

    assert accept_request(accepted) == accepted
    assert accept_request(accepted.model_dump(mode="json")) == accepted


@pytest.mark.parametrize("name", ["user_query", "task_objective", "execution_folder_name"])
def test_a_required_field_that_is_missing_is_named(name: str) -> None:
    fields = request()
    del fields[name]
    error = refused(fields)

    assert error.field == name
    assert f"{name}: is required" in error.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("user_query", ""),
        ("user_query", None),
        ("user_query", 3),
        ("task_objective", ""),
        ("expected_results", []),
        ("capability_prompts", "text"),
        ("capability_prompts", [3]),
        ("retries", 0),
        ("retries", 21),
        ("retries", "many"),
        ("retries", 2.5),
        ("planning_mode", "no such"),
        ("structured_plan", {}),
        ("structured_plan", "plan"),
        ("capability_context_data", [1]),
        ("approved_code", ""),
        ("existing_execution_folder", ""),
        ("existing_execution_folder", "x" * 1025),
        ("session_context", "x"),
        ("requester", ""),
        ("requester", "x" * 129),
        ("timeout_seconds", 0),
        ("timeout_seconds", -1),
        ("timeout_seconds", "soon"),
        ("execution_folder_path", "/srv/executions/x"),
        ("colour", "red"),
        ("preserve_once_set", None),
    ],
)
def test_a_field_that_is_wrong_is_named(name: str, value: Any) -> None:
    error = refused(request(**{name: value}))

    assert error.field.split(".")[0] == name
    assert name in error.message
    assert error.category is ErrorCategory.WORKFLOW


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "/a", "a\\b", "a b", ".hidden", "-rf", "x" * 65, "a\n", "a\x00",
     "ä", "\u202ea", "~", "$HOME", "a:b", None, 3],
)  # fmt: skip
def test_a_folder_name_is_one_plain_name(name: Any) -> None:
    assert refused(request(execution_folder_name=name)).field == "execution_folder_name"


@pytest.mark.parametrize("name", ["orbit", "a", "A-1_b.c", "_x", "0", "x" * 64, "a..b"])
def test_plain_folder_names_are_accepted(name: str) -> None:
    assert accept_request(request(execution_folder_name=name)).execution_folder_name == name


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("fields", "place"),
    [
        (lambda n: {"expected_results": {"a": n}}, "expected_results.a"),
        (lambda n: {"capability_context_data": {"x": [1, {"y": n}]}},
         "capability_context_data.x[1].y"),
        (lambda n: {"session_context": {"a": [[n]]}}, "session_context.a[0][0]"),
        (lambda n: {"timeout_seconds": n}, "timeout_seconds"),
        (lambda n: {"structured_plan": {"phases": [], "result_schema": {"r": n}}},
         "structured_plan.result_schema.r"),
    ],
)  # fmt: skip
def test_nan_and_infinity_are_refused_with_their_place(
    number: float, fields: Any, place: str
) -> None:
    error = refused(request(**fields(number)))

    assert error.field == place
    assert place in error.message


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": b"bytes"}, "capability_context_data.a"),
        ({"a": object()}, "capability_context_data.a"),
        ({"a": {1, 2}}, "capability_context_data.a"),
        ({1: "x"}, "capability_context_data"),
        ({None: "x"}, "capability_context_data"),
        ({"a": 1 + 2j}, "capability_context_data.a"),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(value: Any, place: str) -> None:
    assert refused(request(capability_context_data=value)).field == place


def test_deep_nesting_is_refused() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]

    assert "nested deeper" in refused(request(capability_context_data={"a": deep})).message


def test_a_value_that_holds_itself_is_refused() -> None:
    endless: dict[str, Any] = {}
    endless["self"] = endless

    assert "nested deeper" in refused(request(capability_context_data=endless)).message


def test_text_that_is_no_utf_8_is_refused() -> None:
    for fields in ({"user_query": "\ud800"}, {"capability_context_data": {"a": "\ud800"}},
                   {"capability_context_data": {"\ud800": 1}}):  # fmt: skip
        assert isinstance(refused(request(**fields)), InvalidRequestError)


def test_five_megabytes_of_context_belong_into_a_folder() -> None:
    error = refused(request(capability_context_data={"orbit": "x" * 5_000_000}))

    assert error.field == "capability_context_data"
    assert f"{REQUEST_BYTES // 1024} KB are allowed" in error.message
    assert "existing_execution_folder" in error.message


def test_code_beyond_its_size_is_refused() -> None:
    assert refused(request(approved_code="#" * (CODE_BYTES + 1))).field == "approved_code"
    assert accept_request(request(approved_code="#" * CODE_BYTES)).approved_code


@pytest.mark.parametrize("value", [None, [], "x", 3, True, [{}], b"x", object()])
def test_anything_but_an_object_is_refused(value: Any) -> None:
    assert refused(value).field == "request"


def test_an_unknown_field_s_name_can_not_forge_the_message() -> None:
    error = refused(request(**{"x\n\u202e" + "y" * 10_000: 1}))

    assert len(error.message) < 1000
    assert "\n" not in error.message
    assert "\u202e" not in error.message


def test_the_sha256_is_the_same_for_the_same_request_alone() -> None:
    first = accept_request(request(expected_results={"a": 1, "b": 2}))

    assert first.sha256 == accept_request(request(expected_results={"b": 2, "a": 1})).sha256
    assert first.sha256 != accept_request(request(expected_results={"a": 2, "b": 2})).sha256


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50)
@given(
    json_values
    | st.fixed_dictionaries(
        {}, optional=dict.fromkeys(PythonExecutionRequest.model_fields, json_values)
    )
)
def test_a_value_is_accepted_or_refused_and_nothing_else(value: Any) -> None:
    with contextlib.suppress(InvalidRequestError):
        assert len(accept_request(value).sha256) == 64
