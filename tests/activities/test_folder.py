import errno
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from activities import folder as folder_module
from activities.folder import (
    disk,
    existing_folder_path,
    load_request,
    make_folders,
    new_folder_path,
    write_whole,
)
from runpermit.errors import (
    ContainerConfigurationError,
    InvalidRequestError,
    ServiceUnavailableError,
)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_a_folder_has_month_name_and_an_id_of_the_execution(desk: Any) -> None:
    path = new_folder_path(desk.root, desk.prepare_task())
    assert path.parent == desk.root / "2026-10"
    assert path.name.startswith("beam_")
    assert len(path.name.removeprefix("beam_")) == 8
    assert int(path.name.removeprefix("beam_"), 16) >= 0


def test_the_same_execution_has_the_same_folder_and_no_other_has_it(desk: Any) -> None:
    path = new_folder_path(desk.root, desk.prepare_task("a", "1"))
    assert new_folder_path(desk.root, desk.prepare_task("a", "1")) == path
    others = {
        new_folder_path(desk.root, desk.prepare_task(*ids))
        for ids in [("a", "2"), ("b", "1"), ("a1", ""), ("", "a1")]
    }
    assert path not in others
    assert len(others) == 4


def test_the_month_is_that_of_the_workflow_s_start_in_utc(desk: Any) -> None:
    task = desk.prepare_task().model_copy(
        update={"started_at": datetime(2027, 1, 1, 0, 0, tzinfo=UTC)}
    )
    assert new_folder_path(desk.root, task).parent.name == "2027-01"


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_folders_and_files_have_their_modes_whatever_the_umask(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        make_folders(tmp_path / "a", tmp_path / "a/b")
        write_whole(tmp_path / "a/b/c", "text")
    finally:
        os.umask(before)
    assert (mode(tmp_path / "a"), mode(tmp_path / "a/b")) == (0o750, 0o750)
    assert mode(tmp_path / "a/b/c") == 0o640


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)
    make_folders(tmp_path)
    assert mode(tmp_path) == 0o2770


def test_a_file_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    write_whole(path, "first")
    write_whole(path, b"second")
    assert path.read_text() == "second"

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(folder_module.os, "fsync", full)
    with pytest.raises(ServiceUnavailableError, match="disk is full"):
        write_whole(path, "third")
    assert path.read_text() == "second"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    link = tmp_path / "link"
    link.symlink_to(target)
    write_whole(link, "ours")
    assert target.read_text() == "precious"
    assert not link.is_symlink()


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, ServiceUnavailableError),
        (errno.EDQUOT, ServiceUnavailableError),
        (errno.EIO, ServiceUnavailableError),
        (errno.ESTALE, ServiceUnavailableError),
        (errno.EROFS, ContainerConfigurationError),
        (errno.EACCES, ContainerConfigurationError),
        (errno.EPERM, ContainerConfigurationError),
        (errno.ENOTDIR, ContainerConfigurationError),
        (errno.EEXIST, ContainerConfigurationError),
        (errno.EISDIR, ContainerConfigurationError),
        (errno.ENOENT, ContainerConfigurationError),
        (errno.ELOOP, ContainerConfigurationError),
    ],
)
def test_a_disk_error_tells_file_reason_and_whether_to_try_again(
    number: int, kind: type[Exception]
) -> None:
    with pytest.raises(kind) as raised, disk(Path("/some/file")):
        raise OSError(number, os.strerror(number))
    assert "/some/file" in str(raised.value)
    assert os.strerror(number) in str(raised.value)
    assert raised.value.technical_details == {"path": "/some/file", "errno": number}  # type: ignore[attr-defined]


def test_a_file_in_the_place_of_a_folder_is_no_outage(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(ContainerConfigurationError, match=r"executions\.root"):
        make_folders(tmp_path / "a")


def test_an_existing_folder_is_found_by_name_or_by_path(desk: Any) -> None:
    path = desk.root / "2026-10" / "mine"
    path.mkdir(parents=True)
    assert existing_folder_path(desk.root, "2026-10/mine") == path
    assert existing_folder_path(desk.root, str(path)) == path
    assert existing_folder_path(desk.root, "2026-10/../2026-10/./mine") == path


@pytest.fixture
def hostile(desk: Any, tmp_path: Path) -> Any:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "executions-2").mkdir()
    (desk.root / "link-out").symlink_to(outside)
    (desk.root / "loop").symlink_to(desk.root / "loop")
    (desk.root / "up").symlink_to("..")
    (desk.root / "file").write_text("")
    for place in ("attempts", "work"):
        (desk.root / f"linked-{place}").mkdir()
        (desk.root / f"linked-{place}" / place).symlink_to(outside)
    return desk


@pytest.mark.parametrize(
    "name",
    [
        ".",
        "..",
        "../outside",
        "../executions-2",
        "x/../../outside",
        "/",
        "/etc",
        "~",
        "link-out",
        "up/outside",
        "loop",
        "file",
        "missing",
        "nul\0",
        "long" * 1000,
        "linked-attempts",
        "linked-work",
    ],
)
def test_what_is_no_folder_of_its_own_below_the_root_is_refused(hostile: Any, name: str) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        existing_folder_path(hostile.root, name)
    assert raised.value.field == "existing_execution_folder"
    assert len(raised.value.message) < 600


@pytest.mark.parametrize("name", ["2026-10/beam_1/work", "2026-10/beam_1/work/deep", "2026-10"])
def test_a_folder_in_or_around_an_execution_s_is_refused(desk: Any, name: str) -> None:
    (desk.folder().work / "deep").mkdir()
    assert existing_folder_path(desk.root, "2026-10/beam_1") == desk.root / "2026-10/beam_1"
    with pytest.raises(InvalidRequestError, match="another execution"):
        existing_folder_path(desk.root, name)


def test_a_root_behind_a_link_works(desk: Any, tmp_path: Path) -> None:
    (desk.root / "mine").mkdir()
    (tmp_path / "link").symlink_to(desk.root)
    assert existing_folder_path(tmp_path / "link", "mine") == desk.root / "mine"


def test_the_stored_request_is_read_back(desk: Any) -> None:
    folder = desk.folder(capability_context_data={"x": [1, 2.5, "ü"]})
    assert load_request(folder).capability_context_data == {"x": [1, 2.5, "ü"]}


@pytest.mark.parametrize(
    "content", [b"", b"no json", b"\xff", b"{}", None], ids=["empty", "text", "bytes", "{}", "gone"]
)
def test_a_stored_request_that_is_not_the_one_that_came_is_refused(
    desk: Any, content: bytes | None
) -> None:
    folder = desk.folder()
    path = folder.path / "request.json"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(ContainerConfigurationError, match=r"request\.json"):
        load_request(folder)


def test_a_stored_request_with_another_task_is_refused(desk: Any) -> None:
    folder = desk.folder()
    other = desk.request(task_objective="Something else.")
    (folder.path / "request.json").write_text(other.model_dump_json())
    with pytest.raises(ContainerConfigurationError, match="was changed"):
        load_request(folder)


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "figures").symlink_to(tmp_path / "outside")
    with pytest.raises(ContainerConfigurationError, match="figures is a link"):
        make_folders(tmp_path / "figures")
