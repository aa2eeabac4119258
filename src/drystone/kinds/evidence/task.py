"""The attempt: all hosts at once, each in a thread of its own and into a folder of its own below the run's artifacts.

    artifacts/evidence/TASK/ATTEMPT/HOST/      what `core.evidence` describes

An attempt that is made again collects anew, beside what the one before had: evidence is never written over. Artefacts are raw
bytes and are not redacted, for what is changed is no evidence; hence their folders are 0700 and the files 0600.
"""

from __future__ import annotations

import base64
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from drystone.core import evidence
from drystone.errors import AttemptError, FailureClass, PermanentError
from drystone.kinds.evidence.config import EvidenceConfig
from drystone.kinds.evidence.custody import Custody
from drystone.plugin import api
from drystone.plugin.files import user_path
from drystone.plugin.hosts import Host, fingerprint

if TYPE_CHECKING:
    import paramiko

    from drystone.plugin.ssh import Login

FOLDER = "evidence"
"""Below the run's artifacts."""


class Evidence(api.Kind):
    """Outputs, by host name: folder, artefacts (how many), size (bytes), cut, failed, chain (sha256 of the manifest's last line), key."""

    name: ClassVar[str] = "evidence"
    Config = EvidenceConfig
    changes: ClassVar[bool] = False
    looks_at_world: ClassVar[bool] = True

    def run(self, ctx: api.Context, config: EvidenceConfig) -> api.Outcome:
        """Collects from all hosts; one that cannot be reached fails the attempt, after the others came to their end."""
        # paramiko takes a quarter of a second to import, which runs without ssh do not pay.
        from drystone.plugin.ssh import enter, login_for

        home = Path(ctx.environ.get("HOME", "/"))
        key_files = {host.name: user_path(ctx, host.key_file) for host in config.hosts if host.key_file is not None}
        logins = {host.name: login_for(host, key_files.get(host.name), home) for host in config.hosts}
        folder = _fresh_folder(ctx)
        doors = enter(ctx, logins)
        with ThreadPoolExecutor(config.max_parallel, thread_name_prefix="evidence") as pool:
            work = {host.name: (host, logins[host.name], doors[host.name], folder / host.name) for host in config.hosts}
            futures = {name: pool.submit(_collect, ctx, config, *given) for name, given in work.items()}
        errors = [error for future in futures.values() if (error := future.exception()) is not None]
        if errors:
            raise _first(errors)
        outputs = {name: future.result() for name, future in futures.items()}
        return api.Outcome(outputs=outputs, result={"hosts": len(outputs)}, changed=False)


def _first(errors: list[BaseException]) -> BaseException:
    """What is not a host's doing comes first."""
    return next((error for error in errors if not isinstance(error, AttemptError)), errors[0])


def _fresh_folder(ctx: api.Context) -> Path:
    base = ctx.artifacts / FOLDER / (re.sub(r"[^A-Za-z0-9._-]+", "_", ctx.task).strip("._") or "task")
    base.mkdir(parents=True, exist_ok=True, mode=0o700)
    for number in range(ctx.attempt, ctx.attempt + 1_000):
        try:
            (base / str(number)).mkdir(mode=0o700)
        except FileExistsError:
            continue
        return base / str(number)
    raise PermanentError(FailureClass.INVALID, f'"{base}" is full of earlier collections', changed=False)


def _collect(ctx: api.Context, config: EvidenceConfig, host: Host, login: Login, door: ExitStack, folder: Path) -> dict[str, Any]:
    from drystone.kinds.evidence.collector import Collector
    from drystone.plugin.ssh import connect

    with door:
        client = connect(host, login, config.connect_timeout, ctx.check)
    try:
        with Custody(folder) as custody:
            collector = Collector(ctx, host.name, client, config.max_size, config.command_timeout)
            custody.begin(_head(ctx, config, host, login, client, collector.clock_offset()))
            for name, command in config.commands.items():
                collector.command(custody, name, command)
            ctx.emit(f"{host.name}: {custody.totals.artefacts} commands kept", host=host.name, status="commands")
            collector.files(custody, config.files)
            manifest = custody.end({"at": ctx.now().isoformat(), "size": custody.totals.size, "failed": custody.totals.failed})
            custody.sign(ctx.sign(manifest))
    finally:
        client.close()
    totals = custody.totals
    ctx.log(f"{host.name} | {totals.artefacts} artefacts, {totals.size} bytes, {totals.cut} cut, {totals.failed} not to be had: {folder}")
    ctx.emit(f"{host.name}: {totals.artefacts} artefacts, signed", host=host.name, status="signed")
    return {
        "folder": str(folder), "artefacts": totals.artefacts, "size": totals.size, "cut": totals.cut, "failed": totals.failed,
        "chain": custody.chain, "key": evidence.fingerprint(ctx.public_key()),
    }  # fmt: skip


def _head(
    ctx: api.Context, config: EvidenceConfig, host: Host, login: Login, client: paramiko.SSHClient, offset: float | None
) -> dict[str, Any]:
    transport = client.get_transport()
    assert transport is not None
    key = transport.get_remote_server_key()
    return {
        "case": config.case, "run": ctx.run_id, "plan": ctx.plan, "task": ctx.task, "attempt": ctx.attempt, "at": ctx.now().isoformat(),
        "host": host.name, "address": login.address, "port": login.port, "user": login.user,
        "host_key": f"{key.get_name()} {fingerprint(key.get_base64())}", "clock_offset_seconds": offset,
        "public_key": base64.b64encode(ctx.public_key()).decode(),
    }  # fmt: skip
