"""The base layer of namespaces VMs: a root file system without the host's own affairs.

An allow list: /usr is read through an overlay of its own, and below /etc only what programs need is copied, and only
where everybody may read it. /var, /root, /home, /opt, /srv and /tmp begin empty; users of the host are not there,
passwords nowhere. Built once for each lab and state of the host; VMs share it and write to layers of their own.
"""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import shutil
import tempfile
from pathlib import Path

FORMAT = 1
"""Raised when the layer is built differently, so that old ones are not used."""

ETC = (
    "adduser.conf", "alternatives", "bash.bashrc", "ca-certificates", "ca-certificates.conf", "crypto-policies",
    "debian_version", "deluser.conf", "gai.conf", "host.conf", "inputrc", "issue", "ld.so.cache", "ld.so.conf",
    "ld.so.conf.d", "locale.alias", "locale.conf", "localtime", "login.defs", "lsb-release", "magic", "mime.types",
    "netconfig", "networks", "nsswitch.conf", "os-release", "pam.conf", "pam.d", "perl", "pki", "postgresql-common",
    "profile", "protocols", "python3", "python3.11", "python3.12", "python3.13", "redhat-release", "rpc", "security",
    "services", "shells", "skel", "ssl/certs", "ssl/openssl.cnf", "terminfo", "timezone", "xattr.conf",
)  # fmt: skip

FOLDERS = {
    "dev": 0o755, "proc": 0o555, "sys": 0o555, "run": 0o755, "usr": 0o755, "tmp": 0o1777, "root": 0o700,
    "home": 0o755, "opt": 0o755, "srv": 0o755, "mnt": 0o755, "media": 0o755, "etc": 0o755, "etc/ssh": 0o755,
    "var": 0o755, "var/cache": 0o755, "var/lib": 0o755, "var/local": 0o755, "var/log": 0o755, "var/mail": 0o755,
    "var/opt": 0o755, "var/spool": 0o755, "var/tmp": 0o1777,
}  # fmt: skip

SYSTEM_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""Links into /usr on today's distributions; where they are folders, `stage` mounts them read-only."""

_FIRST_PERSON = 1000
"""Users and groups from this number on are people of the host, not parts of its system (nobody, 65534, is)."""


def build(root: Path) -> Path:
    """The base layer below the lab's root; made when this state of the host has none. Under the registry's lock."""
    base = root / f"base-{_fingerprint()}"
    if not base.exists():
        fresh = Path(tempfile.mkdtemp(dir=root, prefix=".base-"))
        try:
            _fill(fresh)
            fresh.chmod(0o755)
            fresh.rename(base)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
    return base


def runtime_folders() -> list[tuple[str, int, int, int]]:
    """What the VM needs below /run at its start: name, mode, owner, group."""
    folders = [("sshd", 0o755, 0, 0), ("lock", 0o1777, 0, 0)]
    for user in _system_users():
        if user.pw_name == "postgres":
            # Debian's PostgreSQL has its socket there, and cannot make the folder itself.
            folders.append(("postgresql", 0o2775, user.pw_uid, user.pw_gid))
    return folders


def _fingerprint() -> str:
    """Changes with the format, the users and each allowed entry of /etc."""
    seen = [str(FORMAT)]
    for name in (*ETC, "passwd", "group"):
        try:
            status = os.lstat(f"/etc/{name}")
        except OSError:
            continue
        seen.append(f"{name} {status.st_mtime_ns} {status.st_size}")
    return hashlib.blake2s("\n".join(seen).encode(), digest_size=6).hexdigest()


def _fill(base: Path) -> None:
    for name, mode in FOLDERS.items():
        (base / name).mkdir()
        (base / name).chmod(mode)
    for name in SYSTEM_FOLDERS:
        host = Path("/", name)
        if host.is_symlink():
            (base / name).symlink_to(os.readlink(host))
        elif host.is_dir():
            (base / name).mkdir()
    (base / "var/run").symlink_to("/run")
    (base / "var/lock").symlink_to("/run/lock")
    for name in ETC:
        _copy(Path("/etc", name), base / "etc" / name)
    _write_users(base)


def _copy(source: Path, target: Path) -> None:
    """Copy what everybody may read; links stay links."""
    if source.is_symlink():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(os.readlink(source))
    elif source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        for entry in source.iterdir():
            _copy(entry, target / entry.name)
    elif source.is_file() and source.stat().st_mode & 0o004:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        shutil.copymode(source, target)


def _system_users() -> list[pwd.struct_passwd]:
    return [user for user in pwd.getpwall() if user.pw_uid < _FIRST_PERSON or user.pw_uid == 65534]


def _write_users(base: Path) -> None:
    """The host's system users, without passwords; their homes below /var exist, and are empty."""
    users = _system_users()
    groups = [group for group in grp.getgrall() if group.gr_gid < _FIRST_PERSON or group.gr_gid == 65534]
    names = {user.pw_name for user in users}
    _write(base / "etc/passwd", [
        f"{u.pw_name}:x:{u.pw_uid}:{u.pw_gid}:{u.pw_gecos}:{u.pw_dir}:{'/bin/bash' if u.pw_uid == 0 else u.pw_shell}"
        for u in users
    ])  # fmt: skip
    _write(base / "etc/group", [
        f"{g.gr_name}:x:{g.gr_gid}:{','.join(m for m in g.gr_mem if m in names)}" for g in groups
    ])  # fmt: skip
    # "*" is no password that could match, and, unlike "!", no locked account, which sshd would refuse.
    _write(base / "etc/shadow", [f"{user.pw_name}:*:19000:0:99999:7:::" for user in users], mode=0o600)
    _write(base / "etc/resolv.conf", [])
    for user in users:
        home = Path(user.pw_dir)
        if home.is_relative_to("/var") and home.is_dir():
            inside = base / home.relative_to("/")
            inside.mkdir(parents=True, exist_ok=True)
            os.chown(inside, user.pw_uid, user.pw_gid)


def _write(path: Path, lines: list[str], *, mode: int = 0o644) -> None:
    path.write_text("".join(line + "\n" for line in lines))
    path.chmod(mode)
