"""Terraform providers that come as Python packages, behind entry points of the group `drystone.terraform_providers`.

A module that requires one finds it in a filesystem mirror of this user, which Terraform looks into by itself (a `terraform/plugins` folder
among XDG_DATA_DIRS), so that the user's own configuration of Terraform stays in force. For speed one daemon for each provider serves all
commands of this process; without it Terraform starts the provider from the mirror two or three times a command.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from drystone.errors import DrystoneError
from drystone.kinds.terraform import hcl
from drystone.kinds.terraform.hcl import Block
from drystone.plugin.api import FailureClass, PermanentError, ReattachHandle, TerraformProvider
from drystone.plugin.files import write_atomic

GROUP = "drystone.terraform_providers"
REATTACH = "DRYSTONE_TERRAFORM_REATTACH"
"""Environment variable: `0` starts providers for every command, with no daemon. The settings' `terraform.reattach` sets it."""

_OF_ONE_ATTEMPT = frozenset({"DRYSTONE_RUN", "DRYSTONE_TASK", "DRYSTONE_ATTEMPT", "DRYSTONE_TOKEN"})
"""Variables that a daemon must not take over from the task which happened to start it."""

_Key = tuple[str, frozenset[tuple[str, str]]]
_XDG_DEFAULT = "/usr/local/share:/usr/share"


class Providers:
    """The packaged providers and their daemons. One for each engine process; used from many threads at once."""

    def __init__(self, found: Callable[[], Iterable[EntryPoint]] = lambda: entry_points(group=GROUP)) -> None:
        self._found = found
        self._lock = threading.Lock()
        self._loaded: dict[str, TerraformProvider] | None = None
        self._daemons: dict[_Key, ReattachHandle] = {}

    def required(self, text: str) -> list[TerraformProvider]:
        """Those that a configuration asks for. Raises PermanentError(crashed) when one of the packages is broken."""
        with self._lock:
            if self._loaded is None:
                self._loaded = {provider.source: provider for provider in map(_load, self._found())}
            return [provider for source, provider in sorted(self._loaded.items()) if f'"{source}"' in text]

    def environ(
        self, required: Sequence[TerraformProvider], around: Mapping[str, str], own: Mapping[str, str], log: Callable[[str], None]
    ) -> dict[str, str]:
        """Variables that let Terraform find the providers: the mirror, and the daemons unless they are switched off.

        around: the environment of the commands to come; it says where this user's caches are.
        own:    the task's own variables among them. A daemon is configured by its environment, so tasks that differ here share none.
        """
        if not required:
            return {}
        cache = cache_folder(around)
        data = cache / "terraform-data"
        mirror = data / "terraform" / "plugins"
        mirror.mkdir(parents=True, exist_ok=True, mode=0o700)
        for provider in required:
            provider.install(mirror)
        given = {"XDG_DATA_DIRS": f"{data}:{around.get('XDG_DATA_DIRS') or _XDG_DEFAULT}"}
        if text := _user_config(around):
            given |= _merged_config(cache, text, mirror, required)
        if around.get(REATTACH, "").strip() not in ("0", "false", "no"):
            given |= self._reattach(required, around, own, log)
        return given

    def _reattach(
        self, required: Sequence[TerraformProvider], around: Mapping[str, str], own: Mapping[str, str], log: Callable[[str], None]
    ) -> dict[str, str]:
        known = json.loads(around.get("TF_REATTACH_PROVIDERS") or "{}")
        environ = {name: value for name, value in around.items() if name not in _OF_ONE_ATTEMPT}
        with self._lock:
            for provider in required:
                key = _key(provider, own)
                try:
                    if key not in self._daemons:
                        self._daemons[key] = provider.reattach(cache_folder(around), environ)
                    known |= json.loads(self._daemons[key].environ["TF_REATTACH_PROVIDERS"])
                except (DrystoneError, OSError) as error:
                    log(f'provider "{provider.source}" does not run as a daemon, so each command starts it: {error}')
        return {"TF_REATTACH_PROVIDERS": json.dumps(known)} if known else {}

    def restart(self, required: Sequence[TerraformProvider], own: Mapping[str, str]) -> None:
        """Lets go of daemons that do not answer; the next command starts new ones."""
        with self._lock:
            handles = [self._daemons.pop(_key(provider, own), None) for provider in required]
        for handle in handles:
            if handle is not None:
                handle.close()

    def close(self) -> None:
        """Ends all daemons."""
        with self._lock:
            handles, self._daemons = list(self._daemons.values()), {}
        for handle in handles:
            handle.close()


def _key(provider: TerraformProvider, own: Mapping[str, str]) -> _Key:
    return provider.source, frozenset(own.items())


def _load(entry: EntryPoint) -> TerraformProvider:
    try:
        provider: TerraformProvider = entry.load()()
    except Exception as error:
        raise PermanentError(
            FailureClass.CRASHED,
            f'terraform provider "{entry.name}" cannot be loaded: {error}',
            changed=False,
            hint=f'install the package behind "{entry.value}" anew, or remove it',
        ) from error
    return provider


def cache_folder(environ: Mapping[str, str]) -> Path:
    """This user's cache of drystone, by the XDG rules."""
    base = environ.get("XDG_CACHE_HOME")
    home = environ.get("HOME")
    folder = Path(base) if base else Path(home) / ".cache" if home else Path.home() / ".cache"
    return folder / "drystone"


def _user_config(environ: Mapping[str, str]) -> str:
    """The user's own CLI configuration, when it says where providers come from: then Terraform looks nowhere else."""
    home = Path(environ.get("HOME") or Path.home())
    named = environ.get("TF_CLI_CONFIG_FILE")
    for file in [Path(named)] if named else [home / ".terraformrc", home / ".tofurc"]:
        if file.is_file() and "provider_installation" in (text := file.read_text(encoding="utf-8")):
            return text
    return ""


def _merged_config(cache: Path, text: str, mirror: Path, required: Sequence[TerraformProvider]) -> dict[str, str]:
    """The user's CLI configuration with the mirror put first and the packaged providers taken out of every other method."""
    try:
        blocks = list(hcl.parse(text).find("provider_installation"))
    except hcl.HclSyntaxError:
        return {}
    sources = [provider.source for provider in required]
    methods = "".join(_excluding(method, sources) for block in blocks for method in block.blocks)
    for block in blocks:
        text = text.replace(block.text, "")
    ours = f"filesystem_mirror {{\n  path = {hcl.write(str(mirror))}\n  include = {hcl.write(sources)}\n}}\n"
    content = f"{text}\nprovider_installation {{\n{ours}{methods}}}\n".encode()
    file = cache / f"terraform-{hashlib.sha256(content).hexdigest()[:16]}.tfrc"
    if not file.exists():
        write_atomic(file, content, 0o600)
    return {"TF_CLI_CONFIG_FILE": str(file)}


def _excluding(method: Block, sources: Sequence[str]) -> str:
    """An installation method that leaves the packaged providers alone."""
    if method.type == "dev_overrides":
        return method.text + "\n"
    given = method.attributes.get("exclude", "[]").strip("[] \n,")
    excluded = ", ".join(part for part in (given, hcl.write(sources).strip("[]")) if part)
    attributes = method.attributes | {"exclude": f"[{excluded}]"}
    lines = "".join(f"  {name} = {value}\n" for name, value in attributes.items())
    return f"{method.type} {{\n{lines}}}\n"
