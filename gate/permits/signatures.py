"""Who signed what: verified with the gate's own file of allowed signers, by `ssh-keygen -Y`."""

import asyncio
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

from gate.messages import Signer
from runpermit.config import ApprovalSettings
from runpermit.errors import DecisionRefusedError, ServiceUnavailableError
from runpermit.models import Statement
from runpermit.signing import NAMESPACE
from runpermit.text import one_line

SIGNATURE_CHARACTERS = 4096
# Each takes two processes for some milliseconds: a flood of signatures leaves room for the rest.
_AT_ONCE = 2
_SECONDS = 5.0
# Names that stand for many: whose key it is would be what the sender says.
_PATTERN = frozenset("*?!")
_FINGERPRINT = re.compile(r" key (SHA256:[A-Za-z0-9+/]{43})\s*\Z")
_GOOD = "Good "
_KEYGEN = "ssh-keygen"
_NO_KEYGEN = (
    "ssh-keygen can't be started on the gate's host, so nobody can sign. Install openssh-client "
    "there."
)


class UntrustedFileError(Exception):
    """Nobody can sign here; the message says why, and what to do."""


class Signatures:
    """Verifies them by approval.allowed_signers and approval.revoked_signers, read each time.

    A file that is missing, or that others than root and the gate's user could change, lets nobody
    sign.
    """

    def __init__(self, settings: ApprovalSettings) -> None:
        self._allowed = settings.allowed_signers
        self._revoked = settings.revoked_signers
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def signer(self, statement: Statement, signature: str, operator: str | None) -> Signer:
        """Whoever signed `statement`: `operator`, where a name was told.

        Raises DecisionRefusedError where nobody did who may, ServiceUnavailableError where
        ssh-keygen took too long.
        """
        async with self._turns:
            return await asyncio.to_thread(self._signer, statement, signature, operator)

    async def problem(self) -> str | None:
        """Why nobody can sign, None where somebody can."""
        try:
            await asyncio.to_thread(self._trusted)
        except UntrustedFileError as error:
            return str(error)
        return None

    def _signer(self, statement: Statement, signature: str, operator: str | None) -> Signer:
        try:
            allowed, *revoked = self._trusted()
            if len(signature) > SIGNATURE_CHARACTERS:
                raise _refused("is too long", "its signature is too long")
            with tempfile.TemporaryDirectory(prefix="runpermit-gate-") as folder:
                file = Path(folder, "signature")
                file.write_text(signature, encoding="utf-8", errors="replace")
                by_file = ("-s", str(file), "-f", str(allowed))
                name = _one(_said("find-principals", *by_file), operator)
                without = (option for path in revoked for option in ("-r", str(path)))
                options = ("-n", NAMESPACE, "-I", name, *by_file, *without)
                verified = _said("verify", *options, given=statement.signed_bytes)
        except UntrustedFileError as error:
            raise DecisionRefusedError(str(error), "this gate can't verify signatures") from None
        found = _FINGERPRINT.search(verified)
        if not verified.startswith(_GOOD) or found is None:
            raise _refused(
                "is not over this very question and answer, or its key has expired, was revoked, "
                "or is for something else",
                "its signature does not verify",
            )
        return Signer(name=name, key=found[1])

    def _trusted(self) -> list[Path]:
        """The allowed signers, then the revoked ones if there are such.

        Raises UntrustedFileError where nobody can sign.
        """
        if shutil.which(_KEYGEN) is None:
            raise UntrustedFileError(_NO_KEYGEN)
        try:
            pwd.getpwuid(os.getuid())
        except KeyError:
            raise UntrustedFileError(
                f"The gate's user {os.getuid()} has no name on its host (/etc/passwd), without "
                "which ssh-keygen verifies nothing, so nobody can sign. Give it one."
            ) from None
        if self._allowed is None:
            raise UntrustedFileError(
                "approval.allowed_signers is not set in the gate's settings, so nobody can sign. "
                "Make it as docs/authorisation.md says."
            )
        named = {"approval.allowed_signers": self._allowed}
        if self._revoked is not None:
            named["approval.revoked_signers"] = self._revoked
        return [_trusted(setting, file) for setting, file in named.items()]


def _trusted(setting: str, file: Path) -> Path:
    """The very file that `file` leads to, if nobody but root and this user can change it."""
    try:
        found = file.resolve(strict=True)
        if not found.is_file():
            raise UntrustedFileError(f"{file} ({setting}) is no file, so nobody can sign.")
        with found.open("rb"):
            pass
        for path in (found, *found.parents):
            _refuse_foreign(setting, path)
    except OSError as error:
        raise UntrustedFileError(
            f"{file} ({setting}) can't be read, so nobody can sign: {error.strerror}. Make it as "
            "docs/authorisation.md says."
        ) from None
    return found


def _refuse_foreign(setting: str, path: Path) -> None:
    seen = path.stat()
    others = seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    # In a folder such as /tmp nobody replaces what is another's.
    kept = stat.S_ISDIR(seen.st_mode) and seen.st_mode & stat.S_ISVTX
    if seen.st_uid not in {0, os.geteuid()} or (others and not kept):
        raise UntrustedFileError(
            f"{path} ({setting}) can be changed by others than root and the gate's user, so nobody "
            f"can sign. chown root {path}; chmod go-w {path}"
        )


def _one(found: str, operator: str | None) -> str:
    """The one name, of those found, that signs. Raises DecisionRefusedError."""
    names = list(dict.fromkeys(found.splitlines()))
    if not names:
        raise _refused(
            "is by a key that may not sign here now (approval.allowed_signers)",
            "its key may not sign",
        )
    if any(_PATTERN & set(name) for name in names):
        raise _refused(
            "is by a key that is listed for a pattern instead of a name "
            "(approval.allowed_signers): nobody knows whose it is",
            "its key is listed for a pattern",
        )
    if operator is not None and operator not in names:
        raise _refused(
            f"is by a key that is not {one_line(operator, 100)}'s (approval.allowed_signers). "
            "Leave out the name, or give that of the key",
            "its key is another's than was named",
        )
    if operator is None and len(names) > 1:
        raise _refused(
            "is by a key that is listed for several names: say which with --identity",
            "its key is listed for several names",
        )
    return operator or names[0]


def _refused(why: str, reason: str) -> DecisionRefusedError:
    return DecisionRefusedError(f"The signature {why}.", reason)


def _said(action: str, *options: str, given: bytes = b"") -> str:
    """What `ssh-keygen -Y action` says where all is well, else nothing."""
    try:
        done = subprocess.run(
            (_KEYGEN, "-Y", action, *options),
            input=given,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ServiceUnavailableError(
            f"ssh-keygen told nothing of a signature within {_SECONDS:g} s on the gate's host.",
            "gate",
        ) from None
    except OSError:
        raise UntrustedFileError(_NO_KEYGEN) from None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""
