"""What a plan may write under `evidence:`, and what is collected when it does not say."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from drystone.plugin import api
from drystone.plugin.fields import Duration, Text
from drystone.plugin.hosts import Hosts

# Order of volatility (RFC 3227, 2.1): what is gone first comes first. Nothing is written on the host.
COMMANDS: dict[str, str] = {
    "time": "date -u +%Y-%m-%dT%H:%M:%S.%NZ; cat /proc/uptime",
    "processes": "ps -eww -o pid,ppid,user,lstart,stat,args --forest",
    "executables": "ls -l /proc/[0-9]*/exe",
    "open-files": "ls -l /proc/[0-9]*/fd",
    "sockets": "ss -anpe || cat /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6 /proc/net/unix",
    "neighbours": "ip neighbour",
    "routes": "ip route show table all",
    "addresses": "ip -details address",
    "firewall": "nft list ruleset",
    "users": "who -a; w",
    "logins": "last -Fw -n 200",
    "kernel-modules": "cat /proc/modules",
    "mounts": "cat /proc/self/mountinfo",
    "timers": "ls -laR /etc/cron* /var/spool/cron; systemctl list-timers --all",
    "new-files": "find / -xdev -type f -newermt '-1 day' -printf '%T+ %C+ %m %u %g %s %p\\n'",
}
FILES = (
    "/etc/passwd", "/etc/shadow", "/etc/group", "/etc/sudoers", "/etc/sudoers.d/*", "/etc/hosts", "/etc/resolv.conf",
    "/etc/ld.so.preload", "/etc/crontab", "/etc/cron.d/*", "/var/spool/cron/crontabs/*", "/etc/ssh/sshd_config",
    "/root/.ssh/authorized_keys", "/home/*/.ssh/authorized_keys", "/root/.*_history", "/home/*/.*_history",
    "/var/log/*log", "/var/log/wtmp", "/var/log/btmp",
)  # fmt: skip
_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def parse_size(value: Any) -> int:
    """`64MiB`, `1GiB`, or a number of bytes -> bytes. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    text = str(value).strip()
    digits, unit = text[:-3].strip(), text[-3:]
    if unit in _UNITS and digits.isdecimal() and int(digits) > 0:
        return int(digits) * _UNITS[unit]
    raise ValueError(f'"{value}" is not a size; write a number of bytes, or one with KiB, MiB or GiB: 64MiB')


_Bytes = Annotated[int, Field(ge=1)]
_Text = Annotated[str, Field(pattern="^[0-9]+ ?[KMG]iB$")]
Size = Annotated[int, BeforeValidator(parse_size, json_schema_input_type=_Bytes | _Text)]


class EvidenceConfig(api.Config):
    """Commands first, in the order given, then files. What a host cannot give is noted and keeps nothing else from being collected."""

    hosts: Hosts = Field(description="the hosts to collect from")
    case: Text = Field(default="", description="what the case is called; in the head of each manifest")
    commands: dict[str, Text] = Field(
        default=COMMANDS,
        description="name -> what /bin/sh runs, most volatile first; processes, sockets, users and more unless given",
        json_schema_extra={"default": None},
    )
    files: tuple[Text, ...] = Field(
        default=FILES, description="absolute paths, * and ? within a part; accounts, keys, timers and logs unless given",
        json_schema_extra={"default": None},
    )  # fmt: skip
    max_size: Size = Field(default="64MiB", validate_default=True, description="of one artefact; what is longer is cut, and noted as cut")
    command_timeout: Duration = Field(default="1m", validate_default=True, description="of one command; what it said until then is kept")
    connect_timeout: Duration = Field(default="10s", validate_default=True, description="of the try to connect")
    max_parallel: int = Field(default=10, ge=1, le=100, description="hosts at once")

    @field_validator("commands")
    @classmethod
    def _have_plain_names(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
                raise ValueError(f'"{name}" cannot name a command\'s output; use letters, digits, "-" and "_"')
        return value

    @field_validator("files")
    @classmethod
    def _are_absolute(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in value:
            path = PurePosixPath(pattern)
            if not path.is_absolute() or ".." in path.parts:
                raise ValueError(f'"{pattern}" is not an absolute path without ".."')
        return value
