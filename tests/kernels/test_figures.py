import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from kernels import folder
from kernels.folder import with_unique_names
from kernels.interface import Figure, RunOutcome
from kernels.tree import Stamp, Stamps, opened_folder
from runpermit.errors import CodeRuntimeError

RunProgram = Callable[..., Awaitable[RunOutcome]]
PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"


def take_figures(work: Path, before: Stamps) -> tuple[list[Figure], list[str]]:
    with opened_folder(work) as descriptor:
        return folder.take_figures(descriptor, before)


def take_results(work: Path, name: str, sha256: str) -> dict[str, Any]:
    with opened_folder(work) as descriptor:
        return folder.take_results(descriptor, name, sha256)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["", "import matplotlib; matplotlib.use('agg')"])
async def test_open_figures_and_saved_images_are_collected(
    run_program: RunProgram, backend: str
) -> None:
    outcome = await run_program(
        f"{backend}\nimport matplotlib.pyplot as plt\n"
        "plt.plot([1, 2])\nplt.figure()\nplt.plot([2, 1])\n"
        "plt.savefig('orbit plot.png')\nresults = {'f': plt.gcf()}"
    )
    assert outcome.error is None
    assert outcome.results == {"f": {"_type": "matplotlib_figure"}}
    assert [f.name for f in outcome.figures] == [
        "figure_01.png",
        "figure_02.png",
        "orbit_plot.png",
    ]
    assert all(f.content.startswith(PNG) for f in outcome.figures)
    assert outcome.stdout == ""


@pytest.mark.slow
async def test_a_figure_of_a_program_that_failed_is_kept(run_program: RunProgram) -> None:
    outcome = await run_program("import matplotlib.pyplot as plt\nplt.plot([1, 2])\n1 / 0")
    assert isinstance(outcome.error, CodeRuntimeError)
    assert [f.name for f in outcome.figures] == ["figure_01.png"]


def test_images_are_known_by_content_and_get_plain_names(work: Path) -> None:
    (work / "plots").mkdir()
    (work / "plots" / "a b\n.PNG").write_bytes(PNG)
    (work / "photo.jpeg").write_bytes(JPEG)
    (work / "text.png").write_text("no image")
    (work / "data.csv").write_bytes(PNG)
    figures, left_out = take_figures(work, {})
    assert [f.name for f in figures] == ["photo.jpeg", "plots_a_b_.png"]
    assert len(left_out) == 1
    assert "text.png" in left_out[0]


@pytest.mark.timeout(10)
def test_links_pipes_and_folders_are_not_followed(work: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(PNG + b"secret")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.png").write_bytes(PNG)
    (work / "link.png").symlink_to(secret)
    (work / "hard.png").hardlink_to(secret)
    (work / "folder").symlink_to(outside)
    os.mkfifo(work / "pipe.png")
    figures, left_out = take_figures(work, {})
    assert figures == []
    assert len(left_out) == 3


def test_count_and_size_of_images_are_bounded(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "MAX_FIGURES", 3)
    monkeypatch.setattr(folder, "MAX_FIGURE_BYTES", 100)
    (work / "big.png").write_bytes(PNG + bytes(100))
    for number in range(5):
        (work / f"f{number}.png").write_bytes(PNG)
    figures, left_out = take_figures(work, {})
    assert [f.name for f in figures] == ["f0.png", "f1.png", "f2.png"]
    assert "more than 100 bytes" in left_out[0]
    assert "More than 3 image files" in left_out[1]


def test_images_that_were_there_before_are_no_figures_of_the_run(work: Path) -> None:
    (work / "old.png").write_bytes(PNG)
    (work / "changed.png").write_bytes(PNG)
    before = {name: Stamp.of((work / name).stat()) for name in ("old.png", "changed.png")}
    (work / "changed.png").write_bytes(PNG + b"new")
    assert [f.name for f in take_figures(work, before)[0]] == ["changed.png"]


def test_equal_names_are_told_apart() -> None:
    figures = with_unique_names(
        [Figure("a.png", b"1"), Figure("A.png", b"2"), Figure("a.png", b"")]
    )
    assert [f.name for f in figures] == ["a.png", "A_2.png", "a_3.png"]


def test_results_are_not_read_through_a_link(work: Path, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    (work / "r.json").symlink_to(tmp_path / "other.json")
    with pytest.raises(OSError, match="symbolic links"):
        take_results(work, "r.json", "")


@pytest.mark.parametrize(
    ("content", "said"), [("[]", "no JSON object"), ('{"a": NaN}', "NaN is not JSON")]
)
def test_results_that_are_no_strict_json_object_are_refused(
    work: Path, content: str, said: str
) -> None:
    (work / "r.json").write_text(content)
    sha256 = folder.hashlib.sha256(content.encode()).hexdigest()
    with pytest.raises(ValueError, match=said):
        take_results(work, "r.json", sha256)


def test_results_other_than_the_kernel_reported_are_refused(work: Path) -> None:
    (work / "r.json").write_text("{}")
    with pytest.raises(ValueError, match="not what the kernel reported"):
        take_results(work, "r.json", "0" * 64)
