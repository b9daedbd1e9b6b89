"""What is in the repository: locks that anybody can install, and nothing of the machine here."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
THIS = Path(__file__).relative_to(ROOT)
LOCKS = sorted((ROOT / "locks").glob("*.txt"))
PLACES = re.compile(r"(?<![\w.~/-])/(?:work|root)/[\w.]")
HOSTS = re.compile(
    r"\b(?:files\.)?(?:pythonhosted\.org|pypi\.org)\b|\b(?:--)?(?:extra-)?index-url\s*[= ]\s*http"
)


def tracked() -> list[Path]:
    try:
        done = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no clone")
    return [Path(name) for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def texts() -> dict[Path, str]:
    found = {}
    for path in tracked():
        content = (ROOT / path).read_bytes()
        if b"\0" not in content and path != THIS:
            found[path] = content.decode()
    return found


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_requirement_of_a_lock_has_one_version_and_a_hash(lock: Path) -> None:
    text = lock.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip()]
    requirements = [line for line in lines if not line.lstrip().startswith("#")]
    assert len(requirements) > 10
    for requirement in requirements:
        assert re.match(r"[a-z0-9][a-z0-9.\-_]*==[^\s;*]+ ", requirement), requirement
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", requirement), requirement


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_holds_no_address(lock: Path) -> None:
    assert re.search(r"://|--index-url|--find-links|--trusted-host| @ ", lock.read_text()) is None


def test_both_locks_agree() -> None:
    versions = [
        set(re.findall(r"^([\w.\-]+==\S+)", lock.read_text(), re.MULTILINE)) for lock in LOCKS
    ]
    names = [{requirement.partition("==")[0] for requirement in lock} for lock in versions]
    demo, dev = (next(i for i, lock in enumerate(LOCKS) if lock.stem == s) for s in ("demo", "dev"))
    assert names[demo] <= names[dev]
    assert versions[demo] <= versions[dev]


def test_no_file_names_a_folder_of_this_machine() -> None:
    found = [
        f"{path}:{number}: {line.strip()[:100]}"
        for path, text in texts().items()
        for number, line in enumerate(text.splitlines(), 1)
        if PLACES.search(line)
    ]
    assert found == []


def test_no_file_names_a_package_registry() -> None:
    assert [str(path) for path, text in texts().items() if HOSTS.search(text)] == []


def test_what_commands_make_is_not_tracked() -> None:
    made = (".venv/", "demo-run/", "__pycache__/", ".pytest_cache/", ".hypothesis/")
    assert [path for path in tracked() if any(name in f"{path}/" for name in made)] == []


def test_the_scripts_that_everything_starts_with_can_be_executed() -> None:
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
