"""The way to Temporal: its settings, its errors in our words, and a safe end of the process."""

import asyncio
import atexit
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError, RPCStatusCode

from runpermit.errors import (
    ContainerConfigurationError,
    InvalidRequestError,
    PythonExecutorException,
    ServiceUnavailableError,
)
from runpermit.payloads import data_converter
from runpermit.text import one_line

DEFAULT_ADDRESS = "localhost:7233"
DEFAULT_NAMESPACE = "default"
# Measured: without a pause a process that ends right after its last call dies of SIGSEGV or
# SIGABRT now and then, because a thread of Temporal's core still holds Python objects while the
# interpreter is taken down (sdk-python #300).
_EXIT_PAUSE_SECONDS = 0.15

_OUTAGES = frozenset(
    {
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.ABORTED,
        RPCStatusCode.INTERNAL,
        RPCStatusCode.UNKNOWN,
    }
)


async def connect(
    address: str | None,
    namespace: str | None,
    profile: str | None,
    config_file: str | Path | None,
    timeout: float,
) -> Client:
    """A connected Temporal client that speaks our payloads; see RunpermitClient.connect."""
    try:
        config = ClientConfig.load_client_connect_config(
            profile=profile, config_file=str(config_file) if config_file else None
        )
    except (RuntimeError, ValueError, OSError) as broken:
        raise ContainerConfigurationError(
            f"Temporal's client settings ({config_file or 'temporal.toml and TEMPORAL_* variables'}"
            f", profile {profile or 'default'}) can't be read: {one_line(str(broken), 300)}"
        ) from None
    if address is not None:
        config["target_host"] = address
    if namespace is not None:
        config["namespace"] = namespace
    target = config.setdefault("target_host", DEFAULT_ADDRESS)
    try:
        async with asyncio.timeout(timeout):
            client = await Client.connect(**config, data_converter=data_converter)
    except TimeoutError:
        raise _unreachable(target, f"no answer in {timeout:g} s") from None
    except (RuntimeError, ValueError, RPCError) as error:
        raise _unreachable(target, str(error)) from None
    _pause_at_exit()
    return client


def is_outage(error: RPCError) -> bool:
    """Whether the same call may succeed later: Temporal is away, busy or cut off."""
    return error.status in _OUTAGES


@contextmanager
def temporal_errors(client: Client, execution_id: str | None = None) -> Iterator[None]:
    """Raise what Temporal answers as exceptions of ours.

    InvalidRequestError for an execution that does not exist, ContainerConfigurationError for
    a namespace or credentials that Temporal refuses, else ServiceUnavailableError.
    """
    try:
        yield
    except RPCError as error:
        raise _translated(error, client, execution_id) from error
    except WorkflowQueryFailedError as error:
        raise InvalidRequestError(
            f"Workflow {execution_id} does not answer as an execution: "
            f"{one_line(error.message, 300)}",
            "id",
        ) from error


def _translated(
    error: RPCError, client: Client, execution_id: str | None
) -> PythonExecutorException:
    address = client.service_client.config.target_host
    where = f"Temporal at {address}, namespace {client.namespace}"
    said = one_line(error.message, 300)
    if error.status is RPCStatusCode.NOT_FOUND:
        if execution_id is None or _is_namespace_missing(error):
            return ContainerConfigurationError(
                f"{where}: {said} Correct --namespace or TEMPORAL_NAMESPACE."
            )
        return InvalidRequestError(
            f"{where}: there is no execution {execution_id} ({said}). `runpermit pending` and "
            "the Temporal Web UI list those that exist.",
            "id",
        )
    if error.status in {RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED}:
        return ContainerConfigurationError(
            f"{where} refuses these credentials: {said}. Check temporal.toml or TEMPORAL_API_KEY."
        )
    if error.status is RPCStatusCode.INVALID_ARGUMENT:
        return InvalidRequestError(f"{where} refuses the call: {said}", "id")
    return ServiceUnavailableError(f"{where} does not answer: {said}. Try again.", "temporal")


def _is_namespace_missing(error: RPCError) -> bool:
    return any(
        detail.Is(NamespaceNotFoundFailure.DESCRIPTOR) for detail in error.grpc_status.details
    )


def _unreachable(address: str, why: str) -> ServiceUnavailableError:
    return ServiceUnavailableError(
        f"Temporal is not reachable at {address}. Start it, or name the right address: "
        f"--address, TEMPORAL_ADDRESS or temporal.toml. ({one_line(why, 250)})",
        "temporal",
    )


def _pause_at_exit() -> None:
    atexit.unregister(_pause)
    atexit.register(_pause)


def _pause() -> None:
    time.sleep(_EXIT_PAUSE_SECONDS)
