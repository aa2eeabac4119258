"""Puts a database into service for the notes application, or takes it out of service again.

First step of the migration playbook, before `notes_schema`, and last of its rollback.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.notes_database import read_settings
from ansible.module_utils.notes_host import find_account, find_base, make_folder, write_file
from ansible.module_utils.notes_postgres import DATABASE, ROLE, PostgresError, Server, is_usable

DOCUMENTATION = """
module: notes_store
short_description: Put a database into service for the notes application, or take it out again
description:
  - With O(state=started), a database of the application's own is made where there is none, runs, and is what
    `db/database.json` leads to. Data that are there already decide which kind it is.
  - With O(state=retired), the batch that put it into service takes it out again; its data stay. Any other batch
    changes nothing.
options:
  state: {choices: [started, retired], default: started, description: Whether it is to serve.}
  base: {type: str, default: "", description: The application's folder; empty for the host's usual place.}
  engine: {choices: [auto, postgresql, sqlite], default: auto, description: The kind of a new database.}
  user: {type: str, default: "", description: The application's account; empty for the host's usual one.}
  batch: {type: str, default: manual, description: The drystone run that asks.}
author: drystone
"""


class StoreError(Exception):
    """The database that is wanted cannot be had on this host."""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"choices": ["started", "retired"], "default": "started"},
            "base": {"type": "str", "default": ""},
            "engine": {"choices": ["auto", "postgresql", "sqlite"], "default": "auto"},
            "user": {"type": "str", "default": ""},
            "batch": {"type": "str", "default": "manual"},
        },
        supports_check_mode=True,
    )
    base = find_base(module.params["base"])
    try:
        work = start if module.params["state"] == "started" else retire
        module.exit_json(**work(module, base))
    except KeyError as error:
        module.fail_json(msg=f"{error.args[0]}: set app_user to an account of this host")
    except (StoreError, PostgresError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error}: set app_base to a folder that you may write to, or log in as root")


def start(module: AnsibleModule, base: Path) -> dict[str, Any]:
    """See to it that a database serves."""
    path = base / "db" / "database.json"
    before = read_settings(path)
    engine = choose_engine(module.params["engine"], base)
    if module.check_mode:
        serves = before is not None and (engine == "sqlite" or Server(base).is_running())
        return {"changed": not serves, "engine": engine}
    application = find_account(module.params["user"], base)
    make_folder(path.parent)
    place = base / "db" / ("socket" if engine == "postgresql" else "sqlite/notes.sqlite3")
    since = before["since"] if before else module.params["batch"]
    settings = {"engine": engine, "location": str(place), "user": ROLE, "name": DATABASE, "since": since}
    changed = False
    if engine == "postgresql":
        server = Server(base)
        changed = server.create(application.pw_name)
    # Written before the server runs: a rollback that finds this file knows what to stop.
    changed = write_file(path, json.dumps(settings, indent=2, sort_keys=True) + "\n") or changed
    if engine == "postgresql":
        changed = server.start() or changed
    else:
        changed = make_folder(place.parent, application) or changed
        if not place.exists():
            place.touch(mode=0o640)
            changed = True
        if place.owner() != application.pw_name:
            os.chown(place.parent, application.pw_uid, application.pw_gid)
            os.chown(place, application.pw_uid, application.pw_gid)
            changed = True
    return {"changed": changed, "engine": engine}


def choose_engine(wanted: str, base: Path) -> str:
    """The kind of database: that of the data, else what is wanted, else PostgreSQL where it can run, else SQLite.

    Raises StoreError when the data are of another kind than wanted, or the wanted kind cannot run here.
    """
    data = {"postgresql": "postgresql/PG_VERSION", "sqlite": "sqlite/notes.sqlite3"}
    there = [kind for kind, path in data.items() if (base / "db" / path).exists()]
    if there and wanted not in ("auto", there[0]):
        raise StoreError(f'"{base}/db" has data of {there[0]}, not {wanted}: set db_engine to auto, or move them away')
    if there:
        return there[0]
    if wanted == "postgresql" and not is_usable(base):
        raise StoreError(
            f'PostgreSQL cannot serve from "{base}": install its server (Debian: postgresql), and see to it that '
            "its account may enter that folder; or set db_engine to sqlite"
        )
    if wanted == "auto":
        return "postgresql" if is_usable(base) else "sqlite"
    return wanted


def retire(module: AnsibleModule, base: Path) -> dict[str, Any]:
    """Take the database out of service if this batch put it there; its data stay."""
    path = base / "db" / "database.json"
    settings = read_settings(path)
    if settings is None or settings["since"] != module.params["batch"]:
        return {"changed": False}
    if not module.check_mode:
        if settings["engine"] == "postgresql":
            Server(base).stop()
        path.unlink()
    return {"changed": True}


if __name__ == "__main__":
    main()
