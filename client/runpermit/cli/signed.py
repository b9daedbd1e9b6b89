"""The operator's own signature, for the commands that send one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from runpermit.cli.deciding import name_of
from runpermit.cli.session import Session
from runpermit.models import (
    ApprovalRule,
    Assurance,
    PendingApproval,
    PendingRestore,
    Statement,
    Verb,
)
from runpermit.signing import KEY_VARIABLE, signing_key

_SHA256_DIGITS = 64

Sign = Annotated[
    bool, typer.Option("--sign", help="Sign it, also where no signature is asked for.")
]
Key = Annotated[
    Path | None,
    typer.Option(
        "--key",
        metavar="FILE",
        help=f"The SSH key that signs; else {KEY_VARIABLE}, the agent's only one, id_ed25519.",
    ),
]
Identity = Annotated[
    str | None,
    typer.Option("--identity", help="Which of the names that the gate knows your key by."),
]


@dataclass(frozen=True)
class Signing:
    """Whether and how to sign: as the command line says, or as `rule` asks."""

    asked: bool
    key: Path | None
    identity: str | None

    def needed(self, rule: ApprovalRule) -> bool:
        """Whether this answer is signed."""
        told = self.asked or self.key is not None or self.identity is not None
        return told or rule.assurance is Assurance.SIGNED

    def names(self, sha256: str | None, rule: ApprovalRule) -> bool:
        """Whether `sha256` says enough to leave out what it names.

        Who signs by a few digits alone signs whatever somebody made to have them.
        """
        return sha256 is not None and (not self.needed(rule) or len(sha256) == _SHA256_DIGITS)

    def operator(self, name: str | None, rule: ApprovalRule) -> str | None:
        """The name to send: beside a signature none but one that was typed, the key has its own."""
        return (self.identity or name) if self.needed(rule) else name_of(name)

    def signature(
        self, session: Session, verb: Verb, pending: PendingApproval | PendingRestore
    ) -> str | None:
        """The signature over what was shown, None where none is needed.

        Raises ContainerConfigurationError where there is no key, or it does not sign.
        """
        if not self.needed(pending.rule):
            return None
        with signing_key(self.key) as key:
            session.output.note(f"Signing {verb} of {pending.revision} with {key.told}")
            return key.sign(statement_of(verb, pending))


def statement_of(verb: Verb, pending: PendingApproval | PendingRestore) -> Statement:
    """What is signed where `pending` is answered with `verb`."""
    return Statement(
        workflow_id=pending.binds.workflow_id,
        first_run_id=pending.binds.first_run_id,
        sha256=pending.sha256,
        decision=verb,
    )
