import hashlib
import os
import socket
from pathlib import Path

import pytest

from activities.inputs import manifest


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
def test_links_pipes_sockets_and_devices_are_no_inputs_and_block_nothing(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("x")
    (work / "link").symlink_to(tmp_path / "outside" / "secret")
    (work / "folder").symlink_to(tmp_path / "outside")
    (work / "loop").symlink_to(work)
    (work / "broken").symlink_to("nowhere")
    (work / "null").symlink_to("/dev/zero")
    os.mkfifo(work / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(work / "socket"))
        assert manifest(work) == {}


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
