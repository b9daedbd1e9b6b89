import hashlib
import os
import socket
from pathlib import Path

import pytest

from activities.inputs import manifest
from runpermit.errors import InvalidRequestError


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_every_input_file_is_listed_with_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "context.json").write_bytes(b"{}")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / ".hidden ü").write_bytes(b"1")
    assert manifest(tmp_path) == {"context.json": sha256(b"{}"), "data/.hidden ü": sha256(b"1")}


def test_an_empty_folder_has_no_inputs(tmp_path: Path) -> None:
    assert manifest(tmp_path) == {}


@pytest.mark.timeout(10)
def test_pipes_and_sockets_are_no_inputs_and_block_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "socket"))
        assert manifest(tmp_path) == {}


@pytest.mark.parametrize("target", ["outside", ".", "nowhere", "/dev/zero"])
def test_a_link_can_not_be_bound(target: str, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("0.1")
    work = tmp_path / "work"
    work.mkdir()
    (work / "setting").symlink_to(tmp_path / target)
    with pytest.raises(InvalidRequestError, match="setting is a link"):
        manifest(work)


def test_more_than_an_approval_can_bind_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 41)
    with pytest.raises(InvalidRequestError, match="1 GiB"):
        manifest(tmp_path)


def test_a_changed_added_or_renamed_file_changes_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    seen = [manifest(tmp_path)]
    (tmp_path / "a").write_text("2")
    seen.append(manifest(tmp_path))
    (tmp_path / "b").write_text("2")
    seen.append(manifest(tmp_path))
    (tmp_path / "b").rename(tmp_path / "c")
    seen.append(manifest(tmp_path))
    assert all(seen.count(one) == 1 for one in seen)


def test_many_files_are_one_digest_that_changes_with_any_of_them(tmp_path: Path) -> None:
    for number in range(600):
        (tmp_path / f"{number:03}").write_text("")
    before = manifest(tmp_path)
    assert list(before) == ["600 files"]
    (tmp_path / "599").write_text("x")
    assert manifest(tmp_path) != before


def test_long_names_do_not_make_it_large(tmp_path: Path) -> None:
    for number in range(150):
        (tmp_path / f"{number:03}{'x' * 250}").write_text("")
    assert list(manifest(tmp_path)) == ["150 files"]


def test_names_that_are_no_utf_8_are_shown_as_escapes_and_stay_distinct(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"a\xff")).write_text("1")
    (tmp_path / "a\\xff").write_text("2")
    assert manifest(tmp_path) == {r"a\xff": sha256(b"1"), r"a\\xff": sha256(b"2")}
