"""Evidence from a real SSH server: what is collected, in which order, and each way in which it can be found not to hold."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from drystone.app import evidence as custody
from drystone.core.evidence import Chain, Verdict
from drystone.errors import CancelledError, FailureClass, TemporaryError
from drystone.kinds.evidence import Evidence

kind = Evidence()


@pytest.fixture
def attempt(new_attempt, tmp_path):
    """Nothing of the user's own ssh folder is seen."""
    return new_attempt(env={"HOME": str(tmp_path / "home")})


@pytest.fixture
def there(tmp_path) -> Path:
    """A folder of the host."""
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "b.log").write_bytes(b"\x00\xffbytes\n")
    (folder / "a.log").write_text("first\n")
    return folder


def run(attempt, **config):
    return kind.run(attempt.ctx, Evidence.Config.model_validate(config))


@pytest.fixture
def collected(attempt, sshd, there) -> Path:
    """Two commands and two files, whole and signed."""
    given = run(attempt, hosts=sshd.host(), case="C-17", commands={"who": "echo me", "kernel": "uname -s"}, files=[f"{there}/*.log"])
    return Path(given.outputs["web1"]["folder"])


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def look(folder: Path, trusted: bytes | None = None) -> Verdict:
    return custody._look(folder, trusted)


# ---- collection ------------------------------------------------------------------------------------------------------


def test_commands_come_before_files_and_every_byte_is_kept(collected, attempt, there):
    entries = lines(collected)
    assert [entry["type"] for entry in entries] == ["head", "command", "command", "file", "file", "end"]
    assert [entry.get("name") or entry.get("source") for entry in entries[1:-1]] == ["who", "kernel", f"{there}/a.log", f"{there}/b.log"]
    assert (collected / entries[1]["path"]).read_text() == "me\n" and entries[1]["exit"] == 0
    assert (collected / entries[4]["path"]).read_bytes() == b"\x00\xffbytes\n"
    assert entries[4]["sha256"] == hashlib.sha256(b"\x00\xffbytes\n").hexdigest()
    assert entries[-1]["artefacts"] == 4
    assert look(collected, attempt.ctx.public_key()).is_intact


def test_the_head_says_whose_evidence_it_is(collected, attempt):
    head = lines(collected)[0]
    assert (head["case"], head["run"], head["host"]) == ("C-17", attempt.ctx.run_id, "web1")
    assert head["host_key"].split()[1].startswith("SHA256:")
    assert abs(head["clock_offset_seconds"]) < 2, "it is the same machine"


def test_evidence_is_for_its_owner_only(collected):
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [collected, *collected.rglob("*")]}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def test_a_secret_of_the_run_is_not_cut_out_of_evidence(attempt, sshd):
    attempt.ctx.redact("hunter2hunter2")
    given = run(attempt, hosts=sshd.host(), commands={"said": "echo hunter2hunter2"}, files=[])
    entry = lines(Path(given.outputs["web1"]["folder"]))[1]
    assert (Path(given.outputs["web1"]["folder"]) / entry["path"]).read_text() == "hunter2hunter2\n"


def test_what_is_longer_than_its_limit_is_cut_and_noted(attempt, sshd, there):
    (there / "a.log").write_bytes(b"x" * 5_000)
    given = run(attempt, hosts=sshd.host(), max_size=1_000, commands={"zeros": "cat /dev/zero"}, files=[f"{there}/a.log"])
    folder = Path(given.outputs["web1"]["folder"])
    assert [(entry["size"], entry["cut"]) for entry in lines(folder)[1:3]] == [(1_000, True), (1_000, True)]
    assert given.outputs["web1"]["cut"] == 2 and look(folder).is_intact


def test_what_a_host_cannot_give_is_noted_and_the_rest_is_collected(attempt, sshd, there):
    os.mkfifo(there / "pipe.log")
    commands = {"gone": "no-such-command", "stuck": "echo so far; sleep 600", "last": "echo last"}
    given = run(attempt, hosts=sshd.host(), commands=commands, command_timeout="1s", files=[f"{there}/*.log", "/no/such/file"])
    folder = Path(given.outputs["web1"]["folder"])
    gone, stuck, last, *files = lines(folder)[1:-1]
    assert "does not have" in gone["error"] and "no end after 1 s" in stuck["error"] and last["exit"] == 0
    assert (folder / stuck["path"]).read_text() == "so far\n"
    assert [entry["source"] for entry in files] == [f"{there}/a.log", f"{there}/b.log"], "a pipe would never end"
    assert given.outputs["web1"]["failed"] == 2 and look(folder).is_intact


def test_a_file_of_proc_is_read_to_its_end_though_it_has_no_size(attempt, sshd):
    given = run(attempt, hosts=sshd.host(), commands={}, files=["/proc/version"])
    assert lines(Path(given.outputs["web1"]["folder"]))[1]["size"] == len(Path("/proc/version").read_bytes())


def test_another_attempt_collects_beside_the_first(attempt, sshd):
    folders = [run(attempt, hosts=sshd.host(), commands={"n": "echo n"}, files=[]).outputs["web1"]["folder"] for _ in range(2)]
    assert len(set(folders)) == 2 and all(look(Path(folder)).is_intact for folder in folders)


