"""What goes into a kernel as its files, and what comes back, whatever the program left."""

import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from kernels import copying, tree
from kernels.copying import copy_out
from kernels.interface import RunOutcome
from kernels.tree import Stamp, opened_folder
from runpermit.errors import InvalidRequestError

RunProgram = Callable[..., Awaitable[RunOutcome]]
ROOM = 1 << 20


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """A folder such as a program leaves."""
    folder = tmp_path / "left"
    folder.mkdir()
    return folder


def copied(left: Path, work: Path, **sizes: int) -> list[str]:
    known = {"largest": ROOM, "room": ROOM}
    with opened_folder(left) as source:
        return copy_out(source, work, {}, **known | sizes)


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("isolation", ["full", "none"])
async def test_files_go_in_and_what_is_new_or_changed_comes_back(
    run_program: RunProgram, work: Path
) -> None:
    (work / "data").mkdir()
    (work / "data" / "in.txt").write_text("in")
    (work / "same.txt").write_text("same")
    before = (work / "same.txt").stat()
    outcome = await run_program(
        "import os\nresults = {'in': open('data/in.txt').read(), 'files': sorted(os.listdir())}\n"
        "open('data/in.txt', 'a').write('!')\nos.makedirs('a/b')\nopen('a/b/new', 'w').write('n')"
    )
    assert outcome.error is None
    assert outcome.left_out == ()
    assert outcome.results == {"in": "in", "files": ["data", "same.txt"]}
    assert content(work) == {"data/in.txt": "in!", "same.txt": "same", "a/b/new": "n"}
    assert (work / "a/b/new").stat().st_mode & 0o777 == 0o640
    after = (work / "same.txt").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


async def test_a_failed_run_leaves_no_files(run_program: RunProgram, work: Path) -> None:
    outcome = await run_program("open('new', 'w').close(); 1 / 0")
    assert outcome.error is not None
    assert content(work) == {}


async def test_links_and_too_much_are_refused_as_inputs(
    run_program: RunProgram, work: Path
) -> None:
    with (work / "large").open("wb") as file:
        file.truncate(3 * 2**20)
    with pytest.raises(InvalidRequestError, match=r"'large' has more than .* kernels\.work_size"):
        await run_program("results = {}", work_size=2)
    (work / "large").unlink()
    (work / "pipe").symlink_to("/etc/hostname")
    with pytest.raises(InvalidRequestError, match="'pipe'"):
        await run_program("results = {}")


@pytest.mark.parametrize("isolation", ["full", "none"])
async def test_a_program_that_leaves_everything_it_can_think_of(
    run_program: RunProgram, work: Path
) -> None:
    outcome = await run_program(
        "import os, socket\n"
        "os.symlink('/etc/passwd', 'link')\nos.symlink('/etc', 'folder')\nos.mkfifo('pipe')\n"
        "socket.socket(socket.AF_UNIX).bind('socket')\n"
        "open('one', 'w').close()\nos.link('one', 'two')\n"
        "open('huge', 'w').truncate(200 * 2**20)\n"
        "open('line\\nbreak', 'w').close()\nopen(b'\\xff', 'w').close()\n"
        "open('turn\\u202e', 'w').close()\n"
        "os.makedirs('/'.join('d' * 100))\nopen('good', 'w').write('good')\n"
        "os.chmod('good', 0o4777)\nresults = {}",
        work_size=100,
    )
    assert outcome.error is None, outcome.error
    assert content(work) == {"good": "good"}
    assert (work / "good").stat().st_mode & 0o7777 == 0o640
    told = "\n".join(outcome.left_out)
    for name in ("link", "folder", "pipe", "socket", "one", "two", "huge", r"line\nbreak"):
        assert f"'{name}'" in told
    assert "16 folders deep" in told
    assert told.isprintable() or told.replace("\n", "").isascii()


async def test_a_hundred_thousand_files_are_too_many(run_program: RunProgram, work: Path) -> None:
    outcome = await run_program(
        "for n in range(100_000): open(f'{n}', 'w').close()\nresults = {'a': 1}"
    )
    assert outcome.error is None
    assert outcome.results == {"a": 1}
    assert content(work) == {}
    assert "More than 10000 files" in outcome.left_out[-1]


def test_a_folder_that_becomes_a_link_leads_nowhere(left: Path, work: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (left / "a").mkdir()
    (left / "a" / "file").write_text("file")
    with opened_folder(left) as source:
        walk = iter(tree.Tree(source))
        entry = next(walk)
        assert entry.path == "a/file"
        # The open folder is held, wherever its name leads now.
        (left / "a").rename(left / "b")
        (left / "a").symlink_to(outside)
        with tree.opened_file(entry.name, entry.folder, 10) as file:
            assert os.read(file, 10) == b"file"
    told = copied(left, work)
    assert content(work) == {"b/file": "file"}
    assert told == ["'a' was not kept: it is a link."]


def test_what_lies_at_the_destination_redirects_nothing(
    left: Path, work: Path, tmp_path: Path
) -> None:
    victim, other = tmp_path / "victim", tmp_path / "other"
    victim.write_text("safe")
    other.mkdir()
    (left / "f").write_text("new")
    (left / "g").write_text("new")
    (left / "d").mkdir()
    (left / "d" / "f").write_text("new")
    (work / "f").symlink_to(victim)
    (work / "g").hardlink_to(victim)
    (work / "d").symlink_to(other)
    (work / ".runpermit-part").symlink_to(victim)
    told = copied(left, work)
    assert victim.read_text() == "safe"
    assert list(other.iterdir()) == []
    assert (work / "f").read_text() == (work / "g").read_text() == "new"
    assert not (work / "f").is_symlink()
    assert len(told) == 1
    assert "'d/f'" in told[0]


def test_count_size_and_sum_are_bounded(
    left: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "MAX_FILES", 3)
    for name, size in {"a": 40, "b": 61, "c": 50, "d": 20, "e": 5, "f": 5, "g": 1}.items():
        (left / name).write_bytes(bytes(size))
    told = copied(left, work, largest=60, room=100)
    assert set(content(work)) == {"a", "c", "e"}
    assert [line.split()[0] for line in told] == ["'b'", "'d'", "More"]


def test_unchanged_files_and_the_results_are_not_copied(left: Path, work: Path) -> None:
    (left / "same").write_text("same")
    (left / ".results.json").write_text("{}")
    with opened_folder(left) as source:
        before = {"same": Stamp.of((left / "same").stat())}
        assert copy_out(source, work, before, largest=ROOM, room=ROOM) == []
    assert content(work) == {}


def test_special_files_are_told_apart(left: Path) -> None:
    os.mkfifo(left / "pipe")
    (left / "link").symlink_to("pipe")
    (left / "file").touch()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(left / "socket"))
    with opened_folder(left) as source:
        kinds = {entry.path: entry.kind for entry in tree.Tree(source)}
    assert kinds == {"pipe": "named pipe", "link": "link", "file": "file", "socket": "socket"}
