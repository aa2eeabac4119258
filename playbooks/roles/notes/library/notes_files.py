"""Puts the notes application's files on a host, or takes them away.

First step of the software playbook and last of its rollback; `notes_service` runs what is put here.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.notes_host import find_account, find_base, make_folder, write_file

DOCUMENTATION = """
module: notes_files
short_description: Put the notes application's files on a host, or take them away
description:
  - Writes only what differs. The settings are written last, and carry a digest of everything (`release`), so that
    a host where this stopped half-way never looks finished.
  - With O(state=absent), the program, its settings and its logs go; the database stays.
options:
  state: {choices: [present, absent], default: present, description: Whether the files are to be there.}
  base: {type: str, default: "", description: The application's folder; empty for the host's usual place.}
  files: {type: dict, default: {}, description: The program's files, name to text.}
  settings: {type: dict, default: {}, description: "`version`, `address`, `port` and `user` (may be empty)."}
author: drystone
"""

FOLDERS = ("app", "etc", "run", "log")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"choices": ["present", "absent"], "default": "present"},
            "base": {"type": "str", "default": ""},
            "files": {"type": "dict", "default": {}},
            "settings": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    base = find_base(module.params["base"])
    try:
        work = put if module.params["state"] == "present" else take_away
        module.exit_json(base=str(base), **work(module, base))
    except KeyError as error:
        module.fail_json(msg=f"{error.args[0]}: set app_user to an account of this host")
    except OSError as error:
        module.fail_json(msg=f"{error}: set app_base to a folder that you may write to, or log in as root")


def put(module: AnsibleModule, base: Path) -> dict[str, Any]:
    """Bring the files to what they should be."""
    wanted = {base / "app" / name: text for name, text in module.params["files"].items()}
    settings = dict(module.params["settings"], database=str(base / "db" / "database.json"))
    settings["user"] = find_account(settings.get("user", ""), base).pw_name
    settings["release"] = digest([{path.name: text for path, text in wanted.items()}, settings])
    wanted[base / "etc" / "app.json"] = json.dumps(settings, indent=2, sort_keys=True) + "\n"
    stale = [path for path in (base / "app").glob("*") if path not in wanted]
    different = [path for path, text in wanted.items() if read(path) != text]
    diff = [
        {
            "before": read(path) or "",
            "after": wanted.get(path, ""),
            "before_header": str(path),
            "after_header": "wanted",
        }
        for path in [*different, *stale]
    ]
    if not module.check_mode:
        for folder in FOLDERS:
            make_folder(base / folder)
        for path in stale:
            path.unlink()
        for path in different:
            write_file(path, wanted[path])
    return {"changed": bool(diff), "release": settings["release"], "diff": diff}


def take_away(module: AnsibleModule, base: Path) -> dict[str, Any]:
    """Remove all but the database; the base too when nothing else is in it."""
    standing = [base / folder for folder in FOLDERS if (base / folder).exists()]
    if not module.check_mode:
        for path in standing:
            shutil.rmtree(path)
        with suppress(OSError):  # not empty, or not there
            base.rmdir()
    return {"changed": bool(standing), "removed": [str(path) for path in standing]}


def digest(data: Any) -> str:
    """SHA-256 of JSON data, as hexadecimal digits."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def read(path: Path) -> str | None:
    """A file's text, or None when there is no such file."""
    return path.read_text() if path.exists() else None


if __name__ == "__main__":
    main()
