"""The doctor's look at this host: settings, limits, model, folders, isolation."""

import json
import os
import subprocess
import sys
from pathlib import Path

from runpermit.cli.checks import Check, Verdict
from runpermit.cli.gate_checks import check_channels, check_gate
from runpermit.config import (
    Settings,
    check_settings,
    find_settings_file,
    limits_file,
    load_settings,
    root_problem,
)
from runpermit.errors import ContainerConfigurationError
from runpermit.models import Isolation

_KEY = "OPENAI_API_KEY"
_HOUSE = Path(__file__).parents[3]  # where it is the worker's installation
_PROBE_SECONDS = 60


def check_house(config: Path | None, *, live: bool = False) -> list[Check]:
    """All checks that need no server; only the first where the settings do not load.

    `live`: also whether the IOCs answer.
    """
    try:
        file = find_settings_file(config)
        settings = load_settings(config)
    except ContainerConfigurationError as error:
        return [
            Check(
                name="settings",
                verdict=Verdict.FAIL,
                found=error.message,
                remedy="Correct the file or the variable; the worker refuses to start with it.",
            )
        ]
    found = str(file) if file else "no runpermit.toml found: all defaults"
    return [
        Check(name="settings", verdict=Verdict.OK if file else Verdict.WARN, found=found),
        *(
            Check(name="settings", verdict=Verdict.FAIL, found=problem)
            for problem in check_settings(settings)
        ),
        _writes(settings),
        _limits(settings),
        *check_gate(settings),
        *([check_channels(settings)] if live else []),
        _model(settings),
        _root(settings.executions.root),
        _isolation(settings, config),
    ]


def _writes(settings: Settings) -> Check:
    control = settings.control_system
    if not control.writes_enabled:
        return Check(name="writes", verdict=Verdict.OK, found="disabled: code can only read")
    found = f"enabled, control system {control.type}, approval {settings.approval.mode}"
    return Check(name="writes", verdict=Verdict.WARN, found=found)


def _limits(settings: Settings) -> Check:
    status = limits_file(settings.limits).status()
    if not status.enabled:
        return Check(
            name="limits",
            verdict=Verdict.WARN,
            found="checking is disabled: nothing bounds what is written",
            remedy="Set [limits] enabled = true and file.",
        )
    if status.error is not None:
        writes = settings.control_system.writes_enabled
        return Check(
            name="limits",
            verdict=Verdict.FAIL if writes else Verdict.WARN,
            found=status.error,
            remedy="Until then every write is refused; `runpermit limits check FILE` explains.",
        )
    return Check(
        name="limits", verdict=Verdict.OK, found=f"{status.channels} channels in {status.path}"
    )


def _model(settings: Settings) -> Check:
    generation = settings.generation
    if generation.generator != "openai":
        return Check(name="model", verdict=Verdict.OK, found=f"generator {generation.generator}")
    if generation.model and generation.base_url and not os.environ.get(_KEY):
        return Check(
            name="model",
            verdict=Verdict.WARN,
            found=f"{generation.model} at generation.base_url {generation.base_url}; {_KEY} is not "
            "set here",
            remedy="The worker needs it in its own environment: any word, where that endpoint asks "
            "for none.",
        )
    missing = [
        what
        for what, given in (("generation.model", generation.model), (_KEY, os.environ.get(_KEY)))
        if not given
    ]
    if missing:
        return Check(
            name="model",
            verdict=Verdict.FAIL,
            found=f"{' and '.join(missing)} not set: no code can be generated",
            remedy="Set generation.model in runpermit.toml, the key in the worker's environment. "
            "Only the environment of this command was looked at: the worker may have its own.",
        )
    endpoint = generation.base_url or "api.openai.com"
    return Check(
        name="model",
        verdict=Verdict.OK,
        found=f"{generation.model} at {endpoint}, key present here; the worker needs it in its own "
        "environment",
    )


def _root(root: Path) -> Check:
    problem = root_problem(root)
    if problem is None:
        made = "" if root.exists() else ", made when it is first needed"
        return Check(name="executions", verdict=Verdict.OK, found=f"{root}{made}")
    return Check(
        name="executions",
        verdict=Verdict.FAIL,
        found=problem,
        remedy="Change [executions] root, or its owner.",
    )


def _isolation(settings: Settings, config: Path | None) -> Check:
    isolation = settings.kernels.isolation
    if isolation is Isolation.NONE:
        return Check(
            name="isolation",
            verdict=Verdict.WARN,
            found="none: code runs with the rights of the worker's user, and can only read",
            remedy="For a demo machine only.",
        )
    if not (_HOUSE / "kernels" / "probe.py").is_file():
        return Check(
            name="isolation",
            verdict=Verdict.WARN,
            found=f"{isolation} is asked for; no worker is installed here, so it is not probed",
            remedy="Run runpermit doctor on the worker's host, in its installation.",
        )
    return _probed(config)


def _probed(config: Path | None) -> Check:
    """What the house itself finds, in a process of its own: this package imports none of it."""
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "kernels.probe"),
            *(("--config", str(config)) if config else ()),
        ],
        env=os.environ | {"PYTHONPATH": str(_HOUSE)},
        capture_output=True,
        text=True,
        check=False,
        timeout=_PROBE_SECONDS,
    )
    if done.returncode != 0:
        return Check(
            name="isolation",
            verdict=Verdict.FAIL,
            found=f"not probed: {(done.stderr.strip() or 'no reason given').splitlines()[-1]}",
            remedy="Install the dependency group house: pip install --group house.",
        )
    said = json.loads(done.stdout)
    if not said["isolated"]:
        return Check(
            name="isolation", verdict=Verdict.FAIL, found=said["cause"], remedy=said["remedy"]
        )
    weak = said["weak"]
    return Check(
        name="isolation",
        verdict=Verdict.WARN if weak else Verdict.OK,
        found="; ".join(part for part in (said["found"], weak) if part),
    )
