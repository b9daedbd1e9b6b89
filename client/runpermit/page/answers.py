"""How a question is answered: by which clicks, and by which commands."""

import shlex
from urllib.parse import quote

from runpermit.models import Assurance, PendingApproval, PendingRestore, Verb
from runpermit.page.layout import WIDTH
from runpermit.text import fenced, markdown, one_line

_YES = frozenset({Verb.APPROVE, Verb.RESTORE})
# Its JSON has no space, so that it stays on one line.
_COMMENT = '; *revise* and *reject* take your words: `{"comment":"…"}`'
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


def rule_words(pending: PendingApproval | PendingRestore) -> str:
    """Whose yes counts, and who said it already, in plain text; nothing where there is no rule."""
    rule, said = pending.rule, []
    if isinstance(pending, PendingRestore) and rule.assurance is Assurance.CLAIMED:
        said.append("approver not verified: any signal can answer")
    if rule.persons > 1:
        said.append(f"{rule.persons} persons must approve it")
    if isinstance(pending, PendingApproval) and pending.approved_by:
        names = ", ".join(one_line(name, 60) for name in pending.approved_by)
        said.append(f"{names} approved it: {rule.persons - len(pending.approved_by)} more must")
    if rule.approvers:
        said.append(f"who may: {', '.join(one_line(name, 60) for name in rule.approvers[:10])}")
    if isinstance(pending, PendingApproval) and not rule.requester_may_approve:
        said.append("not who asked for it")
    return f"{said[0][:1].upper()}{'; '.join(said)[1:]}." if said else ""


def not_counted(pending: PendingApproval | PendingRestore) -> list[str]:
    """The last decision that did not count while this waited, and why, in one line of plain text.

    Whoever clicked on an old page was told nothing.
    """
    said = pending.not_counted
    if said is None:
        return []
    what = said.verb or "a decision"
    who, why = one_line(said.who, 40), one_line(said.reason, 160)
    return [f"Did not count: {what} by {who} at {said.at:%H:%M:%S} UTC: {why}."]


def clicks(pending: PendingApproval | PendingRestore) -> str:
    """Which signals to send in the Web UI, without input; where a yes is signed, the command."""
    yes, *rest = verbs(pending)
    signed = _is_signed(pending)
    *others, last = (f"`{verb}-{pending.revision}`" for verb in (rest if signed else [yes, *rest]))
    either = f"{', '.join(others)} or {last}" if others else last
    by_command = (
        f"To {yes} it, sign it with this command; no click can:\n\n"
        f"{fenced(_narrow(_commands(pending)[0]))}\n\n"
        if signed
        else ""
    )
    click = (
        f"{by_command}**More Actions → Send a Signal →** choose {either} **→ Submit**, "
        f"without input{_COMMENT if Verb.REVISE in verbs(pending) else ''}."
    )
    return "\n".join(filter(None, (click, markdown(rule_words(pending), 300))))


def command_block(
    pending: PendingApproval | PendingRestore, shown: int, *, show: bool = False
) -> str:
    """The first `shown` commands in a fence, narrow enough for the page; not the one that signs.

    Before them the one that shows the whole question, where `show` says that this page does not.
    """
    whole = [_command("show", "", pending)] if show else []
    others = _commands(pending)[1 if _is_signed(pending) else 0 :]
    return fenced("\n".join(_narrow(parts) for parts in whole + others[:shown]))


def _is_signed(pending: PendingApproval | PendingRestore) -> bool:
    """Whether its yes must be signed, which no click does."""
    return pending.rule.assurance is Assurance.SIGNED and verbs(pending)[0] in _YES


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
    if pending.rule.assurance is Assurance.SIGNED:
        options |= dict.fromkeys(_YES, f"{named} --sign")
    said = verbs(pending)
    if isinstance(pending, PendingApproval):
        said = [*said, Verb.STOP]
    return [_command(verb, options[verb], pending) for verb in said]


def _command(verb: str, option: str, pending: PendingApproval | PendingRestore) -> tuple[str, ...]:
    target = shlex.quote(pending.binds.workflow_id)
    parts = (f"runpermit {verb}", target, option, pending.cli_options)
    return tuple(filter(None, parts))
