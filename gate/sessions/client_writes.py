"""The way of a client's writes: held back until each is judged, then forwarded or refused."""

import asyncio
import json
from typing import TYPE_CHECKING

import structlog

from gate.channel_access.frames import (
    ECA_PUTFAIL,
    BadFrameError,
    Command,
    Frame,
    pack,
    text_payload,
)
from gate.channel_access.ioc_circuit import IocCircuit, IocLostError
from gate.channel_access.records import UnknownRecordError, identify
from gate.channel_access.values import Received
from gate.eager import begin
from gate.messages import Refusal, SessionMode, WriteRecord
from gate.policy.attempt import Attempted
from gate.sessions.client_channels import REFUSAL_BYTES, Channel, refuse_own
from runpermit.limits import ViolationType

if TYPE_CHECKING:
    from gate.sessions.client_circuit import ClientCircuit

log = structlog.get_logger()


class ClientWrites:
    """Has the writes of `circuit` judged, one after the other."""

    def __init__(self, circuit: "ClientCircuit") -> None:
        self._circuit = circuit
        self._session = circuit.session
        self._loop = asyncio.get_running_loop()
        self._judging = False
        self._flights = 0
        self._callbacks: dict[int, tuple[IocCircuit, asyncio.Future[bool]]] = {}

    @property
    def judging(self) -> bool:
        """Whether one is being judged: what the client says meanwhile waits."""
        return self._judging

    @property
    def under_way(self) -> bool:
        """Whether one has not come to its end."""
        return self._judging or bool(self._flights)

    def write(self, frame: Frame) -> None:
        """Have a write judged."""
        refuse_own(frame.p2)
        if frame.command == Command.WRITE_NOTIFY and frame.p2 in self._callbacks:
            raise BadFrameError(f"the id {frame.p2:#x} of a put callback is still in use")
        channel = self._circuit.channels.opened(frame)
        if channel is None:
            return
        self._judging = True
        task = begin(self._judge(channel, frame))
        if task is not None:
            self._session.judging(task)

    def answered(self, ioid: int, *, by_ioc: bool) -> None:
        """A put callback has come to its end, or nobody hears it any more."""
        _, answered = self._callbacks.pop(ioid, (None, None))
        if answered is not None and not answered.done():
            answered.set_result(by_ioc)

    def lost(self, ioc: IocCircuit) -> None:
        """No put callback of this IOC is heard any more."""
        for ioid in [ioid for ioid, (asked, _) in self._callbacks.items() if asked is ioc]:
            self.answered(ioid, by_ioc=False)

    def end(self) -> None:
        """Nobody hears any put callback any more."""
        for ioid in list(self._callbacks):
            self.answered(ioid, by_ioc=False)

    async def _judge(self, channel: Channel, frame: Frame) -> None:
        """Have a write judged; what the client says meanwhile waits, so that the order is kept."""
        refusal: Refusal | None = None
        try:
            refusal = await self._judged(channel, frame)
        except Exception:
            # What nobody foresaw must not leave the client waiting, nor the write unanswered.
            log.exception("a write could not be judged", channel=channel.name)
            refusal = self._refuse(
                attempted(channel, frame),
                ViolationType.NOT_ALLOWED,
                "the gate could not judge it: see the gate's log",
            )
        finally:
            if refusal is not None:
                self._session.refused(refusal)
                await self._session.slow_down()
                self._circuit.say(_refusal_frames(channel, frame, refusal))
            # Whoever is at work on this circuit's frames comes to its end before the next one.
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._judging = False
        self._circuit.close_if_done()
        self._circuit.take_turn()

    async def _judged(self, channel: Channel, frame: Frame) -> Refusal | None:
        session = self._session
        notify = frame.command == Command.WRITE_NOTIFY
        write = attempted(channel, frame, self._loop.create_future() if notify else None)
        if session.opening.mode is not SessionMode.APPLY:
            return self._refuse(
                write,
                ViolationType.NOT_ALLOWED,
                f"this run is {session.opening.mode}, in which nothing may be written",
            )
        try:
            if channel.record is None:
                channel.record = await identify(
                    channel.ioc, channel.name, write.sid, channel.dtype, channel.count
                )
        except (UnknownRecordError, IocLostError) as error:
            return self._refuse(write, ViolationType.LIMITS_UNAVAILABLE, str(error))

        def message(received: Received) -> bytes:
            if write.answered is not None:
                self._callbacks[frame.p2] = channel.ioc, write.answered
            return pack(
                frame.command,
                received.dtype,
                received.count,
                write.sid,
                frame.p2,
                received.payload,
            )

        writer = session.shared.writer
        done = await writer.write(session, channel.ioc, channel.record, write, message)
        if isinstance(done, Refusal):
            return done
        session.forwarded(done, write.answered)
        self._flights += 1
        done.add_done_callback(self._landed)
        return None

    def _refuse(self, write: Attempted, kind: ViolationType, reason: str) -> Refusal:
        return self._session.shared.writer.refuse(self._session, write, kind, reason)

    def _landed(self, flight: asyncio.Task[WriteRecord]) -> None:
        del flight
        self._flights -= 1
        self._circuit.close_if_done()


def attempted(
    channel: Channel, frame: Frame, answered: asyncio.Future[bool] | None = None
) -> Attempted:
    """The write that a frame is."""
    sid = channel.sid or 0
    return Attempted(channel.name, sid, frame.dtype, frame.count, frame.payload, answered)


def _refusal_frames(channel: Channel, frame: Frame, refusal: Refusal) -> bytes:
    """What the client hears: an error with the refusal in its text, then the put's own failure.

    The error looks like one of a plain put in both cases, since libca passes those on to the
    program's handler, text and all, while a failed put callback tells a number alone.
    """
    text = json.dumps({"runpermit": refusal.model_dump(mode="json")}, allow_nan=False)
    if len(text) > REFUSAL_BYTES:
        bounded = refusal.model_copy(update={"value": None, "current_value": None})
        text = json.dumps({"runpermit": bounded.model_dump(mode="json")}, allow_nan=False)
        text = text if len(text) <= REFUSAL_BYTES else "{}"
    request = pack(Command.WRITE, frame.dtype, min(frame.count, 1), channel.cid, channel.cid)
    error = pack(Command.ERROR, 0, 0, channel.cid, ECA_PUTFAIL, request[:16] + text_payload(text))
    if frame.command == Command.WRITE_NOTIFY:
        error += pack(frame.command, frame.dtype, frame.count, ECA_PUTFAIL, frame.p2)
    return error
