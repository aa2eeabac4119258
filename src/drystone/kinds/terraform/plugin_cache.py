"""One copy of each downloaded provider for all instances: filled under a lock, and only read from then on.

    nothing is missing   init links to what is in the cache, many at once
    something may be     lock -> init into a staging folder, in which the cache is linked -> move what is new into the cache -> unlock
                         -> init as above

Terraform's own cache (TF_PLUGIN_CACHE_DIR) must not be filled by two commands at once, and one that is killed leaves half a provider in
it. A package gets into this one by one rename, when it is whole. What a person has configured as the cache serves as well: the lock and
the staging folder are in it under names with a dot, which Terraform passes over.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from drystone.kinds.terraform.providers import cache_folder
from drystone.plugin.api import TerraformProvider

VARIABLE = "TF_PLUGIN_CACHE_DIR"
UNLOCKED = "TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE"
"""Without it Terraform downloads again what the lock file does not name yet; with it, the lock file gets this platform's checksum only."""

_BUILTIN = "terraform"
_TYPES = re.compile(r'^\s*(?:resource|data|ephemeral|provider)\s+"([A-Za-z0-9-]+)[_"]', re.MULTILINE)
_SOURCES = re.compile(r'\bsource"?\s*[=:]\s*"([^"./][^"]*/[^"]*)"')
_LOCKED = re.compile(r'^provider\s+"([^"]+)"\s*\{\s*version\s*=\s*"([^"]+)"', re.MULTILINE)
_CONFIGURED = re.compile(r'^\s*plugin_cache_dir\s*=\s*"([^"]+)"', re.MULTILINE)
_PACKAGE = "*/*/*/*/*"
"""Host, namespace, type, version and platform."""
_STAGING = ".staging-"


def downloads(text: str, packaged: Sequence[TerraformProvider]) -> bool:
    """Whether a configuration may need providers from elsewhere: not Terraform's builtin one, and none that comes as a Python package."""
    known = {provider.source for provider in packaged}
    types = {_BUILTIN, *(source.rpartition("/")[2] for source in known)}
    return any(found not in types for found in _TYPES.findall(text)) or any(found not in known for found in _SOURCES.findall(text))


def of(environ: Mapping[str, str]) -> PluginCache:
    """The cache that a person has configured, else this user's own."""
    if named := environ.get(VARIABLE) or _configured(environ):
        return PluginCache(Path(os.path.expandvars(named)).expanduser())
    return PluginCache(cache_folder(environ) / "terraform-plugins")


def _configured(environ: Mapping[str, str]) -> str:
    named = environ.get("TF_CLI_CONFIG_FILE")
    file = Path(named) if named else Path(environ.get("HOME") or Path.home()) / ".terraformrc"
    found = _CONFIGURED.search(file.read_text(encoding="utf-8", errors="replace")) if file.is_file() else None
    return found.group(1) if found is not None else ""


@dataclass(frozen=True, slots=True)
class PluginCache:
    """A folder in Terraform's layout: HOST/NAMESPACE/TYPE/VERSION/PLATFORM."""

    folder: Path

    def has(self, lock_file: Path) -> bool:
        """Whether all that a dependency lock file names is here. False without one: then nobody knows what it would name."""
        try:
            locked = _LOCKED.findall(lock_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return False
        return bool(locked) and all((self.folder / source / version).is_dir() for source, version in locked)

    @contextmanager
    def filling(self, wait: Callable[[], None], log: Callable[[str], None] = lambda line: None) -> Iterator[Path]:
        """A folder to be filled by one init; what is new in it is in the cache afterwards.

        wait: called again and again while another task fills it.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.folder / ".lock").open("a") as lock:
            if not (ours := _locked(lock.fileno())):
                log(f'another task is downloading providers into "{self.folder}": waiting for it')
            while not ours:
                wait()
                ours = _locked(lock.fileno())
            # A staging folder that is there now is that of a killed command: this one has the lock.
            for left in self.folder.glob(f"{_STAGING}*"):
                shutil.rmtree(left, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=_STAGING, dir=self.folder) as name:
                staging = Path(name)
                for package in self._packages():
                    place = staging / package.relative_to(self.folder)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.symlink_to(package)
                yield staging
                self._take(staging)

    def _packages(self) -> Sequence[Path]:
        return [path for path in self.folder.glob(_PACKAGE) if not path.relative_to(self.folder).parts[0].startswith(".")]

    def _take(self, staging: Path) -> None:
        for package in staging.glob(_PACKAGE):
            place = self.folder / package.relative_to(staging)
            if not package.is_symlink() and not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                package.rename(place)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
