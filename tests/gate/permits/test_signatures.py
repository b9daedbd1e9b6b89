"""Who signed, by the gate's own files; each that is doubtful lets nobody sign."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gate.messages import Signer
from gate.permits.signatures import Signatures
from runpermit.config import ApprovalSettings
from runpermit.errors import DecisionRefusedError, ServiceUnavailableError
from runpermit.models import Statement, Verb
from tests.signing import Keys, run

SAID = Statement(workflow_id="w", first_run_id="r", sha256="a" * 64, decision=Verb.APPROVE)
NOT_OVER_THIS = "its signature does not verify"
MAY_NOT = "its key may not sign"
CAN_NOT = "this gate can't verify signatures"

Allow = Callable[..., Signatures]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


@pytest.fixture
def allow(tmp_path: Path) -> Allow:
    """What verifies by these lines; the files themselves are in `tmp_path`."""

    def allow(lines: str, revoked: str | None = None) -> Signatures:
        (tmp_path / "allowed").write_text(lines)
        (tmp_path / "allowed").chmod(0o644)
        settings = ApprovalSettings(allowed_signers=tmp_path / "allowed")
        if revoked is not None:
            (tmp_path / "revoked").write_text(revoked)
            (tmp_path / "revoked").chmod(0o644)
            settings = settings.model_copy(update={"revoked_signers": tmp_path / "revoked"})
        return Signatures(settings)

    return allow


async def why_not(
    signatures: Signatures, signature: str, operator: str | None = None, said: Statement = SAID
) -> str:
    with pytest.raises(DecisionRefusedError) as error:
        await signatures.signer(said, signature, operator)
    return error.value.reason


async def test_the_principal_of_the_key_signed(keys: Keys, allow: Allow) -> None:
    signatures = allow(keys.line("ann") + keys.line("bob"))
    told = run("ssh-keygen", "-l", "-f", str(keys.private("bob"))).split()[1]
    for operator in (None, "bob"):
        signed = await signatures.signer(SAID, keys.sign(SAID, "bob"), operator)
        assert signed == Signer(name="bob", key=told)


@pytest.mark.parametrize(
    "other",
    [
        {"workflow_id": "v"},
        {"first_run_id": "s"},
        {"sha256": "b" * 64},
        {"decision": Verb.RESTORE},
    ],
    ids=str,
)
async def test_it_signed_this_and_nothing_else(
    keys: Keys, allow: Allow, other: dict[str, str]
) -> None:
    signature = keys.sign(SAID.model_copy(update=other), "ann")
    assert await why_not(allow(keys.line("ann")), signature) == NOT_OVER_THIS


async def test_for_this_purpose(keys: Keys, allow: Allow) -> None:
    signature = keys.sign(SAID, "ann", namespace="git")
    assert await why_not(allow(keys.line("ann")), signature) == NOT_OVER_THIS
    mail = allow(keys.line("ann", options='namespaces="mail"'))
    assert await why_not(mail, keys.sign(SAID, "ann")) == NOT_OVER_THIS


async def test_with_a_key_that_may_sign_now(keys: Keys, allow: Allow) -> None:
    signature = keys.sign(SAID, "ann")
    assert await why_not(allow(keys.line("bob")), signature) == MAY_NOT
    assert await why_not(allow(""), signature) == MAY_NOT
    for options in ('valid-before="20200101"', 'valid-after="21000101"'):
        reason = await why_not(allow(keys.line("ann", options=options)), signature)
        assert reason in {MAY_NOT, NOT_OVER_THIS}


async def test_that_was_not_revoked(keys: Keys, allow: Allow, tmp_path: Path) -> None:
    signature, lines = keys.sign(SAID, "ann"), keys.line("ann")
    assert await allow(lines, revoked="").signer(SAID, signature, None)
    assert await allow(lines, revoked=keys.public("bob") + "\n").signer(SAID, signature, None)
    assert await why_not(allow(lines, keys.public("ann") + "\n"), signature) == NOT_OVER_THIS
    signatures = allow(lines, "")
    public = keys.private("ann").with_suffix(".pub")
    run("ssh-keygen", "-q", "-k", "-f", str(tmp_path / "revoked"), str(public))
    assert await why_not(signatures, signature) == NOT_OVER_THIS
    (tmp_path / "revoked").unlink()
    assert await why_not(signatures, signature) == CAN_NOT


async def test_a_certificate_signs_as_one_of_its_names(keys: Keys, allow: Allow) -> None:
    public = keys.private("ann").with_suffix(".pub")
    run(
        *("ssh-keygen", "-q", "-s", str(keys.private("ca")), "-I", "1", "-n", "ann"),
        *("-V", "-1h:+1h", str(public)),
    )
    certificate = f"{public.with_suffix('')}-cert.pub"
    signature = run(
        *("ssh-keygen", "-q", "-Y", "sign", "-n", "runpermit", "-f", certificate),
        given=SAID.signed_bytes,
    )
    signatures = allow(keys.line("*", "ca", "cert-authority"))
    assert (await signatures.signer(SAID, signature, None)).name == "ann"
    assert await why_not(signatures, signature, "bob") == "its key is another's than was named"


@pytest.mark.parametrize(
    ("principals", "operator", "reason"),
    [
        ("ann,anna", None, "its key is listed for several names"),
        ("ann,anna", "bob", "its key is another's than was named"),
        ("ann", "bob", "its key is another's than was named"),
        ("ann", "-vvv", "its key is another's than was named"),
        ("*", "bob", "its key is listed for a pattern"),
        ("ann,b?b", "ann", "its key is listed for a pattern"),
    ],
)
async def test_a_key_has_one_name(
    keys: Keys, allow: Allow, principals: str, operator: str | None, reason: str
) -> None:
    signatures = allow(keys.line(principals, "ann"))
    assert await why_not(signatures, keys.sign(SAID, "ann"), operator) == reason


async def test_of_several_names_the_one_that_was_told(keys: Keys, allow: Allow) -> None:
    signatures = allow(keys.line("ann,anna", "ann"))
    assert (await signatures.signer(SAID, keys.sign(SAID, "ann"), "anna")).name == "anna"


@pytest.mark.parametrize(
    "text",
    ["no signature", "", "\0", "é\ud800", "-----BEGIN SSH SIGNATURE-----\nAAAA\n"],
    ids=ascii,
)
async def test_what_is_no_signature_is_none(keys: Keys, allow: Allow, text: str) -> None:
    assert await why_not(allow(keys.line("ann")), text) == MAY_NOT
    assert await why_not(allow(keys.line("ann")), "x" * 5000) == "its signature is too long"


async def test_a_broken_file_lets_nobody_sign(keys: Keys, allow: Allow) -> None:
    for broken in ("\0\1\2", "ann\n", keys.line("ann")[:40], "ann ssh-ed25519 AAAA\n"):
        assert await why_not(allow(broken), keys.sign(SAID, "ann")) == MAY_NOT


async def test_a_file_that_others_could_change_lets_nobody_sign(
    keys: Keys, allow: Allow, tmp_path: Path
) -> None:
    signature = keys.sign(SAID, "ann")
    signatures, file = allow(keys.line("ann")), tmp_path / "allowed"

    async def refused(says: str) -> None:
        assert await why_not(signatures, signature) == CAN_NOT
        assert says in (await signatures.problem() or "")

    for mode in (0o664, 0o646):
        file.chmod(mode)
        await refused("can be changed by others than root and the gate's user")
    file.chmod(0o644)
    folder = file.parent
    folder.chmod(0o777)
    await refused(f"chmod go-w {folder}")
    folder.chmod(0o700)
    assert await signatures.problem() is None
    assert await signatures.signer(SAID, signature, None)
    if os.geteuid() == 0:
        os.chown(file, 65534, 65534)
        await refused(f"chown root {file}")
    file.unlink()
    await refused("can't be read, so nobody can sign: No such file")
    file.mkdir()
    await refused("is no file")


async def test_a_link_is_as_good_as_where_it_leads(
    keys: Keys, allow: Allow, tmp_path: Path
) -> None:
    signatures, open_to_all = allow(keys.line("ann")), tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    (tmp_path / "allowed").rename(open_to_all / "real")
    (tmp_path / "allowed").symlink_to(open_to_all / "real")
    assert f"{open_to_all} (approval.allowed_signers)" in (await signatures.problem() or "")


async def test_without_the_setting_nobody_can_sign(keys: Keys) -> None:
    signatures = Signatures(ApprovalSettings())
    assert await why_not(signatures, keys.sign(SAID, "ann")) == CAN_NOT
    assert "approval.allowed_signers is not set" in (await signatures.problem() or "")


async def test_without_ssh_keygen_nobody_can_sign(
    keys: Keys, allow: Allow, monkeypatch: pytest.MonkeyPatch
) -> None:
    signature, signatures = keys.sign(SAID, "ann"), allow(keys.line("ann"))
    monkeypatch.setenv("PATH", "/nowhere")
    assert await why_not(signatures, signature) == CAN_NOT
    assert "Install openssh-client" in (await signatures.problem() or "")


async def test_a_user_without_a_name_verifies_nothing(
    keys: Keys, allow: Allow, monkeypatch: pytest.MonkeyPatch
) -> None:
    signature, signatures = keys.sign(SAID, "ann"), allow(keys.line("ann"))
    monkeypatch.setattr("os.getuid", lambda: 4_000_000_000)
    assert await why_not(signatures, signature) == CAN_NOT
    assert "has no name on its host" in (await signatures.problem() or "")


async def test_one_that_does_not_answer_is_given_up(
    keys: Keys, allow: Allow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signature, signatures = keys.sign(SAID, "ann"), allow(keys.line("ann"))
    (tmp_path / "bin").mkdir()
    stuck = tmp_path / "bin" / "ssh-keygen"
    stuck.write_text("#!/bin/sh\nexec sleep 60\n")
    stuck.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stuck.parent}:{os.environ['PATH']}")
    monkeypatch.setattr("gate.permits.signatures._SECONDS", 0.1)
    with pytest.raises(ServiceUnavailableError, match="told nothing of a signature"):
        await signatures.signer(SAID, signature, None)
