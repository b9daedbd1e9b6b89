"""Settings: one file `runpermit.toml`, overridden by RUNPERMIT_SECTION__NAME, checked whole."""

import os
import socket
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from runpermit.errors import ContainerConfigurationError
from runpermit.limits import Condition, LimitsFile, LimitsValidator
from runpermit.models import (
    ApprovalMode,
    ApprovalRule,
    Assurance,
    ExecutionControlConfig,
    Isolation,
)

FILE_NAME = "runpermit.toml"
PREFIX = "RUNPERMIT_"
_SYSTEM_FOLDER = Path("/etc/runpermit")
# Names with the prefix that are no settings.
_OTHER_VARIABLES = {"RUNPERMIT_CONFIG", "RUNPERMIT_RERUN_WRITES", "RUNPERMIT_SIGNING_KEY"}
# At most a year: beyond some thousands of them, Temporal and datetime overflow.
_Seconds = Annotated[float, Field(gt=0, le=366 * 24 * 3600)]


class Section(BaseModel):
    """One table of the settings file; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ExecutionsSettings(Section):
    """Where the folders of executions lie."""

    root: Path = Path("executions")


class LinksSettings(Section):
    """Where people reach notebooks and the Temporal Web UI."""

    notebooks: str = ""
    web_ui: str = "http://127.0.0.1:8233"


class ControlSystemSettings(Section):
    """The machine, and whether code may write to it.

    Where the gate looks for channels: `name_servers` (`host:port`) are asked over TCP,
    `addresses` (`host` or `host:port`, broadcast ones too) over UDP.
    """

    type: Literal["epics", "mock"] = "epics"
    writes_enabled: bool = False
    name_servers: list[str] = []
    addresses: list[str] = []

    def execution_control(self) -> ExecutionControlConfig:
        """The same in the reference's words."""
        return ExecutionControlConfig(
            control_system_writes_enabled=self.writes_enabled, control_system_type=self.type
        )


class ApprovalSettings(Section):
    """Who must be asked before code runs. All in seconds.

    `assurance` has no default: with writes enabled an engineer chooses it. `persons`, `approvers`
    and `requester_may_approve`: see ApprovalRule. `allowed_signers` is the gate's own file, as
    ssh-keygen(1) describes it: who may sign, with which key; `revoked_signers` lists public keys,
    or is a KRL, that may no more. `question_expiry`: none means that it waits for ever. A plan
    older than `plan_max_age` is rehearsed again when a decision comes; the gate takes no permit
    whose decision is older than `permit_max_age`.
    """

    mode: ApprovalMode = ApprovalMode.CONTROL_WRITES
    assurance: Assurance | None = None
    persons: int = Field(default=1, ge=1, le=2)
    approvers: list[str] = []
    requester_may_approve: bool = True
    allowed_signers: Path | None = None
    revoked_signers: Path | None = None
    question_expiry: _Seconds | None = None
    plan_max_age: _Seconds = 900
    permit_max_age: _Seconds = 600

    @property
    def rule(self) -> ApprovalRule:
        """Whose yes counts."""
        return ApprovalRule(
            assurance=self.assurance or Assurance.CLAIMED,
            persons=self.persons,
            approvers=self.approvers,
            requester_may_approve=self.requester_may_approve,
        )


class LimitsSettings(Section):
    """The limits database."""

    file: Path | None = None
    enabled: bool = True
    allow_unlisted: bool = False


class GenerationSettings(Section):
    """The model that writes code. Its key comes from OPENAI_API_KEY alone. `timeout` in seconds."""

    generator: str = "openai"
    base_url: str | None = None
    model: str | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    timeout: _Seconds = 120


class RehearsalSettings(Section):
    """How code is tried before it is approved. `timeout` bounds it, in seconds.

    `upstream`, `host:port`, is a model IOC with the machine's channels: what a rehearsal writes,
    and what follows from it, is answered by the model, one rehearsal at a time.
    """

    upstream: str | None = Field(default=None, pattern=r"\A[^\s:]+:\d{1,5}\z")
    timeout: _Seconds = 120


class KernelsSettings(Section):
    """How code runs; `isolation = "none"` must be asked for by name.

    `environment`: a venv or conda prefix that the code runs in, else the worker's own. `pool`:
    how many kernels wait, with `preload` imported, each for at most `max_idle` seconds. The rest
    bounds one kernel: sizes in MiB, `cpus` in processors, `cpu_seconds` for each of its processes.
    `sandbox_uid`: who its processes are on the host where the worker is root.
    """

    isolation: Isolation = Isolation.FULL
    environment: Path | None = None
    pool: int = Field(default=2, ge=0, le=64)
    max_idle: _Seconds = 3600
    preload: list[str] = ["numpy", "matplotlib.pyplot", "epics"]
    sandbox_uid: int = Field(default=64999, ge=1, lt=2**31)
    memory: int = Field(default=2048, ge=1024)
    cpus: float = Field(default=2, gt=0, le=1024)
    cpu_seconds: int = Field(default=1200, ge=1)
    processes: int = Field(default=256, ge=32)
    file_size: int = Field(default=256, ge=1)
    work_size: int = Field(default=512, ge=1)
    tmp_size: int = Field(default=256, ge=1)


