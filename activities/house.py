"""What the activities of one worker share."""

from collections.abc import Callable
from dataclasses import dataclass

from activities.generators.interface import CodeGenerator
from gate.client import GateClient
from kernels.interface import Kernels
from runpermit.config import Settings
from runpermit.limits import LimitsFile


@dataclass(frozen=True)
class House:
    """The parts that `worker.py` puts together.

    `kernel_environment` names the packages that code can import; `address` is Temporal's, as
    printed commands need it, empty where the default will do.
    """

    settings: Settings
    limits: LimitsFile
    kernels: Kernels
    gate: GateClient
    generator: Callable[[], CodeGenerator]
    kernel_environment: str
    address: str
    kernel_packages: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """The host whose own task queue this worker serves."""
        return self.settings.worker.host
