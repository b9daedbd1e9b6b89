import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client

from activities.folder_lock import free
from activities.inputs import manifest
from activities.preparation import Preparation
from runpermit.errors import (
    ContainerConfigurationError,
    InvalidRequestError,
    ServiceUnavailableError,
)
from runpermit.models import PythonExecutionRequest
from runpermit.names import STAGE_ATTRIBUTE
from workflows.steps import Deployment, PrepareTask

Prepare = Callable[..., Awaitable[Deployment]]


@pytest.fixture
def prepare(running: Any, in_activity: Callable[..., Awaitable[Any]]) -> Prepare:
    async def run(task: PrepareTask | None = None, **sections: Any) -> Deployment:
        house = running.house(**sections)
        answer = await in_activity(Preparation(house).prepare, task or running.prepare_task())
        assert isinstance(answer, Deployment)
        return answer

    return run


def content(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): path.read_text()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


async def test_the_folder_is_made_with_request_context_and_modes(prepare: Prepare) -> None:
    deployment = await prepare()
    path = deployment.folder.path
    assert path.parent.name == "2026-10"
    assert {entry.name for entry in path.iterdir()} == {"request.json", "attempts", "work", ".lock"}
    for folder in (path, path.parent, path / "attempts", path / "work"):
        assert folder.stat().st_mode & 0o777 == 0o750
    for file in ("request.json", "work/context.json", ".lock"):
        assert (path / file).stat().st_mode & 0o777 == 0o640
    assert json.loads((path / "work/context.json").read_text()) == {}


async def test_the_stored_request_is_the_one_that_came(prepare: Prepare, desk: Any) -> None:
    task = desk.prepare_task(capability_context_data={"gain": [1.5, "µ"]}, requester="Ann")
    deployment = await prepare(task)
    stored = (deployment.folder.path / "request.json").read_text()
    assert PythonExecutionRequest.model_validate_json(stored) == task.request
    assert deployment.folder.request_sha256 == task.request.sha256
    context = (deployment.folder.work / "context.json").read_text()
    assert json.loads(context) == {"gain": [1.5, "µ"]}


async def test_asked_again_it_finds_what_it_made(prepare: Prepare, desk: Any) -> None:
    first = await prepare()
    before = content(desk.root)
    assert await prepare() == first
    assert content(desk.root) == before


async def test_two_executions_of_one_name_have_a_folder_each(prepare: Prepare, desk: Any) -> None:
    one = await prepare(desk.prepare_task("a"))
    other = await prepare(desk.prepare_task("b"))
    assert one.folder.path != other.folder.path


async def test_the_deployment_is_what_the_settings_say(prepare: Prepare, client: Client) -> None:
    deployment = await prepare(
        control_system={"writes_enabled": False},
        approval={"mode": "all_code", "question_expiry": 60, "plan_max_age": 70},
        timeouts={"run": 5, "heartbeat": 6, "retry": 7, "host": 8, "verdict": 10},
        generation={"timeout": 9},
        rehearsal={"timeout": 11},
        limits={"enabled": False},
        links={"web_ui": "http://ui"},
    )
    assert deployment.host == "here"
    assert deployment.approval_mode == "all_code"
    assert deployment.writes_enabled is False
    assert deployment.control_system_type == "mock"
    assert deployment.question_expiry == 60
    assert deployment.plan_max_age == 70
    assert deployment.timeouts.model_dump() == {
        "run": 5,
        "heartbeat": 6,
        "retry": 7,
        "host": 8,
        "generation": 9,
        "verdict": 10,
        "rehearsal": 11,
    }
    assert deployment.isolation == "full"
    assert deployment.gate.writes
    assert deployment.gate.inhibited is None
    assert deployment.limits.enabled is False
    assert deployment.web_ui == "http://ui"
    assert deployment.namespace == client.namespace
    assert deployment.address == "127.0.0.1:7233"
    assert list(manifest(deployment.folder.work)) == ["context.json"]


async def test_limits_that_cannot_be_read_are_told(prepare: Prepare, tmp_path: Path) -> None:
    deployment = await prepare(limits={"file": tmp_path / "missing.json"})
    assert deployment.limits.error is not None
    assert "missing.json" in deployment.limits.error


async def test_settings_that_must_be_mended_are_refused_before_anything_is_made(
    prepare: Prepare, desk: Any
) -> None:
    with pytest.raises(ContainerConfigurationError, match=r"approval\.assurance"):
        await prepare(approval={"assurance": None})
    assert content(desk.root) == {}


async def test_the_stage_attribute_is_used_where_it_is_registered(
    prepare: Prepare, client: Client
) -> None:
    assert (await prepare()).search_attributes == []
    await client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(
            namespace=client.namespace,
            search_attributes={STAGE_ATTRIBUTE: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD},
        )
    )
    assert (await prepare()).search_attributes == [STAGE_ATTRIBUTE]


