"""Against the plan: T:FREE was to get 1.2 and then 1.4, from 1.0, and nothing else anything."""

import sys
import time


def _put(channel, value, wait=True):
    import epics

    try:
        return epics.caput(channel, value, wait=wait, timeout=3)
    except BaseException as error:
        print(type(error).__name__, error)


def leave_the_envelope(lab):
    """A value that the limits allow, and the plan does not."""
    _put("T:FREE", 2.5)


def leave_it_downwards(lab):
    """The planned values, from the other side."""
    _put("T:FREE", 0.6)


def leave_it_at_last(lab):
    """The first value as planned, the second one not."""
    _put("T:FREE", 1.2)
    _put("T:FREE", -1.4)


def other_channel(lab):
    """A channel that the limits list, and the plan does not."""
    _put("T:LONG", 7)


def other_field(lab):
    """Another field of the planned record, which bends its value when it is processed."""
    _put("T:FREE.DRVH", 0.5)
    _put("T:FREE.PROC", 1)
    _put("T:FREE.DRVH", 0)  # as the programs after this one expect it


def own_field(lab):
    """The planned record once more, by the name of its field and as text."""
    for name in ("T:FREE", "T:FREE.VAL"):
        _put(name, 1.2)
        _put(name, "1.3")


def too_often(lab):
    """A planned value, again and again."""
    for _ in range(10):
        _put("T:FREE", 1.2)


def too_often_at_once(lab):
    """A planned value by puts that nobody waits for, then one that is waited for."""
    for _ in range(50):
        _put("T:FREE", 1.2, wait=False)
    _put("T:FREE", 1.3)


def too_often_by_many(lab):
    """A planned value by many processes."""
    import subprocess

    child = "import epics; epics.caput('T:FREE', 1.2, wait=True, timeout=3)"
    started = [subprocess.Popen([sys.executable, "-c", child]) for _ in range(4)]
    for process in started:
        process.wait(8)


def after_a_refusal(lab):
    """A planned value, once another one was refused and its error swallowed."""
    _put("T:FREE", 9.0)
    time.sleep(0.5)
    _put("T:FREE", 1.2)
    time.sleep(0.3)


def after_a_refused_channel(lab):
    """Planned values by another circuit, once a channel that is not planned was refused."""
    import subprocess

    _put("T:LONG", 7)
    time.sleep(0.5)
    child = "import epics; epics.caput('T:FREE', 1.2, wait=True, timeout=3)"
    subprocess.run([sys.executable, "-c", child], timeout=8)
    time.sleep(0.3)


def wider_by_declaration(lab):
    """A value that it declares only now, when it is applied."""
    if "plan" in globals():
        plan("T:FREE", -9, 9, 100)
        plan("T:LONG", 0, 100, 100)
    _put("T:FREE", 5.0)
    _put("T:LONG", 7)


def between_the_steps(lab):
    """Infinitely many small steps out of the envelope."""
    for step in range(40):
        _put("T:FREE", 1.4 + 0.03 * step)


def wrong_at_the_edge(lab):
    """Just beyond the tolerance, and what is no number."""
    for value in (1.46, 0.94, float("nan"), float("inf")):
        _put("T:FREE", value)
