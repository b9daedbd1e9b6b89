"""Signs what an operator says with the operator's own SSH key, by `ssh-keygen -Y sign`."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runpermit.errors import ContainerConfigurationError
from runpermit.models import Statement

NAMESPACE = "runpermit"
"""What signatures are for: one that was made for git or a mail proves nothing here."""

KEY_VARIABLE = "RUNPERMIT_SIGNING_KEY"
_USUAL = Path(".ssh", "id_ed25519")
_AGENT_SECONDS = 10.0
_WAYS = (
    f"Name one with --key or {KEY_VARIABLE}: a private key's file, or a .pub file whose private "
    "part is in the agent. ssh-keygen -t ed25519 makes one; whoever keeps the gate's "
    "approval.allowed_signers lets it sign."
)


@dataclass(frozen=True)
class SigningKey:
    """A key that signs: its file, and how it is told to people."""

    file: Path
    told: str

    def sign(self, statement: Statement) -> str:
        """The armoured signature of `statement`; a passphrase is asked for at the terminal.

        Raises ContainerConfigurationError where it does not sign.
        """
        # Prompts and complaints are the operator's to read: they go to the terminal.
        command = ("-q", "-Y", "sign", "-n", NAMESPACE, "-f", str(self.file))
        signature = _keygen(*command, given=statement.signed_bytes, told=None)
        if "SSH SIGNATURE" not in signature:
            raise ContainerConfigurationError(
                f"ssh-keygen did not sign with {self.told}: nothing was sent. Is its private part "
                f"at hand, and the agent running? {_WAYS}"
            )
        return signature


def sign(statement: Statement, key: Path | None = None) -> str:
    """The armoured signature of `statement` by `signing_key(key)`."""
    with signing_key(key) as found:
        return found.sign(statement)


@contextlib.contextmanager
def signing_key(key: Path | None = None) -> Iterator[SigningKey]:
    """The key of `key`, else of RUNPERMIT_SIGNING_KEY, else the agent's only one, else the usual.

    A file holds a private key, or a public one whose private part an agent holds. Raises
    ContainerConfigurationError where there is none, or more than one in the agent.
    """
    named = key or (Path(value) if (value := os.environ.get(KEY_VARIABLE)) else None)
    if named is not None:
        yield _in_file(named.expanduser())
        return
    held = _in_agent()
    if len(held) > 1:
        raise ContainerConfigurationError(
            f"The agent holds {len(held)} keys: which one signs? {_WAYS}"
        )
    if not held:
        yield _in_file(Path.home() / _USUAL)
        return
    with tempfile.TemporaryDirectory(prefix="runpermit-") as folder:
        file = Path(folder, "key.pub")
        file.write_text(held[0] + "\n")
        yield SigningKey(file, f"the agent's only key, {_fingerprint(file)}")


def _in_file(file: Path) -> SigningKey:
    if not file.is_file():
        raise ContainerConfigurationError(f"There is no SSH key at {file}. {_WAYS}")
    return SigningKey(file, f"{file}, {_fingerprint(file)}")


def _fingerprint(file: Path) -> str:
    _, _, rest = _keygen("-l", "-f", str(file)).partition(" ")
    return rest.partition(" ")[0] or "which ssh-keygen can't read"


def _in_agent() -> list[str]:
    """The public keys that the agent holds; none where there is no agent."""
    try:
        said = subprocess.run(
            ("ssh-add", "-L"), capture_output=True, text=True, check=False, timeout=_AGENT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return said.stdout.splitlines() if said.returncode == 0 else []


def _keygen(*options: str, given: bytes = b"", told: int | None = subprocess.DEVNULL) -> str:
    """What ssh-keygen prints where all is well, else nothing; its complaints go to `told`."""
    try:
        done = subprocess.run(
            ("ssh-keygen", *options), input=given, stdout=subprocess.PIPE, stderr=told, check=False
        )
    except OSError:
        raise ContainerConfigurationError(
            "ssh-keygen can't be started: nothing was sent. Install openssh-client."
        ) from None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""
