"""The records of the demo's soft IOC: what the ring and its devices show, and what moves them."""

import asyncio
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from demo import optics
from demo.devices import (
    DETUNING_PER_MM,
    RAMP_POINTS,
    RAMP_RANGE,
    RAMP_START,
    SLIT_RANGE,
    SLIT_START,
    TUNER_RANGE,
    TUNER_START,
    Slit,
    Tuner,
)

MODES = ("Shutdown", "Injection", "User", "Machine Study")
Advance = Callable[[float], None]


def build_records(builder: ModuleType, ring: optics.StorageRing) -> Advance:
    """Create the records of the ring and return the function that moves it by some seconds.

    `builder` is softioc's, passed in because it can be imported only once EPICS is configured.
    """
    builder.SetDeviceName("SR")
    parts = [
        _beam(builder, ring),
        _settings(builder),
        _ramp(builder),
        _slit(builder),
        _tuner(builder),
        _interlock(builder),
    ]

    def advance(seconds: float) -> None:
        for part in parts:
            part(seconds)

    return advance


def _beam(builder: ModuleType, ring: optics.StorageRing) -> Advance:
    """Beam, orbit and correctors."""
    beam_current = builder.aIn("BEAM:CURRENT", EGU="mA", PREC=3, DESC="Stored electron current")
    lifetime = builder.aIn("BEAM:LIFETIME", EGU="h", PREC=2, DESC="Beam lifetime")
    setpoints = [
        builder.aOut(
            f"HCM{number}:SP",
            DRVL=-10.0,
            DRVH=10.0,
            EGU="A",
            PREC=4,
            initial_value=float(start),
            DESC=f"Horizontal corrector {number} setpoint",
        )
        for number, start in enumerate(optics.CORRECTOR_START, 1)
    ]
    for number, setpoint in enumerate(setpoints, 1):
        _count(builder, setpoint, f"HCM{number}:PUTS")
    readbacks = [
        builder.aIn(f"HCM{number}:RB", EGU="A", PREC=4, DESC=f"Corrector {number} readback")
        for number in range(1, len(setpoints) + 1)
    ]
    bpms = [
        builder.aIn(f"BPM{number}:X", EGU="mm", PREC=4, DESC=f"Horizontal position at BPM {number}")
        for number in range(1, optics.BPM_POSITIONS.size + 1)
    ]
    orbit = builder.WaveformIn(
        "ORBIT:WAVEFORM", ring.orbit(), EGU="mm", PREC=4, DESC="Horizontal orbit around the ring"
    )
    builder.WaveformIn(
        "ORBIT:S", optics.ORBIT_POINTS, EGU="m", PREC=2, DESC="Places of ORBIT:WAVEFORM"
    )

    def advance(seconds: float) -> None:
        ring.step(seconds, np.array([setpoint.get() for setpoint in setpoints]))
        beam_current.set(ring.measured_beam_current())
        lifetime.set(ring.lifetime)
        for record, value in zip(readbacks, ring.readbacks(), strict=True):
            record.set(float(value))
        for record, value in zip(bpms, ring.bpm_readings(), strict=True):
            record.set(float(value))
        orbit.set(ring.orbit())

    return advance


def _settings(builder: ModuleType) -> Advance:
    """What is set and moves nothing: the machine's mode, and the operators' note."""
    mode = builder.mbbOut("MODE", *MODES, initial_value=MODES.index("User"), DESC="Machine mode")
    note = builder.stringOut("OPERATOR:NOTE", initial_value="", DESC="Note of the operator")
    _count(builder, mode, "MODE:PUTS")
    _count(builder, note, "OPERATOR:NOTE:PUTS")
    return _nothing


def _ramp(builder: ModuleType) -> Advance:
    """The RF voltage during injection, one array."""
    ramp = builder.WaveformOut(
        "RF:RAMP",
        np.array(RAMP_START),
        length=RAMP_POINTS,
        EGU="MV",
        PREC=3,
        LOPR=RAMP_RANGE[0],
        HOPR=RAMP_RANGE[1],
        DESC="RF voltage during injection",
    )
    _count(builder, ramp, "RF:RAMP:PUTS")
    return _nothing


