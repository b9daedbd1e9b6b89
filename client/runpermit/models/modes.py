"""Where and with which rights code runs."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from runpermit.errors import ContainerConfigurationError

CONTROL_SYSTEMS = ("epics", "mock")


class ExecutionMode(StrEnum):
    """What the code may do to the machine."""

    READ_ONLY = "read_only"
    WRITE_ACCESS = "write_access"


class Isolation(StrEnum):
    """What stands between the code and the host: a sandbox, a container, or nothing."""

    FULL = "full"
    CONTAINER = "container"
    NONE = "none"


class ApprovalMode(StrEnum):
    """Which code a person must approve before it runs."""

    DISABLED = "disabled"
    CONTROL_WRITES = "control_writes"
    ALL_CODE = "all_code"


@dataclass(frozen=True)
class ExecutionModeConfig:
    """How one execution mode is set up."""

    mode_name: str
    kernel_name: str
    allows_writes: bool
    requires_approval: bool
    description: str
    environment: dict[str, str] = field(default_factory=dict)
    epics_gateway: dict[str, Any] | None = None


@dataclass(frozen=True)
class ContainerEndpointConfig:
    """Where a remote kernel endpoint listens."""

    host: str
    port: int
    kernel_name: str
    use_https: bool = False

    @property
    def base_url(self) -> str:
        """The endpoint's URL, without a trailing slash."""
        return f"{'https' if self.use_https else 'http'}://{self.host}:{self.port}"


@dataclass(frozen=True)
class ExecutionControlConfig:
    """Whether this deployment lets code write, and to what kind of control system.

    `epics_writes_enabled` is the reference's older name: it counts where
    `control_system_writes_enabled` is not set, and both read the same afterwards.
    """

    epics_writes_enabled: bool = False
    control_system_writes_enabled: bool | None = None
    control_system_type: str = "epics"

    def __post_init__(self) -> None:
        """Let the newer name win, and fail closed on anything but a real True."""
        newer = self.control_system_writes_enabled
        enabled = (self.epics_writes_enabled if newer is None else newer) is True
        object.__setattr__(self, "control_system_writes_enabled", enabled)
        object.__setattr__(self, "epics_writes_enabled", enabled)

    def get_execution_mode(
        self,
        has_epics_writes: bool,  # noqa: FBT001  (the reference's signature)
        has_epics_reads: bool,  # noqa: FBT001, ARG002
    ) -> ExecutionMode:
        """WRITE_ACCESS where writes are both enabled and found, else READ_ONLY."""
        if self.control_system_writes_enabled and has_epics_writes:
            return ExecutionMode.WRITE_ACCESS
        return ExecutionMode.READ_ONLY

    def validate(self) -> list[str]:
        """What is wrong or risky in this configuration; empty where nothing is."""
        found = []
        if self.control_system_type not in CONTROL_SYSTEMS:
            known = ", ".join(CONTROL_SYSTEMS)
            found.append(f"control_system_type {self.control_system_type!r} is none of {known}")
        if self.control_system_writes_enabled and self.control_system_type == "epics":
            found.append("writes to a real control system are enabled")
        return found


def get_execution_control_config_from_configurable(
    configurable: dict[str, Any],
) -> ExecutionControlConfig:
    """The execution control of a settings mapping with an `execution_control` section.

    Raises ContainerConfigurationError where the section is missing or has unknown or ill-typed
    keys: writes are never enabled by a mistake.
    """
    section = configurable.get("execution_control") if isinstance(configurable, dict) else None
    if not isinstance(section, dict):
        raise ContainerConfigurationError(
            "execution_control is missing in the configuration: give it as a mapping with "
            "control_system_writes_enabled and control_system_type."
        )
    types = {
        "epics_writes_enabled": bool,
        "control_system_writes_enabled": bool,
        "control_system_type": str,
    }
    for key, value in section.items():
        if key not in types:
            raise ContainerConfigurationError(f"execution_control.{key} is no known setting.")
        if not isinstance(value, types[key]):
            raise ContainerConfigurationError(
                f"execution_control.{key} must be {types[key].__name__}, not {value!r}."
            )
    return ExecutionControlConfig(**section)
