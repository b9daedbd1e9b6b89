"""Which key signs, and what is said where none does."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runpermit.errors import ContainerConfigurationError
from runpermit.models import Statement, Verb
from runpermit.signing import sign, signing_key
from tests.signing import Keys, run

SAID = Statement(workflow_id="w", first_run_id="r", sha256="a" * 64, decision=Verb.APPROVE)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody's keys but those that a test makes."""
    folder = tmp_path / "home"
    (folder / ".ssh").mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setattr(Path, "home", lambda: folder)
    for name in ("SSH_AUTH_SOCK", "RUNPERMIT_SIGNING_KEY"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    path = tmp_path / "agent"
    with subprocess.Popen(
        ("ssh-agent", "-D", "-a", str(path)), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it listens
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        yield
        process.kill()


def signed_by(signature: str, keys: Keys, name: str, tmp_path: Path) -> bool:
    (tmp_path / "signature").write_text(signature)
    (tmp_path / "allowed").write_text(keys.line("me", name))
    verify = ("ssh-keygen", "-Y", "verify", "-n", "runpermit", "-I", "me")
    files = ("-s", str(tmp_path / "signature"), "-f", str(tmp_path / "allowed"))
    done = subprocess.run(
        (*verify, *files), input=SAID.signed_bytes, capture_output=True, check=False
    )
    return done.returncode == 0


def test_the_key_that_is_named_signs(
    keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNPERMIT_SIGNING_KEY", str(keys.private("variable")))
    assert signed_by(sign(SAID, keys.private("named")), keys, "named", tmp_path)
    assert signed_by(sign(SAID), keys, "variable", tmp_path)
    with signing_key(keys.private("named")) as key:
        fingerprint = run("ssh-keygen", "-l", "-f", str(keys.private("named"))).split()[1]
        assert key.told == f"{keys.private('named')}, {fingerprint}"


@pytest.mark.usefixtures("agent")
def test_else_the_only_one_of_the_agent_whose_private_part_no_file_holds(
    keys: Keys, home: Path, tmp_path: Path
) -> None:
    (home / ".ssh" / "id_ed25519").write_text("not this one")
    run("ssh-add", "-q", str(keys.private("held")))
    keys.private("held").unlink()
    assert signed_by(sign(SAID), PublicKeys(tmp_path), "held", tmp_path)
    public = tmp_path / "held.pub"
    assert signed_by(sign(SAID, public), PublicKeys(tmp_path), "held", tmp_path)
    run("ssh-add", "-q", str(keys.private("second")))
    with pytest.raises(ContainerConfigurationError, match="holds 2 keys: which one signs"):
        sign(SAID)
    assert signed_by(sign(SAID, public), PublicKeys(tmp_path), "held", tmp_path)


class PublicKeys(Keys):
    """Those whose private part is gone."""

    def public(self, name: str) -> str:
        return " ".join((self.folder / f"{name}.pub").read_text().split()[:2])


def test_else_the_usual_one(keys: Keys, home: Path, tmp_path: Path) -> None:
    keys.private("usual").rename(home / ".ssh" / "id_ed25519")
    assert signed_by(sign(SAID), PublicKeys(tmp_path), "usual", tmp_path)


def test_a_passphrase_is_asked_for_at_the_terminal(keys: Keys, tmp_path: Path) -> None:
    key, answer = keys.private("locked"), tmp_path / "answer"
    run("ssh-keygen", "-q", "-p", "-P", "", "-N", "secret words", "-f", str(key))
    program = tmp_path / "program.py"
    program.write_text(
        "import pathlib, runpermit.signing as signing\n"
        "from runpermit.models import Statement\n"
        f"said = Statement.model_validate_json({SAID.model_dump_json()!r})\n"
        f"signature = signing.sign(said, pathlib.Path({str(key)!r}))\n"
        f"pathlib.Path({str(answer)!r}).write_text(signature)\n"
    )
    with subprocess.Popen(
        ("script", "-qec", f"{sys.executable} {program}", "/dev/null"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
    ) as terminal:  # fmt: skip
        assert terminal.stdin is not None
        assert terminal.stdout is not None
        shown = b""
        while b"passphrase" not in shown:
            more = terminal.stdout.read(1)
            assert more, shown
            shown += more
        terminal.stdin.write(b"secret words\n")
        shown += terminal.stdout.read()
    assert b"secret" not in shown
    assert signed_by(answer.read_text(), keys, "locked", tmp_path)


def test_without_a_key_it_says_what_to_do(keys: Keys, tmp_path: Path) -> None:
    with pytest.raises(ContainerConfigurationError, match="There is no SSH key at") as error:
        sign(SAID)
    for word in ("--key", "RUNPERMIT_SIGNING_KEY", "ssh-keygen -t ed25519", "allowed_signers"):
        assert word in error.value.message
    with pytest.raises(ContainerConfigurationError, match="There is no SSH key at /nowhere"):
        sign(SAID, Path("/nowhere"))
    keys.private("gone").unlink()
    with pytest.raises(ContainerConfigurationError, match=r"did not sign with .*gone\.pub"):
        sign(SAID, tmp_path / "gone.pub")


def test_without_ssh_keygen_it_says_what_to_install(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = keys.private("named")
    monkeypatch.setitem(os.environ, "PATH", "/nowhere")
    with pytest.raises(ContainerConfigurationError, match="Install openssh-client"):
        sign(SAID, key)
