"""Operators' SSH keys for tests, and the gate's file of who may sign with them."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from runpermit.models import Permit, Statement, Verb
from runpermit.models.permit import Yes


@dataclass(frozen=True)
class Keys:
    """Key pairs in `folder`, made when they are first named."""

    folder: Path

    def private(self, name: str) -> Path:
        file = self.folder / name
        if not file.exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(file))
        return file

    def public(self, name: str) -> str:
        """Type and key, as a line of allowed_signers has them."""
        text = self.private(name).with_suffix(".pub").read_text()
        return " ".join(text.split()[:2])

    def line(self, principals: str, key: str | None = None, options: str = "") -> str:
        """A line of allowed_signers."""
        return f"{principals} {options} {self.public(key or principals)}\n"

    def sign(self, statement: Statement, key: str, namespace: str = "runpermit") -> str:
        return run(
            *("ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(self.private(key))),
            given=statement.signed_bytes,
        )

    def approved(
        self, permit: Permit, *keys: str, operators: tuple[str | None, ...] = (), **said: str
    ) -> Permit:
        """`permit` with the signature of each of `keys` over it; `said` is signed instead."""
        statement = statement_of(permit).model_copy(update=said)
        names = operators or (None,) * len(keys)
        approvals = [
            Yes(operator=name, signature=self.sign(statement, key))
            for key, name in zip(keys, names, strict=True)
        ]
        return permit.model_copy(update={"approvals": approvals})


def statement_of(permit: Permit, verb: Verb = Verb.APPROVE) -> Statement:
    revision = permit.revision
    return Statement(
        workflow_id=revision.workflow_id,
        first_run_id=revision.first_run_id,
        sha256=revision.sha256,
        decision=verb,
    )


def run(*command: str, given: bytes = b"") -> str:
    return subprocess.run(command, input=given, stdout=subprocess.PIPE, check=True).stdout.decode()