class TimeoutsSettings(Section):
    """All in seconds. `run`: the code. `retry`: all tries of a step that an outage fails.

    `host`: how long a step waits for the worker of its host. `verdict`: how long the word of the
    gate's journal is waited for after a fault, before nobody knows what was written.
    """

    run: _Seconds = 600
    heartbeat: _Seconds = Field(default=15, ge=1)
    retry: _Seconds = 300
    host: _Seconds = 600
    verdict: _Seconds = 3600


class GateSettings(Section):
    """The gate's service. `socket`: its control socket; `journal`: a folder that is its own.

    `shared_user` lets worker and gate of one user write to a real machine, whose journal the
    worker could then forge. The inhibit channel must read `inhibit_value`, else nothing is written.
    The rest bounds what sessions and IOCs can be asked for; `array_bytes` one array. `lease`: how
    long a silent worker keeps its sessions, in seconds. `guards` must hold while anything is
    written, beside those of the request. `claim_wait`: how long an execution waits for channels
    that another one writes, in seconds; 0 refuses it at once.
    """

    socket: Path = Path("/run/runpermit/gate.sock")
    journal: Path = Path("/var/lib/runpermit/journal")
    shared_user: bool = False
    inhibit_channel: str | None = None
    inhibit_value: str | int | float | None = None
    sessions: int = Field(default=64, ge=1)
    circuits_per_session: int = Field(default=8, ge=1)
    channels_per_session: int = Field(default=1000, ge=1)
    circuits_per_ioc: int = Field(default=32, ge=1)
    array_bytes: int = Field(default=16 * 1024 * 1024, ge=1024)
    lease: _Seconds = Field(default=10, ge=1)
    guards: list[Condition] = []
    claim_wait: float = Field(default=30, ge=0, le=3600)


class WorkerSettings(Section):
    """This worker. `host` names its own task queue `runpermit@<host>`."""

    host: str = Field(default="", pattern=r"\A[A-Za-z0-9_.\-]{0,64}\z")


class Settings(BaseSettings):
    """All settings of a deployment. Secrets are none of them."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    executions: ExecutionsSettings = ExecutionsSettings()
    links: LinksSettings = LinksSettings()
    control_system: ControlSystemSettings = ControlSystemSettings()
    approval: ApprovalSettings = ApprovalSettings()
    limits: LimitsSettings = LimitsSettings()
    generation: GenerationSettings = GenerationSettings()
    rehearsal: RehearsalSettings = RehearsalSettings()
    kernels: KernelsSettings = KernelsSettings()
    gate: GateSettings = GateSettings()
    timeouts: TimeoutsSettings = TimeoutsSettings()
    worker: WorkerSettings = WorkerSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment first, then what `load_settings` read from the file."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings


def find_settings_file(path: Path | None = None) -> Path | None:
    """The settings file: `path`, RUNPERMIT_CONFIG, the working directory, /etc/runpermit.

    Raises ContainerConfigurationError where a file that was named does not exist.
    """
    named = path or (
        Path(os.environ["RUNPERMIT_CONFIG"]) if "RUNPERMIT_CONFIG" in os.environ else None
    )
    if named is not None:
        if not named.is_file():
            raise ContainerConfigurationError(
                f"Settings file {named} does not exist. Correct --config or RUNPERMIT_CONFIG."
            )
        return named
    candidates = (Path.cwd() / FILE_NAME, _SYSTEM_FOLDER / FILE_NAME)
    return next((file for file in candidates if file.is_file()), None)


def load_settings(path: Path | None = None) -> Settings:
    """Read and check all settings; relative paths are relative to the file.

    Raises ContainerConfigurationError that names file, key and reason.
    """
    file = find_settings_file(path)
    where = f"{file} or the environment" if file else "the environment"
    try:
        values = TomlConfigSettingsSource(Settings, file)() if file else {}
        _refuse_unknown_variables()
        settings = Settings(**values)
    except ValidationError as invalid:
        raise ContainerConfigurationError(f"Settings in {where}: {_reasons(invalid)}") from None
    except (ValueError, OSError) as broken:  # TOML and the parsing of variables
        raise ContainerConfigurationError(f"Settings in {where}: {broken}") from None
    return _anchored(settings, file.resolve().parent if file else Path.cwd())


def check_settings(settings: Settings) -> list[str]:
    """What must be mended before a worker may start; empty where nothing must."""
    found = []
    control, approval = settings.control_system, settings.approval
    isolation = settings.kernels.isolation
    if isolation is Isolation.CONTAINER:
        found.append(
            'kernels.isolation = "container": this version knows no remote endpoint. Set "full".'
        )
    if not control.writes_enabled:
        return found
    if isolation is Isolation.NONE:
        found.append(
            'kernels.isolation = "none" never writes: set control_system.writes_enabled = false, '
            'or kernels.isolation = "full".'
        )
    if approval.mode is ApprovalMode.DISABLED:
        found.append(
            'approval.mode = "disabled" is for reads only. Choose control_writes or all_code, or '
            "set control_system.writes_enabled = false."
        )
    return found + approval_problems(approval)


def root_problem(root: Path) -> str | None:
    """Why no execution's folder can be made under `root`; None where it can."""
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return None
    return f"{existing} is not a folder that this user can write (executions.root = {root})"


