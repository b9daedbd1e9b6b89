"""The gate as a process: from settings to the control socket, and down again."""

import asyncio
import resource
import signal

import structlog

from gate.aftermath.left_machines import LeftMachines
from gate.aftermath.restoring import Restorer
from gate.aftermath.stopping import Stopper
from gate.aftermath.verifying import Verifier
from gate.channel_access.directory import Directory
from gate.channel_access.reading import ChannelReader
from gate.channel_access.watched_channel import WatchedIocs
from gate.control.control import Control
from gate.control.verbs import Verbs
from gate.journal.journal import Journal
from gate.permits.approvals import Approvals
from gate.permits.claims import Claims
from gate.permits.index import PermitIndex
from gate.permits.opening import Opener
from gate.permits.permits import Permits
from gate.policy.conditions import ConditionReader
from gate.policy.inhibit import Inhibit
from gate.policy.inhibit_channel import InhibitChannel
from gate.policy.watched_limits import WatchedLimits
from gate.policy.writing import Writer
from gate.rehearsal.description import Describer
from gate.rehearsal.inspection import Inspector
from gate.rehearsal.model import Model
from gate.rehearsal.rehearsal import Facilities
from gate.sessions.session import Shared
from gate.sessions.sessions import Sessions
from runpermit.config import Settings, approval_problems
from runpermit.errors import ContainerConfigurationError
from runpermit.limits import LimitsFile
from runpermit.models import Assurance

log = structlog.get_logger()


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises ContainerConfigurationError."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    _take_all_descriptors()
    control_system, quotas = settings.control_system, settings.gate
    _refuse_unchosen(settings)
    journal = Journal.open(quotas.journal)
    try:
        directory = Directory(control_system.name_servers, control_system.addresses)
        inhibit = Inhibit(quotas.journal, journal)
        watched = WatchedIocs(directory)
        channel = _inhibit_channel(settings, watched)
        if channel is not None:
            inhibit.add_source(channel.refusal)
        reader = ChannelReader(directory)
        limits = WatchedLimits(
            settings.limits.file,
            enabled=settings.limits.enabled,
            allow_unlisted=settings.limits.allow_unlisted,
        )
        limits.watch()
        writer = Writer(
            limits=limits, journal=journal, inhibit=inhibit, conditions=ConditionReader(reader)
        )
        upstream = settings.rehearsal.upstream
        places = [*control_system.name_servers, *control_system.addresses]
        model = Model(upstream, places, quotas.array_bytes) if upstream is not None else None
        rehearsals = Facilities(directory, limits, reader, journal, quotas, model)
        shared = Shared(directory, writer, journal, quotas, {}, rehearsals)
        index = PermitIndex.scan(quotas.journal)
        permits = Permits(journal, index, directory, quotas.array_bytes)
        left = LeftMachines(journal, index)
        await left.look_at_all()
        approvals = Approvals(settings.approval, index, journal)
        claims = Claims()
        stopper = Stopper(directory, journal, limits)
        sessions = Sessions(
            settings,
            shared,
            Opener(settings, permits, approvals, claims, inhibit, limits, reader, watched),
            permits,
            stopper,
            left,
        )
        verbs = Verbs(
            settings=settings,
            sessions=sessions,
            permits=permits,
            inhibit=inhibit,
            limits=limits,
            journal=journal,
            describer=Describer(directory, limits, quotas.array_bytes),
            inspector=Inspector(directory, quotas.array_bytes),
            verifier=Verifier(
                directory=directory, iocs=watched, journal=journal, limits=limits, quotas=quotas
            ),
            restorer=Restorer(
                directory=directory,
                iocs=watched,
                writer=writer,
                stopper=stopper,
                journal=journal,
                limits=limits,
                inhibit=inhibit,
                claims=claims,
                left=left,
                settings=settings,
                is_applying=sessions.is_applying,
            ),
            left=left,
            approvals=approvals,
        )
        control = Control(quotas.socket, sessions, verbs)
        await journal.write("gate_started", writes=control_system.writes_enabled)
        await _warn(settings, limits, approvals)
        print("ready", flush=True)  # noqa: T201  (for whoever supervises)
        await ended.wait()
        await control.close()
        if channel is not None:
            await channel.close()
        reader.close()
        limits.close()
        directory.close()
        await journal.write("gate_ended")
    finally:
        await journal.close()


async def _warn(settings: Settings, limits: LimitsFile, approvals: Approvals) -> None:
    """Say in the log what lets this gate write nothing."""
    if not settings.control_system.name_servers and not settings.control_system.addresses:
        log.warning(
            "no channel can be found: neither control_system.name_servers nor .addresses is set"
        )
    if error := limits.status().error:
        log.warning("limits are not available: all writes are refused", reason=error)
    if why := await approvals.problem():
        log.warning("nobody can sign: permits and restores are refused", reason=why)


def _refuse_unchosen(settings: Settings) -> None:
    """Raise ContainerConfigurationError for writes without a rule whose approvals can count."""
    problems = approval_problems(settings.approval)
    if settings.approval.assurance is Assurance.SIGNED and not settings.approval.allowed_signers:
        problems.append(
            'approval.assurance = "signed" needs approval.allowed_signers at the gate, which names '
            "who may sign: see docs/authorisation.md."
        )
    if settings.control_system.writes_enabled and problems:
        raise ContainerConfigurationError(" ".join(problems))


def _take_all_descriptors() -> None:
    """As many as the system allows: each circuit of a kernel and each to an IOC takes one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _inhibit_channel(settings: Settings, iocs: WatchedIocs) -> InhibitChannel | None:
    name, value = settings.gate.inhibit_channel, settings.gate.inhibit_value
    if name is None:
        return None
    if value is None:
        raise ContainerConfigurationError(
            f"gate.inhibit_channel = {name} needs gate.inhibit_value, which it must read for "
            "writes to pass."
        )
    return InhibitChannel(name, value, iocs)