def _slit(builder: ModuleType) -> Advance:
    """A motor whose put callback comes when it has arrived, seconds later."""
    slit, arrived = Slit(), asyncio.Event()

    async def move(target: float) -> None:
        # Here and not by a forward link, which a motor follows only once it has arrived.
        puts.set(puts.get() + 1)
        slit.target = target
        arrived.clear()
        moving.set(slit.moving)
        if slit.moving:
            await arrived.wait()

    def halt(wanted: int) -> None:
        if wanted:
            slit.stop()

    builder.aOut(
        "SLIT:POS",
        *SLIT_RANGE,
        EGU="mm",
        PREC=3,
        initial_value=SLIT_START,
        on_update=move,
        always_update=True,
        blocking=True,
        DESC="Position of the slit",
    )
    puts = builder.longIn("SLIT:POS:PUTS", initial_value=0, DESC="Puts received")
    readback = builder.aIn("SLIT:RB", EGU="mm", PREC=3, DESC="Measured position of the slit")
    moving = builder.boolIn("SLIT:MOVING", ZNAM="Still", ONAM="Moving", initial_value=0)
    stop = builder.boolOut(
        "SLIT:STOP", ZNAM="Go", ONAM="Stop", on_update=halt, always_update=True, initial_value=0
    )
    _count(builder, stop, "SLIT:STOP:PUTS")

    def advance(seconds: float) -> None:
        slit.step(seconds)
        readback.set(slit.position)
        if not slit.moving:
            moving.set(0)
            arrived.set()

    return advance


def _tuner(builder: ModuleType) -> Advance:
    """A cavity's tuner. A feedback of the IOC moves it, whatever anybody else sets."""
    tuner = Tuner()
    low, high = TUNER_RANGE
    setpoint = builder.records.ao(
        "TUNER:SP",
        VAL=TUNER_START,
        PINI="YES",
        DRVL=low,
        DRVH=high,
        LOPR=low,
        HOPR=high,
        EGU="mm",
        PREC=4,
        DESC="Position of the cavity's tuner",
    )
    optimum = builder.aIn("TUNER:OPTIMUM", EGU="mm", PREC=4, initial_value=TUNER_START)
    builder.records.calcout(
        "TUNER:FEEDBACK",
        SCAN=".1 second",
        CALC="A+0.3*(B-A)",
        INPA="SR:TUNER:SP",
        INPB="SR:TUNER:OPTIMUM",
        OUT="SR:TUNER:SP PP",
        DISP=1,
        DESC="Moves the tuner by itself",
    )
    builder.records.calc(
        "TUNER:DETUNING",
        CALC=f"{DETUNING_PER_MM}*(A-B)",
        INPA="SR:TUNER:SP CP",
        INPB="SR:TUNER:OPTIMUM",
        EGU="kHz",
        PREC=3,
        DISP=1,
        DESC="Detuning of the cavity",
    )
    # PUTF is set where a client's put has made the record process, and not by the feedback.
    setpoint.FLNK = builder.records.calc(
        "TUNER:PUTS", CALC="VAL+A", INPA="SR:TUNER:SP.PUTF", DISP=1, DESC="Puts received"
    )

    def advance(seconds: float) -> None:
        tuner.step(seconds)
        optimum.set(tuner.optimum)

    return advance


def _interlock(builder: ModuleType) -> Advance:
    """What a test, or an operator at the IOC, can trip: SR:INTERLOCK:TRIP drives SR:INTERLOCK."""
    interlock = builder.boolIn("INTERLOCK", ZNAM="OK", ONAM="Tripped", initial_value=0)
    builder.boolOut(
        "INTERLOCK:TRIP", ZNAM="OK", ONAM="Tripped", on_update=interlock.set, initial_value=0
    )
    return _nothing


def _count(builder: ModuleType, record: Any, counter: str) -> None:  # noqa: ANN401  (softioc's)
    """Counted by the IOC itself: what a client believes to have written proves nothing."""
    record.FLNK = builder.records.calc(counter, CALC="VAL+1", DISP=1, DESC="Puts received")


def _nothing(_seconds: float) -> None:
    """Stand still."""