def approval_problems(approval: ApprovalSettings) -> list[str]:
    """What an engineer must choose or change where writes are enabled, at worker and gate alike.

    `claimed` is a name that nobody verifies: rules about persons mean nothing with it.
    """
    if approval.assurance is None:
        return [
            "approval.assurance is not set: with writes enabled, choose how well an approver must "
            'be known. "claimed" is a name that somebody typed.'
        ]
    if approval.assurance is not Assurance.CLAIMED:
        return []
    asked = {
        "approval.persons": approval.persons > 1,
        "approval.approvers": bool(approval.approvers),
        "approval.requester_may_approve = false": not approval.requester_may_approve,
    }
    return [
        f'{setting} needs approval.assurance = "authenticated" or "signed": with "claimed" anybody '
        "types any name."
        for setting, set_ in asked.items()
        if set_
    ]


class PythonExecutorConfig:
    """The executor's essential settings from a settings mapping (the reference's class).

    `configurable` has the sections of `runpermit.toml`; RUNPERMIT_SECTION__NAME overrides it, and
    what is missing takes its default. Raises ContainerConfigurationError on an unknown or wrong
    key.
    """

    def __init__(self, configurable: dict[str, Any] | None = None) -> None:
        try:
            self.settings = Settings(**(configurable or {}))
        except ValidationError as invalid:
            raise ContainerConfigurationError(f"configurable: {_reasons(invalid)}") from None
        except ValueError as broken:  # the parsing of variables
            raise ContainerConfigurationError(f"configurable: {broken}") from None
        self.execution_timeout_seconds = self.settings.timeouts.run

    @cached_property
    def limits_validator(self) -> LimitsValidator | None:
        """The validator of the limits database, loaded once; None where checking is disabled.

        An unreadable database gives a validator that refuses every write.
        """
        limits = self.settings.limits
        return limits_file(limits).validator if limits.enabled else None


def limits_file(limits: LimitsSettings) -> LimitsFile:
    """The limits database that these settings name, reloaded when it changes."""
    return LimitsFile(limits.file, enabled=limits.enabled, allow_unlisted=limits.allow_unlisted)


def _reasons(invalid: ValidationError) -> str:
    """Keys and reasons, without the values: a secret in the wrong place must not be shown."""
    return "; ".join(
        f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}"
        for error in invalid.errors(include_url=False, include_context=False, include_input=False)
    )


def _anchored(settings: Settings, base: Path) -> Settings:
    root = settings.executions.model_copy(update={"root": base / settings.executions.root})
    limits = settings.limits
    if limits.file is not None:
        limits = limits.model_copy(update={"file": base / limits.file})
    approval = settings.approval
    signers = {
        "allowed_signers": approval.allowed_signers,
        "revoked_signers": approval.revoked_signers,
    }
    approval = approval.model_copy(
        update={name: base / file for name, file in signers.items() if file is not None}
    )
    kernels = settings.kernels
    if kernels.environment is not None:
        kernels = kernels.model_copy(update={"environment": base / kernels.environment})
    gate = settings.gate.model_copy(
        update={"socket": base / settings.gate.socket, "journal": base / settings.gate.journal}
    )
    worker = settings.worker
    if not worker.host:
        worker = worker.model_copy(update={"host": socket.gethostname()})
    return settings.model_copy(
        update={
            "executions": root,
            "approval": approval,
            "limits": limits,
            "kernels": kernels,
            "gate": gate,
            "worker": worker,
        }
    )


def _refuse_unknown_variables() -> None:
    sections = {name.upper() for name in Settings.model_fields}
    for name in os.environ:
        if not name.startswith(PREFIX) or name in _OTHER_VARIABLES:
            continue
        section, separator, _ = name.removeprefix(PREFIX).partition("__")
        if not separator or section not in sections:
            known = ", ".join(sorted(sections))
            msg = f"{name} is no setting: RUNPERMIT_SECTION__NAME with a section of {known}"
            raise ValueError(msg)
