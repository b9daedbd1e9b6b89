"""How a question is answered: by which clicks, and by which commands."""

import shlex
from urllib.parse import quote

from runpermit.models import PendingApproval, PendingRestore, Verb
from runpermit.page.layout import WIDTH
from runpermit.text import fenced

_GOES_ON = " \\"
_DECLARE = "declare your envelope with plan(…)"


def commands(pending: PendingApproval | PendingRestore) -> list[str]:
    """The commands that answer, with the address that they need."""
    return [" ".join(parts) for parts in _commands(pending)]


def page_link(web_ui: str, namespace: str, workflow_id: str, run_id: str) -> str:
    """The Web UI's page that shows the current details of one run."""
    parts = (quote(part, safe="") for part in (namespace, workflow_id, run_id))
    return "{}/namespaces/{}/workflows/{}/{}/user-metadata".format(web_ui.rstrip("/"), *parts)


def verbs(pending: PendingApproval | PendingRestore) -> list[Verb]:
    """The answers that are offered: no yes to a plan of which nobody knows the rest."""
    if isinstance(pending, PendingRestore):
        return [Verb.RESTORE, Verb.LEAVE]
    if not pending.plan.may_be_approved:
        return [Verb.REVISE, Verb.REJECT]
    return [Verb.APPROVE, Verb.REJECT, Verb.REVISE]


def clicks(pending: PendingApproval | PendingRestore) -> str:
    """Which signals to send in the Web UI, without input."""
    *others, last = (f"`{verb}-{pending.revision}`" for verb in verbs(pending))
    return (
        f"**More Actions → Send a Signal →** choose {', '.join(others)} or {last} **→ Submit**, "
        "without input."
    )


def command_block(
    pending: PendingApproval | PendingRestore, shown: int, *, show: bool = False
) -> str:
    """The first `shown` commands in a fence, narrow enough for the page.

    Before them the one that shows the whole question, where `show` says that this page does not.
    """
    whole = [_command("show", "", pending)] if show else []
    return fenced("\n".join(_narrow(parts) for parts in whole + _commands(pending)[:shown]))


def _narrow(parts: tuple[str, ...]) -> str:
    """A command on as many lines as it takes; no part of it is cut."""
    lines = [parts[0]]
    for part in parts[1:]:
        if len(f"{lines[-1]} {part}{_GOES_ON}") <= WIDTH:
            lines[-1] += f" {part}"
        else:
            lines.append(f"    {part}")
    return f"{_GOES_ON}\n".join(lines)


def _commands(pending: PendingApproval | PendingRestore) -> list[tuple[str, ...]]:
    """What is said to which execution, and the options, one by one."""
    comment = "…"
    if isinstance(pending, PendingApproval) and not pending.plan.may_be_approved:
        comment = _DECLARE
    named = f"--sha256 {pending.revision}"
    options = {
        Verb.APPROVE: named,
        Verb.REJECT: "--reason '…'",
        Verb.REVISE: f"--comment '{comment}'",
        Verb.STOP: "--reason '…'",
        Verb.RESTORE: named,
        Verb.LEAVE: named,
    }
    said = verbs(pending)
    if isinstance(pending, PendingApproval):
        said = [*said, Verb.STOP]
    return [_command(verb, options[verb], pending) for verb in said]


def _command(verb: str, option: str, pending: PendingApproval | PendingRestore) -> tuple[str, ...]:
    target = shlex.quote(pending.binds.workflow_id)
    parts = (f"runpermit {verb}", target, option, pending.cli_options)
    return tuple(filter(None, parts))
