"""How drystone's terraform kind finds the lab: the entry point `lab` of the group `drystone.terraform_providers`.

`install` puts a launcher into a filesystem mirror: what `terraform init` needs, and all that a plain terraform needs.
`reattach` starts one provider process for many commands, which saves each of them a second. Imports nothing heavy: it
is loaded in every process that runs terraform.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING

from drystone.errors import LabError
from drystone.lab import sockets

SOURCE = "lab.drystone.invalid/drystone/lab"
"""The provider's address. The top-level domain .invalid never resolves (RFC 2606): nobody else can answer for us."""

VERSION = "1.0.0"
"""The provider's version in Terraform's eyes. Raised when its schema breaks, not with drystone's own."""

LAUNCHER = f"""\
#!/bin/sh
# Starts drystone's lab provider. This text never changes, and so neither does its checksum in .terraform.lock.hcl:
# which Python has drystone is said by the environment, by the file beside the mirror's hosts, or by PATH.
# Terraform links here from its own folder, hence the readlink.
here=$(dirname "$(readlink -f "$0")")
python=${{DRYSTONE_LAB_PYTHON:-$(cat "$here/../../../../../drystone-lab-python" 2>/dev/null)}}
if [ -x "$python" ]; then
  exec "$python" -P -m drystone.lab.launcher "$@"
elif command -v drystone-lab >/dev/null 2>&1; then
  exec drystone-lab "$@"
fi
echo "drystone's lab provider {VERSION} cannot start: no Python with drystone (set DRYSTONE_LAB_PYTHON)" >&2
exit 1
"""

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}

_START_SECONDS = 30.0
_STOP_SECONDS = 60.0


class LabProvider:
    """The lab as drystone's terraform kind sees it (plugin.api.TerraformProvider)."""

    source = SOURCE
    version = VERSION

    def install(self, mirror: Path) -> None:
        """Put the launcher into the mirror. Harmless when it is there, and when several do it at once."""
        machine = platform.machine()
        platform_name = f"{sys.platform}_{_ARCHITECTURES.get(machine, machine)}"
        folder = mirror.joinpath(*SOURCE.split("/"), VERSION, platform_name)
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder.parent, folder / f"terraform-provider-lab_v{VERSION}", LAUNCHER, mode=0o755)
        _write(mirror, mirror / "drystone-lab-python", sys.executable, mode=0o644)

    def reattach(self, workdir: Path, environ: Mapping[str, str]) -> Daemon:
        """Start one provider process that serves many terraform commands; it ends with this process, or on `close`.

        workdir: where its log goes, "lab-provider.log".
        environ: its environment; DRYSTONE_LAB_ROOT and DRYSTONE_LAB_MODE say which lab.
        Raises LabError when it does not come up, with the end of its log.
        """
        folder = sockets.make_folder()
        log = workdir / "lab-provider.log"
        try:
            with log.open("ab") as output:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "drystone.lab.launcher", "--daemon", str(folder)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=output,
                    start_new_session=True,
                    cwd="/",
                    env=dict(environ),
                )
            return Daemon(process, folder, _first_line(process, log))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


class Daemon:
    """A running provider process (plugin.api.ReattachHandle). `environ` is for the terraform commands that use it."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, socket: str) -> None:
        self._process = process
        self._folder = folder
        address = {"Network": "unix", "String": socket}
        entry = {"Protocol": "grpc", "ProtocolVersion": 6, "Pid": process.pid, "Test": True, "Addr": address}
        self.environ: Mapping[str, str] = {"TF_REATTACH_PROVIDERS": json.dumps({SOURCE: entry})}

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> None:
        """End it; what it is doing is finished first."""
        _close_pipes(self._process)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


if TYPE_CHECKING:
    from drystone.plugin.api import TerraformProvider

    _keeps_the_contract: TerraformProvider = LabProvider()


def _first_line(process: subprocess.Popen[bytes], log: Path) -> str:
    """The daemon's socket, which it says once it listens."""
    stream: IO[bytes] | None = process.stdout
    assert stream is not None
    ready = select.select([stream], [], [], _START_SECONDS)[0]
    line = stream.readline().decode().strip() if ready else ""
    if not line:
        process.kill()
        process.wait()
        _close_pipes(process)
        ending = log.read_text(errors="replace")[-800:].strip()
        raise LabError("the lab provider does not start", hint=f'its log "{log}" ends with: {ending or "nothing"}')
    return line


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _write(folder: Path, path: Path, text: str, *, mode: int) -> None:
    """Put the file there whole. One with the same text is left alone: a command may be running it."""
    with contextlib.suppress(FileNotFoundError):
        if path.read_text() == text:
            return
    fd, temporary = tempfile.mkstemp(dir=folder, prefix=".new-")
    with os.fdopen(fd, "w") as file:
        file.write(text)
    os.chmod(temporary, mode)
    os.replace(temporary, path)