def test_a_host_that_is_away_does_not_keep_the_others_from_being_collected(attempt, sshd):
    away = {**sshd.host("away"), "port": 1}
    with pytest.raises(TemporaryError) as caught:
        run(attempt, hosts=[away, sshd.host("web1")], commands={"n": "echo n"}, files=[])
    assert caught.value.failure_class is FailureClass.UNREACHABLE
    [manifest] = attempt.ctx.artifacts.rglob("manifest.jsonl")
    assert manifest.parent.name == "web1" and look(manifest.parent).is_intact


def test_a_cancelled_collection_keeps_what_it_had_and_is_not_taken_for_whole(attempt, sshd, in_background, eventually, tmp_path):
    commands = {"first": "echo first", "wait": f"touch {tmp_path}/begun; sleep 600"}
    work = in_background(lambda: run(attempt, hosts=sshd.host(), commands=commands, files=[]))
    eventually(lambda: (tmp_path / "begun").exists())
    attempt.stop()
    work.join()
    assert isinstance(work.error, CancelledError)
    [manifest] = attempt.ctx.artifacts.rglob("manifest.jsonl")
    assert [entry["type"] for entry in lines(manifest.parent)] == ["head", "command"]
    assert any("no end" in problem for problem in look(manifest.parent).problems)


@pytest.mark.parametrize(
    "wrong", [{"files": ["var/log"]}, {"files": ["/var/../etc"]}, {"commands": {"../x": "id"}}, {"max_size": "64MB"}, {"max_size": 0}]
)
def test_a_config_that_cannot_work_is_refused(wrong):
    with pytest.raises(ValidationError):
        Evidence.Config.model_validate({"hosts": "web1", **wrong})


# ---- verification ----------------------------------------------------------------------------------------------------


def first_artefact(folder: Path) -> Path:
    return folder / lines(folder)[1]["path"]


def rewritten(folder: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    manifest = folder / "manifest.jsonl"
    manifest.write_bytes(b"".join(change(manifest.read_bytes().splitlines(keepends=True))))


def changed_byte(folder: Path) -> None:
    data = bytearray(first_artefact(folder).read_bytes())
    data[0] ^= 1
    first_artefact(folder).write_bytes(bytes(data))


def link_in_place(folder: Path) -> None:
    path = first_artefact(folder)
    path.rename(folder.parent / "elsewhere")
    path.symlink_to(folder.parent / "elsewhere")


TAMPERED = {
    "a changed byte": (changed_byte, "was changed"),
    "a missing file": (lambda folder: first_artefact(folder).unlink(), "is missing"),
    "an added file": (lambda folder: (folder / "artefacts/0099-planted").write_text("x"), "was added"),
    "a link in its place": (link_in_place, "not a regular file"),
    "entries in another order": (lambda folder: rewritten(folder, lambda all: [all[0], all[2], all[1], *all[3:]]), "out of order"),
    "an entry taken out": (lambda folder: rewritten(folder, lambda all: [all[0], *all[2:]]), "out of order"),
    "an entry rewritten": (
        lambda folder: rewritten(folder, lambda all: [all[0], all[1].replace(b'"echo me"', b'"echo you"'), *all[2:]]), "does not follow"
    ),
    "a cut tail": (lambda folder: rewritten(folder, lambda all: all[:-1]), "has no end"),
    "half a line": (lambda folder: rewritten(folder, lambda all: [*all[:-1], all[-1][:20]]), "cut off in the middle"),
    "more after the end": (lambda folder: rewritten(folder, lambda all: [*all, all[-1]]), "is the end, and more follows"),
    "an emptied manifest": (lambda folder: rewritten(folder, lambda all: []), "does not begin with its head"),
    "a manifest that is gone": (lambda folder: (folder / "manifest.jsonl").unlink(), "does not begin with its head"),
    "another signature": (lambda folder: (folder / "manifest.sig").write_bytes(bytes(64)), "signature is not one of this manifest"),
    "no signature": (lambda folder: (folder / "manifest.sig").unlink(), "there is no signature"),
}  # fmt: skip


@pytest.mark.parametrize("tamper", TAMPERED)
def test_tampering_is_found(tamper, collected, attempt):
    change, said = TAMPERED[tamper]
    change(collected)
    problems = look(collected, attempt.ctx.public_key()).problems
    assert any(said in problem for problem in problems), problems


def test_a_whole_new_chain_signed_by_another_key_is_found(collected, attempt, tmp_path):
    """Somebody who writes everything anew has no trouble but the key."""

    key, chain = Ed25519PrivateKey.generate(), Chain()
    entries = lines(collected)
    changed_byte(collected)
    entries[1]["sha256"] = hashlib.sha256(first_artefact(collected).read_bytes()).hexdigest()
    entries[0]["public_key"] = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    manifest = b"".join(chain.add(entry.pop("type"), entry) for entry in entries)
    (collected / "manifest.jsonl").write_bytes(manifest)
    (collected / "manifest.sig").write_bytes(key.sign(manifest))
    assert look(collected).is_intact, "nobody vouches for the key"
    assert any("another key" in problem for problem in look(collected, attempt.ctx.public_key()).problems)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="OPENSSL NOT TESTED: it is not installed")
def test_openssl_says_the_same_without_drystone(collected, attempt, tmp_path):
    (tmp_path / "key.pem").write_text(custody.pem(attempt.ctx.public_key()))
    words = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", tmp_path / "key.pem", "-rawin", "-in", collected / "manifest.jsonl"]
    verify = [*words, "-sigfile", collected / "manifest.sig"]
    assert subprocess.run(verify, capture_output=True).returncode == 0
    rewritten(collected, lambda all: all[:-1])
    assert subprocess.run(verify, capture_output=True).returncode != 0
