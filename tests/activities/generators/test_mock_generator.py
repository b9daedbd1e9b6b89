import ast
from collections.abc import Callable
from typing import Any

import pytest

from activities.generators import GenerationTask, create_generator
from activities.generators.mock_generator import BEHAVIOURS, MockGenerator
from runpermit.config import GenerationSettings
from runpermit.errors import ContainerConfigurationError
from runpermit.models import ExecutionError

MakeTask = Callable[..., GenerationTask]
FAILED = ExecutionError(error_type="execution", error_message="division by zero")


async def code(behavior: str, task: GenerationTask) -> str:
    settings = GenerationSettings(generator="mock", model=behavior)
    return (await create_generator(settings).generate(task)).code


def run(program: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"read_channel": lambda _: 1.0, "write_channel": lambda *_: None}
    exec(program, namespace)  # noqa: S102
    return namespace


async def test_success_leaves_results(task: GenerationTask) -> None:
    assert run(await code("success", task))["results"] == {"count": 3, "mean": 2.0}


async def test_success_is_what_it_does_unasked(task: GenerationTask) -> None:
    generated = await create_generator(GenerationSettings(generator="mock")).generate(task)

    assert generated.metadata == {"generator": "mock", "behavior": "success"}


async def test_each_failure_fails_in_its_own_way(task: GenerationTask) -> None:
    with pytest.raises(SyntaxError):
        ast.parse(await code("syntax_error", task))
    with pytest.raises(ZeroDivisionError):
        run(await code("runtime_error", task))
    assert "results" not in run(await code("missing_results", task))
    assert "subprocess" in await code("security_risk", task)


async def test_channels_are_read_and_written(task: GenerationTask) -> None:
    assert 'read_channel("SR:BEAM:CURRENT")' in await code("channel_read", task)
    assert 'write_channel("SR:HCM1:SP", 0.1)' in await code("channel_write", task)
    assert run(await code("channel_read", task))["results"] == {"beam_current": 1.0}
    assert run(await code("channel_write", task))["results"] == {"readback": 1.0}


async def test_error_aware_fails_until_it_is_told_of_the_error(make_task: MakeTask) -> None:
    with pytest.raises(ZeroDivisionError):
        run(await code("error_aware", make_task(attempt=1)))
    assert run(await code("error_aware", make_task(attempt=2, errors=[FAILED])))["results"]


async def test_a_sequence_follows_the_attempts_and_its_last_program_repeats(
    make_task: MakeTask,
) -> None:
    generator = MockGenerator(code_sequence=["a = 1", "a = 2"])

    codes = [(await generator.generate(make_task(attempt=n))).code for n in (1, 1, 2, 3)]

    assert codes == ["a = 1", "a = 1", "a = 2", "a = 2"]
    restarted = MockGenerator(code_sequence=["a = 1", "a = 2"])
    assert (await restarted.generate(make_task(attempt=2))).code == "a = 2"


def test_an_unknown_behaviour_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ContainerConfigurationError, match="gpt-9") as caught:
        create_generator(GenerationSettings(generator="mock", model="gpt-9"))

    assert all(name in caught.value.message for name in BEHAVIOURS)
