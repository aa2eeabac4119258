"""The command line and the environment of ansible-playbook. Pure: everything from outside comes in as an argument."""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from drystone.kinds.ansible.config import AnsibleConfig

CALLBACKS = str(Path(__file__).with_name("callbacks"))
DEFAULT_COLLECTIONS = "~/.ansible/collections:/usr/share/ansible/collections"


@dataclass(frozen=True, kw_only=True, slots=True)
class Files:
    """Absolute paths of what the command reads.

    vaults: pairs of a vault id, or None, and a password file.    only: the hosts of a retry, one a line.
    """

    playbook: str
    variables: str
    inventory: str | None = None
    vaults: tuple[tuple[str | None, str], ...] = ()
    only: str | None = None


def playbook_argv(program: str, config: AnsibleConfig, files: Files) -> list[str]:
    """The words of the command. No value of the plan but names, tags and limits is among them: variables are in a file."""
    words = [program]
    if files.inventory is not None:
        words.append(f"--inventory={files.inventory}")
    words.append(f"--extra-vars=@{files.variables}")
    for vault_id, path in files.vaults:
        words.append(f"--vault-id={vault_id}@{path}" if vault_id else f"--vault-password-file={path}")
    # Hosts of a retry were within the limit.
    limit = config.limit if files.only is None else (f"@{files.only}",)
    for option, values in (("limit", limit), ("tags", config.tags), ("skip-tags", config.skip_tags)):
        if values:
            words.append(f"--{option}={','.join(values)}")
    if config.forks is not None:
        words.append(f"--forks={config.forks}")
    words += [f"--{flag}" for flag, wanted in (("check", config.check), ("diff", config.diff)) if wanted]
    if config.escalation is not None:
        words.append("--become")
        if config.escalation.user is not None:
            words.append(f"--become-user={config.escalation.user}")
        if config.escalation.method is not None:
            words.append(f"--become-method={config.escalation.method}")
    if config.verbosity:
        words.append("-" + "v" * config.verbosity)
    return [*words, files.playbook]


def playbook_env(
    config: AnsibleConfig,
    environ: Mapping[str, str],
    *,
    settings: str,
    settings_path: str | None,
    scratch: str,
    collections: tuple[str, ...] = (),
) -> dict[str, str]:
    """What is added to `environ`. The user's environment and ansible.cfg win over our defaults, the plan's `env` over all.

    settings:    content of the project's ansible.cfg, or nothing.
    scratch:     the attempt's private folder: sockets of SSH connections and temporary files go there, and go with it.
    collections: absolute folders of the config's collections.
    """
    chosen = _keys(settings)
    added = {"ANSIBLE_SSH_CONTROL_PATH_DIR": f"{scratch}/c", "ANSIBLE_LOCAL_TEMP": f"{scratch}/tmp"}
    added |= {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", "DRYSTONE_STOPPED_EARLY": f"{scratch}/stopped-early"}
    plugins = config.env.get("ANSIBLE_CALLBACK_PLUGINS") or environ.get("ANSIBLE_CALLBACK_PLUGINS")
    callbacks = {"ANSIBLE_CALLBACK_PLUGINS": ":".join(filter(None, (plugins, CALLBACKS)))}
    if settings_path is not None and "ANSIBLE_CONFIG" not in environ:
        added["ANSIBLE_CONFIG"] = settings_path
    for name, key, value in (
        # A third of the time of each task, and no module, nor what is in its arguments, in the hosts' temporary folders.
        ("ANSIBLE_PIPELINING", "pipelining", "True"),
        ("ANSIBLE_PYTHON_INTERPRETER", "interpreter_python", "auto_silent"),
    ):
        if name not in environ and key not in chosen:
            added[name] = value
    if not any("utf" in environ.get(name, "").lower() for name in ("LC_ALL", "LC_CTYPE", "LANG")):
        # Ansible does not start in a locale that is not UTF-8.
        added["LC_ALL"] = "C.UTF-8"
    if collections:
        rest = environ.get("ANSIBLE_COLLECTIONS_PATH", DEFAULT_COLLECTIONS)
        added["ANSIBLE_COLLECTIONS_PATH"] = ":".join((*collections, rest))
    return {**added, **config.env, **callbacks}


def _keys(settings: str) -> frozenset[str]:
    """Names of all settings in an ansible.cfg. One that cannot be read has none: Ansible itself will say what is wrong."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(settings)
    except configparser.Error:
        return frozenset()
    return frozenset(key for section in (*parser.sections(), parser.default_section) for key in parser[section])
