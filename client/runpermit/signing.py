"""Signs what an operator says with the operator's own SSH key, by `ssh-keygen -Y sign`."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from runpermit.errors import ContainerConfigurationError
from runpermit.models import Statement

NAMESPACE = "runpermit"
"""What signatures are for: one that was made for git or a mail proves nothing here."""

KEY_VARIABLE = "RUNPERMIT_SIGNING_KEY"
_USUAL = ("id_ed25519_sk", "id_ed25519", "id_ecdsa_sk", "id_ecdsa", "id_rsa")
_NO_KEY = (
    f"Name one by --key or {KEY_VARIABLE}: a private key's file, or a .pub file whose private part "
    "is in the agent or on a security key."
)


def sign(statement: Statement, key: Path | None = None) -> str:
    """The armoured signature of `statement`; a passphrase is asked for at the terminal.

    `key`: a private key, or a public one whose private part an agent holds. Without it that of
    RUNPERMIT_SIGNING_KEY, else the only one in the agent, else the usual one of ~/.ssh. Raises
    ContainerConfigurationError where there is none, or it does not sign.
    """
    with _chosen(key) as path:
        command = ("ssh-keygen", "-q", "-Y", "sign", "-n", NAMESPACE, "-f", str(path))
        try:
            # Its prompts and complaints are the operator's to read: they go to the terminal.
            done = subprocess.run(
                command, input=statement.signed_bytes, stdout=subprocess.PIPE, check=False
            )
        except OSError as error:
            raise ContainerConfigurationError(
                f"ssh-keygen could not be started: {error}. Install OpenSSH's client."
            ) from None
    if done.returncode or not done.stdout:
        raise ContainerConfigurationError(
            f"ssh-keygen did not sign with {key or path} (exit code {done.returncode}): nothing "
            f"was sent. {_NO_KEY}"
        )
    return done.stdout.decode("ascii", "replace")


@contextlib.contextmanager
def _chosen(key: Path | None) -> Iterator[Path]:
    named = key or (Path(value) if (value := os.environ.get(KEY_VARIABLE)) else None)
    if named is not None:
        path = named.expanduser()
        if not path.is_file():
            raise ContainerConfigurationError(f"There is no key at {path}. {_NO_KEY}")
        yield path
        return
    held = _in_agent()
    if len(held) == 1:
        with tempfile.TemporaryDirectory(prefix="runpermit-") as folder:
            path = Path(folder, "key.pub")
            path.write_text(held[0] + "\n")
            yield path
        return
    usual = next((path for name in _USUAL if (path := Path.home() / ".ssh" / name).is_file()), None)
    if usual is None or held:
        found = f"The agent holds {len(held)} keys" if held else "There is no SSH key"
        raise ContainerConfigurationError(f"{found}: which one signs? {_NO_KEY}")
    yield usual


def _in_agent() -> list[str]:
    """The public keys that the agent holds; none where there is no agent."""
    try:
        told = subprocess.run(
            ("ssh-add", "-L"), capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return told.stdout.splitlines() if told.returncode == 0 else []
