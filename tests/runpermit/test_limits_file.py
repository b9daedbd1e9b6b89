import os
import stat
from pathlib import Path

import pytest

from runpermit.errors import ChannelLimitsViolationError, ContainerConfigurationError
from runpermit.limits import LimitsDatabase, LimitsFile, ViolationType

GOOD = '{"A": {"max_value": 10}}'
WIDER = '{"A": {"max_value": 99}}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "limits.json"
    path.write_text(GOOD)
    return path


def refusal(limits: LimitsFile, value: float = 1) -> ChannelLimitsViolationError:
    with pytest.raises(ChannelLimitsViolationError) as caught:
        limits.validator.validate("A", value)
    return caught.value


def age(path: Path, seconds: float = 3600) -> None:
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns - int(seconds * 1e9)))


def test_the_file_judges(path: Path) -> None:
    limits = LimitsFile(path)
    limits.validator.validate("A", 10)
    assert refusal(limits, 11).violation_type is ViolationType.MAX_EXCEEDED
    status = limits.status()
    assert (status.enabled, status.path, status.channels) == (True, str(path), 1)
    assert status.error is None
    assert status.sha256


def test_a_change_counts_at_the_next_write(path: Path) -> None:
    limits = LimitsFile(path)
    before = limits.status().sha256
    path.write_text(WIDER)
    limits.validator.validate("A", 50)
    assert limits.status().sha256 != before


def test_a_change_that_keeps_size_and_modification_time_counts(path: Path) -> None:
    limits = LimitsFile(path)
    assert refusal(limits, 50).violation_type is ViolationType.MAX_EXCEEDED
    found = path.stat()
    path.write_text(WIDER)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    limits.validator.validate("A", 50)


def test_a_change_within_one_tick_of_a_coarse_clock_counts(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runpermit.limits.file._stamp", lambda _: (1, 1, 1, 1, 1))
    limits = LimitsFile(path)
    assert refusal(limits, 50).violation_type is ViolationType.MAX_EXCEEDED
    path.write_text(WIDER)
    limits.validator.validate("A", 50)


def test_a_file_put_in_its_place_counts(path: Path, tmp_path: Path) -> None:
    limits = LimitsFile(path)
    assert refusal(limits, 50).violation_type is ViolationType.MAX_EXCEEDED
    new = tmp_path / "new.json"
    new.write_text(WIDER)
    age(new)
    new.replace(path)
    limits.validator.validate("A", 50)


def test_a_settled_file_is_not_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A change's age can't be forged through ctime, so the clock is moved instead.
    monkeypatch.setattr("runpermit.limits.file.time.time", lambda: path.stat().st_ctime + 60)
    limits = LimitsFile(path)
    first = limits.validator
    reads: list[Path] = []
    monkeypatch.setattr(Path, "read_bytes", lambda self: reads.append(self) or GOOD.encode())
    assert limits.validator is first
    assert reads == []


def test_the_same_content_written_again_keeps_the_validator(path: Path) -> None:
    limits = LimitsFile(path)
    first = limits.validator
    path.write_text(GOOD)
    assert limits.validator is first


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ('{\n"A": {"max_value": 10,}}', "line 2, column"),
        ('{"A": {"max_valeu": 10}}', 'entry "A", field max_valeu'),
        ("", "line 1"),
    ],
)
def test_cases_12_and_13_a_broken_file_refuses_all_writes_until_it_is_mended(
    path: Path, broken: str, says: str
) -> None:
    limits = LimitsFile(path, allow_unlisted=True)
    limits.validator.validate("A", 1)
    path.write_text(broken)
    error = refusal(limits)
    assert error.violation_type is ViolationType.LIMITS_UNAVAILABLE
    assert says in str(error)
    assert str(path) in str(error)
    status = limits.status()
    assert (status.sha256, status.channels) == (None, 0)
    assert status.error is not None
    assert says in status.error
    path.write_text(GOOD)
    limits.validator.validate("A", 1)
    assert limits.status().error is None


def test_case_13_a_missing_file_refuses_all_writes_until_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "limits.json"
    limits = LimitsFile(path)
    error = refusal(limits)
    assert error.violation_type is ViolationType.LIMITS_UNAVAILABLE
    assert str(path) in str(error)
    assert "No such file" in str(error)
    path.write_text(GOOD)
    limits.validator.validate("A", 1)


def test_case_13_a_file_that_vanishes_refuses_all_writes(path: Path) -> None:
    limits = LimitsFile(path)
    limits.validator.validate("A", 1)
    path.unlink()
    assert refusal(limits).violation_type is ViolationType.LIMITS_UNAVAILABLE


def test_case_13_enabled_without_a_path_refuses_all_writes_and_names_the_setting() -> None:
    limits = LimitsFile(None, allow_unlisted=True)
    error = refusal(limits)
    assert error.violation_type is ViolationType.LIMITS_UNAVAILABLE
    assert "[limits] file is not set" in str(error)
    assert limits.status().error is not None


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_refuses_all_writes_without_blocking(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "limits.json"
    if kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    assert not stat.S_ISREG(path.stat().st_mode)
    assert "no regular file" in str(refusal(LimitsFile(path)))


def test_case_14_limits_switched_off_say_so(path: Path) -> None:
    limits = LimitsFile(path, enabled=False)
    limits.validator.validate("A", 1e9)
    assert limits.status().enabled is False
    assert limits.status().channels == 1
    without_file = LimitsFile(None, enabled=False)
    without_file.validator.validate("A", 1e9)
    assert without_file.status().error is None
    assert refusal(without_file, float("nan")).violation_type is ViolationType.INVALID_VALUE


def test_half_a_character_refuses_all_writes(path: Path) -> None:
    path.write_text(r'{"A": {"description": "\ud800"}}')
    limits = LimitsFile(path)
    assert 'entry "A", field description' in (limits.status().error or "")
    assert limits.status().model_dump_json()
    assert refusal(limits).violation_type is ViolationType.LIMITS_UNAVAILABLE


def test_any_error_while_loading_refuses_all_writes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> LimitsDatabase:
        raise ValueError("odd \ud800")

    monkeypatch.setattr(LimitsDatabase, "from_bytes", fail)
    limits = LimitsFile(path)
    assert "odd" in str(refusal(limits))
    assert limits.status().model_dump_json()


def test_a_pipe_swapped_in_after_the_look_refuses_without_blocking(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    regular = path.stat()
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(Path, "stat", lambda _: regular)
    assert "no regular file" in str(refusal(LimitsFile(path)))


def test_a_huge_file_refuses_all_writes(path: Path) -> None:
    os.truncate(path, 10 * 1024**3)
    assert "larger than 32 MB" in str(refusal(LimitsFile(path)))
    with pytest.raises(ContainerConfigurationError, match="larger than 32 MB"):
        LimitsDatabase.load(path)
