"""Records of the journal as lines for people."""

from typing import Any

import pytest

from runpermit.journal_story import story

AT = "2026-01-01T03:12:05.123456+00:00"


def record(event: str, seq: int = 1, **fields: Any) -> dict[str, Any]:
    return {"seq": seq, "at": AT, "event": event, "execution": "wf", "prev": "0" * 64} | fields


def write(seq: int, **fields: Any) -> dict[str, Any]:
    return record("write", seq, **({"channel": "SR:X", "old": 0.1, "new": 0.3} | fields))


def test_a_write_is_told_with_what_was_noted_of_it_later() -> None:
    told = story(
        [
            write(1),
            write(2, channel="SR:Y"),
            record("confirmed", 3, of=1, outcome="confirmed", read_back=0.3),
            record("confirmed", 4, of=2, outcome="differs", read_back=0.2),
        ]
    )
    assert told == [
        "2026-01-01 03:12:05.123 write SR:X: 0.1 → 0.3, confirmed",
        "2026-01-01 03:12:05.123 write SR:Y: 0.1 → 0.3, DIFFERS, reads 0.2",
    ]


def test_a_write_without_an_end_is_uncertain_and_one_that_stayed_here_is_not() -> None:
    lost, kept = story([write(1), write(2), record("not_forwarded", 3, of=2)])
    assert "NOT CONFIRMED" in lost
    assert kept.endswith("not forwarded")


def test_a_stop_entry_that_the_gate_wrote_is_told_with_its_end() -> None:
    stop = record("stop_write", 1, channel="M.STOP", value=1, stops=["M.VAL"])
    assert story([stop, record("stop_written", 2, of=1)]) == [
        "2026-01-01 03:12:05.123 STOP write M.STOP: 1, written"
    ]
    assert "NOT CONFIRMED" in story([stop])[0]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"event": "refused", "channel": "SR:X", "value": 9, "violation_type": "MAX_EXCEEDED",
          "reason": "9 > 1"}, "REFUSED SR:X = 9: MAX_EXCEEDED, 9 > 1"),
        ({"event": "session_opened", "session": "apply-1", "mode": "apply", "permit": "ab" * 32},
         "session apply-1 opened: apply, permit ababab"),
        ({"event": "session_closed", "session": "apply-1", "forwarded": 2, "refused": 1},
         "session apply-1 closed: 2 forwarded, 1 refused"),
        ({"event": "permit_consumed", "permit": "ab" * 32, "revision": "cd" * 32, "number": 1,
          "issue": 1, "approvals": [{"operator": "jd", "assurance": "claimed"}]},
         "permit ababab consumed: revision cdcdcd, number 1, issue 1, "
         "by jd (approver not verified)"),
        ({"event": "session_closed", "session": "apply-1", "forwarded": 2, "refused": 0,
          "ended": "a guard"}, "session apply-1 closed: 2 forwarded, 0 refused, ended by the gate: "
         "a guard"),
        ({"event": "permit_void", "permit": "ab" * 32, "reason": "never seen"},
         "permit ababab void: never seen"),
        ({"event": "stopped", "operator": "jd", "reason": "beam lost"},
         "STOPPED by jd: beam lost"),
        ({"event": "verdict", "permit": "ab" * 32, "verdict": "partial", "forwarded": 2,
          "reason": ""}, "verdict on permit ababab: partial, 2 forwarded"),
        ({"event": "verified", "channel": "SR:X", "reads": 0.3, "accepted": True,
          "device": "SR:X:RB", "outcome": "not_followed"},
         "verified SR:X: reads 0.3, accepted, SR:X:RB not followed"),
        ({"event": "restore_started", "operator": "jd"}, "restore begun, asked for by jd"),
        ({"event": "restore_started", "operator": "jd", "assurance": "signed", "key": "SHA256:x"},
         "restore begun, asked for by jd (signed SHA256:x)"),
        ({"event": "restore_refused", "operator": None, "reason": "it is not signed"},
         "RESTORE REFUSED, asked for by an unnamed operator: it is not signed"),
        ({"event": "approval_refused", "revision": "cd" * 32, "number": 1, "reason": "unsigned"},
         "NOT OPENED, revision cdcdcd: unsigned"),
        ({"event": "restore_channel", "channel": "SR:X", "reads": 2, "outcome": "another_hand",
          "reason": "it reads 2"}, "put back SR:X: another hand, reads 2, it reads 2"),
        ({"event": "left_alone", "operator": "jd"}, "LEFT AS IT IS by jd"),
        ({"event": "restore_ended", "complete": False, "stopped": "by jd"},
         "restore ended: NOT everything is back, stopped: by jd"),
        ({"event": "odd_thing", "why": ["SR:X"], "left": []}, 'odd thing why=["SR:X"]'),
    ],
)  # fmt: skip
def test_every_event_is_told_in_words_and_an_unknown_one_with_its_fields(
    fields: dict[str, Any], words: str
) -> None:
    [line] = story([record(**fields)])
    assert line == f"2026-01-01 03:12:05.123 {words}"


def test_nothing_foreign_reaches_the_terminal_as_it_came() -> None:
    bad = "\x1b[2J\u202e\n" + "x" * 10_000
    for line in story([write(1, channel=bad, old=bad), record("refused", 2, reason=bad),
                       record("odd", 3, field=bad), {}, {"event": None}]):  # fmt: skip
        assert line.isprintable()
        assert len(line) <= 300
