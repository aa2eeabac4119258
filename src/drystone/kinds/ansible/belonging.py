"""What a playbook needs of the project, for the bundle of a run: what Ansible itself would look for beside it."""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from drystone.plugin import sources

_BESIDE = (
    "roles", "collections", "group_vars", "host_vars", "library", "module_utils", "tasks", "handlers", "vars", "templates", "files",
    *(f"{what}_plugins" for what in ("action", "become", "cache", "callback", "connection", "filter")),
    *(f"{what}_plugins" for what in ("inventory", "lookup", "test", "vars")),
    "requirements.yml", "requirements.yaml",
)  # fmt: skip
_LED_TO = ("inventory", "roles_path", "collections_path", "collections_paths", "library", "filter_plugins")
_SECRET = ("vault_password_file", "vault_identity_list", "private_key_file", "become_password_file", "connection_password_file")


def files(config: Mapping[str, Any], source: Path) -> Iterator[Path]:
    """Files and folders below `source`; folders come in parts where a password or a key is in them."""
    playbooks = [path for path in sources.paths(config.get("playbook"), source) if path != source]
    settings = [file for playbook in playbooks for file in _settings(playbook, source)]
    secret = [*_secrets(config, source), *(path for file in settings for path in _named(file, _SECRET, source))]
    found = [
        *(path for playbook in playbooks for path in _around(playbook, source)),
        *settings,
        *(path for file in settings for path in _named(file, _LED_TO, source)),
        *sources.paths(config.get("inventory"), source),
        *(path for item in _beside_inventory(config, source) for path in sources.paths(item, source)),
        *sources.paths(_texts(config.get("collections")), source),
    ]
    for path in dict.fromkeys(found):
        yield from sources.without(path, secret)


def _around(playbook: Path, source: Path) -> Iterator[Path]:
    top = source / playbook.relative_to(source).parts[0]
    yield top
    if top.is_file():
        yield from (item for ending in ("*.yml", "*.yaml") for item in sorted(source.glob(ending)))
    yield from sources.paths(list(_BESIDE), source)


def _settings(playbook: Path, source: Path) -> Iterator[Path]:
    for folder in playbook.parents:
        if folder.is_relative_to(source) and (folder / "ansible.cfg").is_file():
            yield folder / "ansible.cfg"
            return


def _named(settings: Path, keys: Sequence[str], source: Path) -> Iterator[Path]:
    """What a setting of an ansible.cfg leads to, relative to the file."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(settings.read_text(encoding="utf-8", errors="replace"))
    except (configparser.Error, OSError):
        return
    for section in parser.sections():
        for key in keys:
            for word in parser.get(section, key, fallback="").replace(",", ":").split(":"):
                name = os.path.normpath(settings.parent / word.rpartition("@")[2].strip())
                if word.strip():
                    yield from sources.paths(os.path.relpath(name, source), source)


def _beside_inventory(config: Mapping[str, Any], source: Path) -> Iterator[list[str]]:
    for path in sources.paths(config.get("inventory"), source):
        folder = path.parent.relative_to(source)
        yield [str(folder / "group_vars"), str(folder / "host_vars")]


def _secrets(config: Mapping[str, Any], source: Path) -> Iterator[Path]:
    vaults, hosts = config.get("vault"), config.get("hosts")
    for items, key in ((vaults, "password_file"), (hosts, "key_file")):
        for item in items if isinstance(items, list | tuple) else (items,):
            if isinstance(item, Mapping):
                yield from sources.paths(item.get(key), source)


def _texts(value: Any) -> Any:
    return [value] if isinstance(value, str) else value