async def test_the_next_execution_continues_in_a_folder_and_overwrites_nothing(
    prepare: Prepare, desk: Any
) -> None:
    first = await prepare(desk.prepare_task("a", capability_context_data={"from": "a"}))
    path = first.folder.path
    for name in ("01_generation", "02_approval", "03_execution", "readme", "x_execution", "04_x"):
        (first.folder.attempts / f"{name}.ipynb").write_text("{}")
    (first.folder.work / "data.csv").write_text("1")
    free(path, "a", "run")
    name = path.relative_to(desk.root).as_posix()
    task = desk.prepare_task("b", existing_execution_folder=name)
    second = await prepare(task)
    assert second.folder.path == path
    assert second.folder.suffix == "-2"
    assert PythonExecutionRequest.model_validate_json(
        (path / "request.json").read_text()
    ) == desk.request(capability_context_data={"from": "a"})
    assert (path / "request-2.json").exists()
    assert second.folder.notebook == path / "notebook-2.ipynb"
    assert [notebook.stage for notebook in second.notebooks] == [
        "generation",
        "approval",
        "execution",
    ]
    assert [notebook.attempt_number for notebook in second.notebooks] == [1, 2, 3]
    assert sorted(manifest(second.folder.work)) == ["context.json", "data.csv"]
    # Without a context of its own it goes on with the earlier one.
    assert json.loads((second.folder.work / "context.json").read_text()) == {"from": "a"}
    assert await prepare(task) == second


async def test_a_context_of_its_own_replaces_the_earlier_one(prepare: Prepare, desk: Any) -> None:
    first = await prepare(desk.prepare_task("a", capability_context_data={"from": "a"}))
    free(first.folder.path, "a", "run")
    task = desk.prepare_task(
        "b",
        existing_execution_folder=str(first.folder.path),
        capability_context_data={"from": "b"},
    )
    second = await prepare(task)
    assert json.loads((second.folder.work / "context.json").read_text()) == {"from": "b"}


async def test_a_folder_with_data_alone_can_be_named(prepare: Prepare, desk: Any) -> None:
    (desk.root / "my data/work").mkdir(parents=True)
    (desk.root / "my data/work/table.csv").write_text("1")
    deployment = await prepare(
        desk.prepare_task(existing_execution_folder="my data"),
        links={"notebooks": "https://hub/tree/"},
    )
    assert deployment.folder.suffix == ""
    assert deployment.folder.link == "https://hub/tree/my%20data"
    assert "table.csv" in manifest(deployment.folder.work)


async def test_links_lead_to_the_notebook_server_or_to_the_file(
    prepare: Prepare, desk: Any
) -> None:
    with_server = await prepare(links={"notebooks": "https://hub/tree/"})
    below = with_server.folder.path.relative_to(desk.root).as_posix()
    assert with_server.folder.link == f"https://hub/tree/{below}"
    assert (await prepare()).folder.link == with_server.folder.path.as_uri()


@pytest.mark.parametrize("name", ["../outside", "/etc", "link", "2026-10"])
async def test_a_folder_outside_the_root_or_around_others_is_refused_and_untouched(
    prepare: Prepare, desk: Any, tmp_path: Path, name: str
) -> None:
    await prepare()
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    (desk.root / "link").symlink_to(outside)
    with pytest.raises(InvalidRequestError, match="existing_execution_folder"):
        await prepare(desk.prepare_task("b", existing_execution_folder=name))
    assert list(outside.iterdir()) == []
    assert outside.stat().st_mode & 0o777 == 0o700


async def test_a_root_that_cannot_be_made_is_told_by_setting(prepare: Prepare, desk: Any) -> None:
    desk.root.rmdir()
    desk.root.write_text("a file")
    with pytest.raises(ContainerConfigurationError, match=r"executions\.root"):
        await prepare()


async def test_files_that_code_named_in_no_encoding_do_not_stop_the_next_execution(
    prepare: Prepare, desk: Any
) -> None:
    folder = desk.root / "mine/work/deep"
    folder.mkdir(parents=True)
    (folder / "a\udcff").write_text("")
    deployment = await prepare(desk.prepare_task(existing_execution_folder="mine"))
    assert r"deep/a\xff" in manifest(deployment.folder.work)
    assert Deployment.model_validate_json(deployment.model_dump_json()) == deployment


@pytest.mark.parametrize("words", [{"static_summary": "SAFE"}, {"static_details": "# Approve?"}])
async def test_words_of_the_requester_beside_our_page_are_told(
    words: dict[str, str], prepare: Prepare, desk: Any, client: Client
) -> None:
    name = f"foreign-{next(iter(words))}"
    await client.start_workflow("PythonExecution", id=name, task_queue="nobody", **words)
    assert (await prepare(desk.prepare_task(name))).foreign_details
    assert not (await prepare(desk.prepare_task("plain"))).foreign_details


async def test_without_a_gate_it_is_tried_again(
    running: Any, in_activity: Callable[..., Awaitable[Any]]
) -> None:
    running.gate_socket = Path("/nowhere/gate.sock")
    with pytest.raises(ServiceUnavailableError, match=r"gate\.socket") as raised:
        await in_activity(Preparation(running.house()).prepare, running.prepare_task())
    assert raised.value.service == "gate"
