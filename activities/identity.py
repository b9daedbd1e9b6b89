"""Who answered a question: by a signature that the gate verifies, or by Temporal's own history."""

from collections.abc import AsyncIterator, Iterable

from temporalio import activity
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.service import RPCError

from activities.house import House
from runpermit.errors import DecisionRefusedError, ServiceUnavailableError
from workflows.steps import Identified, IdentifyTask, SignalReceived

_NOBODY = (
    "Temporal's history names no principal of this signal: its server authenticates nobody, or "
    "does not record it. Sign the answer, or see docs/authorisation.md"
)


class Identity:
    """Reads alone, so it can be asked again."""

    def __init__(self, house: House) -> None:
        self._house = house

    @activity.defn(name="identify")
    async def identify(self, task: IdentifyTask) -> Identified:
        """Whose word it is. Raises ServiceUnavailableError where gate or Temporal do not answer."""
        if task.signature is not None:
            return await self._signer(task, task.signature)
        if task.signal is None:
            return Identified(problem="it came neither signed nor as a signal")
        events = [
            event
            async for event in _history(activity.client(), task.statement.workflow_id, task.run_id)
        ]
        name = signal_principal(events, task.signal)
        return Identified(name=name, problem="" if name else _NOBODY)

    async def _signer(self, task: IdentifyTask, signature: str) -> Identified:
        try:
            signer = await self._house.gate.signer(task.statement, signature, task.operator)
        except DecisionRefusedError as error:
            return Identified(problem=error.message)
        return Identified(name=signer.name, key=signer.key)


def signal_principal(events: Iterable[HistoryEvent], signal: SignalReceived) -> str | None:
    """The principal of that very signal, None where the server named none."""
    number = 0
    for event in events:
        if not event.HasField("workflow_execution_signaled_event_attributes"):
            continue
        if event.workflow_execution_signaled_event_attributes.signal_name == signal.name:
            number += 1
            if number == signal.number:
                return _name(event)
    return None


def start_principal(events: Iterable[HistoryEvent]) -> str | None:
    """The principal that started the execution, None where the server named none."""
    for event in events:
        if event.HasField("workflow_execution_started_event_attributes"):
            return _name(event)
    return None


async def started_by_principal(client: Client, workflow_id: str, run_id: str) -> str | None:
    """The same, from the history of a run. Raises ServiceUnavailableError."""
    async for event in _history(client, workflow_id, run_id):
        return start_principal([event])
    return None


def _name(event: HistoryEvent) -> str | None:
    """`type:name`: two ways of logging in may know the same name for two persons."""
    who = event.principal
    return f"{who.type}:{who.name}" if who.type and who.name else who.name or None


async def _history(client: Client, workflow_id: str, run_id: str) -> AsyncIterator[HistoryEvent]:
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    try:
        async for event in handle.fetch_history_events():
            yield event
    except RPCError as error:
        raise ServiceUnavailableError(
            f"Temporal does not tell the history: {error}", "temporal"
        ) from None
