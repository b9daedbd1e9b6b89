"""The worker: settings → kernels, gate, activities, Temporal. `python worker.py --help`."""

import argparse
import asyncio
import functools
import logging
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path

import structlog
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.analysis import Analysis
from activities.apply import Apply
from activities.conclusion import Conclusion
from activities.drafting import Drafting
from activities.execution import Execution
from activities.failures import GRACE, FailureInterceptor
from activities.generation import Generation
from activities.generators.registry import create_generator
from activities.house import House
from activities.identity import Identity
from activities.preparation import Preparation
from activities.rehearsal import Rehearsal
from activities.restoring import Restoring
from activities.settling import Settling
from gate.client import GateClient
from kernels.environment import find_environment
from kernels.interface import Kernels
from kernels.opening import open_kernels
from kernels.packages import environment_name, kernel_packages
from runpermit.config import Settings, check_settings, limits_file, load_settings, root_problem
from runpermit.errors import ContainerConfigurationError
from runpermit.names import STAGE_ATTRIBUTE, TASK_QUEUE, host_queue
from runpermit.payloads import data_converter
from workflows.python_execution import PythonExecution

log = structlog.get_logger()

EXIT_CONFIGURATION = 2
EXIT_UNREACHABLE = 4
EXIT_HURRIED = 1
# A cancellation travels with the answer to a heartbeat: the SDK must not hold heartbeats back.
_HEARTBEAT_AT_LEAST = timedelta(seconds=0.5)
_GRACE = timedelta(seconds=GRACE)
# What writes to the machine comes to its end: its run, and what is collected behind it.
_BEHIND_A_RUN = 60  # s


def build_house(settings: Settings, kernels: Kernels, address: str) -> House:
    """The parts that the activities share. Raises ContainerConfigurationError."""
    packages = kernel_packages(find_environment(settings.kernels.environment).python)
    return House(
        settings=settings,
        limits=limits_file(settings.limits),
        kernels=kernels,
        gate=GateClient(settings.gate.socket),
        # Made when it is first needed: without a key, given code still runs.
        generator=functools.cache(lambda: create_generator(settings.generation)),
        kernel_environment=environment_name(packages),
        address=address,
        kernel_packages=tuple(packages[1:]),
    )


def build_workers(client: Client, house: House) -> list[Worker]:
    """One worker for the shared queue, one for what needs this host."""
    generation, preparation = Generation(house), Preparation(house)
    settling, restoring = Settling(house), Restoring(house)
    shared = Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=[PythonExecution],
        # They hold no state of their own, and importing them anew for each execution takes 20 ms.
        workflow_runner=SandboxedWorkflowRunner(
            restrictions=SandboxRestrictions.default.with_passthrough_modules(
                "runpermit", "workflows"
            )
        ),
        activities=[preparation.prepare, Analysis(house).analyse],
        interceptors=[FailureInterceptor()],
        graceful_shutdown_timeout=_GRACE,
        # After a crash the next worker goes on at once, not after the default ten seconds.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
    )
    own = Worker(
        client,
        task_queue=host_queue(house.host),
        activities=[
            generation.generate,
            Rehearsal(house).rehearse,
            Drafting(house).draft,
            Execution(house).execute,
            Apply(house).apply,
            settling.settle,
            settling.reach,
            settling.verify,
            restoring.restore,
            restoring.leave,
            Identity(house).identify,
            Conclusion(house).conclude,
        ],
        interceptors=[FailureInterceptor()],
        max_heartbeat_throttle_interval=_HEARTBEAT_AT_LEAST,
        default_heartbeat_throttle_interval=_HEARTBEAT_AT_LEAST,
        graceful_shutdown_timeout=timedelta(seconds=house.settings.timeouts.run + _BEHIND_A_RUN),
    )
    return [shared, own]


async def register_stage_attribute(client: Client) -> None:
    """Register the search attribute where this is allowed; executions go on without it."""
    try:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace=client.namespace,
                search_attributes={STAGE_ATTRIBUTE: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD},
            )
        )
    except RPCError as error:
        log.info("search attribute not registered", attribute=STAGE_ATTRIBUTE, reason=str(error))


async def refuse_unknown_namespace(client: Client) -> None:
    """Raise ContainerConfigurationError where this Temporal has no such namespace."""
    try:
        await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=client.namespace)
        )
    except RPCError as error:
        # Who may not look at a namespace may work in it all the same.
        if error.status is RPCStatusCode.NOT_FOUND:
            raise ContainerConfigurationError(
                f"Temporal has no namespace {client.namespace}. Create it, or set "
                "TEMPORAL_NAMESPACE."
            ) from None


async def serve(settings: Settings) -> int:
    """Work until SIGTERM or SIGINT, and end at once at a second one; the exit code."""
    wrong = check_settings(settings)
    if problem := root_problem(settings.executions.root):
        wrong.append(f"{problem}: no execution could be kept. Change it, or the folder's owner.")
    if wrong:
        for line in wrong:
            print(f"runpermit worker: {line}", file=sys.stderr)
        return EXIT_CONFIGURATION
    try:
        config = ClientConfig.load_client_connect_config()
    except (RuntimeError, ValueError) as broken:
        raise ContainerConfigurationError(
            f"Temporal's own settings (temporal.toml, TEMPORAL_*) can't be read: {broken}"
        ) from None
    address = config.setdefault("target_host", "localhost:7233")
    try:
        client = await Client.connect(**config, data_converter=data_converter)
    except RuntimeError as error:
        print(
            f"runpermit worker: Temporal is not reachable at {address}: {error}. Start it, or set "
            "TEMPORAL_ADDRESS.",
            file=sys.stderr,
        )
        return EXIT_UNREACHABLE
    await refuse_unknown_namespace(client)
    await register_stage_attribute(client)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _told_to_end, ended)
    async with open_kernels(settings.kernels) as kernels:
        await work(client, build_house(settings, kernels, address), ended)
    return 0


def _told_to_end(ended: asyncio.Event) -> None:
    if ended.is_set():
        # Kernels end with this process, and the gate fences what it loses.
        os._exit(EXIT_HURRIED)
    ended.set()


async def work(client: Client, house: House, ended: asyncio.Event) -> None:
    """Serve both queues until `ended`."""
    status = house.limits.status()
    if status.error:
        log.warning("limits are not available: all writes are refused", reason=status.error)
    async with asyncio.TaskGroup() as group:
        workers = build_workers(client, house)
        for worker in workers:
            group.create_task(worker.run())
        queues = [worker.task_queue for worker in workers]
        log.info("worker ready", queues=queues, address=house.address)
        print("ready", flush=True)
        await ended.wait()
        for worker in workers:
            group.create_task(worker.shutdown())


def main() -> int:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description="Runpermit's Temporal worker.")
    parser.add_argument(
        "--config", type=Path, help="settings file, else as `runpermit doctor` says"
    )
    arguments = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    # The interceptor has logged each failure already, in one line.
    logging.getLogger("temporalio.activity").setLevel(logging.ERROR)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        return asyncio.run(serve(load_settings(arguments.config)))
    except ContainerConfigurationError as error:
        print(f"runpermit worker: {error}", file=sys.stderr)
        return EXIT_CONFIGURATION


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not through the interpreter's end: Temporal's core may crash there (sdk-python #300), and
    # whoever supervises a worker reads its exit code.
    os._exit(code)
