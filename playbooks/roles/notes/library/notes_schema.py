"""Applies the migrations which are pending, or takes back those of one batch.

Second step of the migration playbook, after `notes_store`, and first of its rollback.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.notes_database import Connection, DatabaseError, connect, read_settings
from ansible.module_utils.notes_host import find_base
from ansible.module_utils.notes_migrations import (
    Applied,
    MigrationError,
    apply_one,
    find_batch,
    find_pending,
    read_applied,
    read_files,
    undo_one,
)
from ansible.module_utils.notes_postgres import PostgresError, Server

DOCUMENTATION = """
module: notes_schema
short_description: Apply pending migrations, or take back those of one batch
description:
  - Each migration is one transaction. When one fails, those before it stay, recorded under the batch.
  - With O(state=undone), exactly the migrations of O(batch) are taken back, newest first, by the way back that was
    recorded with them.
options:
  state: {choices: [latest, undone], default: latest, description: Which way.}
  base: {type: str, default: "", description: The application's folder; empty for the host's usual place.}
  files: {type: dict, default: {}, description: "The migrations, file name to SQL (NNNN-what.up.sql, .down.sql)."}
  target: {type: str, default: latest, description: "The last version to apply, or `latest`."}
  batch: {type: str, default: manual, description: The drystone run that asks.}
author: drystone
"""

# Any number does, as long as it is the same in every run: who holds it is the one that migrates.
POSTGRES_LOCK = 7_405_110


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"choices": ["latest", "undone"], "default": "latest"},
            "base": {"type": "str", "default": ""},
            "files": {"type": "dict", "default": {}},
            "target": {"type": "str", "default": "latest"},
            "batch": {"type": "str", "default": "manual"},
        },
        supports_check_mode=True,
    )
    done: dict[str, Any] = {"from_version": 0, "to_version": 0, "applied": [], "undone": []}
    try:
        work = migrate if module.params["state"] == "latest" else undo
        work(module, find_base(module.params["base"]), done)
    except (MigrationError, DatabaseError, PostgresError, OSError) as error:
        module.fail_json(msg=str(error), changed=bool(done["applied"] or done["undone"]), **done)
    module.exit_json(changed=bool(done["applied"] or done["undone"]), **done)


def migrate(module: AnsibleModule, base: Path, done: dict[str, Any]) -> None:
    """Apply what is pending, and note each version in `done` as soon as it is there."""
    migrations = read_files(module.params["files"])
    settings = read_settings(base / "db" / "database.json")
    if settings is None and module.check_mode:
        done["applied"] = [step.version for step in find_pending(migrations, [], target(module))]
        return
    if is_hidden(module, base, settings):
        return
    with closing(open_database(base, settings)) as connection:
        applied = read_applied(connection)
        note_version(done, applied, first=True)
        for step in find_pending(migrations, applied, target(module)):
            if not module.check_mode:
                apply_one(connection, step, module.params["batch"])
            done["applied"].append(step.version)
            done["to_version"] = step.version


def undo(module: AnsibleModule, base: Path, done: dict[str, Any]) -> None:
    """Take the batch back, and note each version in `done` as soon as it is gone."""
    settings = read_settings(base / "db" / "database.json")
    if settings is None or is_hidden(module, base, settings):
        return
    with closing(open_database(base, settings, start=not module.check_mode)) as connection:
        applied = read_applied(connection)
        note_version(done, applied, first=True)
        for step in find_batch(applied, module.params["batch"]):
            if not module.check_mode:
                undo_one(connection, step)
            done["undone"].append(step.version)
            applied = [other for other in applied if other.version != step.version]
            note_version(done, applied)


def is_hidden(module: AnsibleModule, base: Path, settings: dict[str, str] | None) -> bool:
    """Whether this is a look (check mode) at a server that does not run; a look starts nothing, and says so."""
    hidden = module.check_mode and settings is not None and settings["engine"] == "postgresql"
    hidden = hidden and not Server(base).is_running()
    if hidden:
        module.warn(f'the database in "{base}/db" is not running: what would be done to its schema cannot be said')
    return hidden


def open_database(base: Path, settings: dict[str, str] | None, start: bool = False) -> Connection:
    """Connect, as the only one that migrates; with `start`, run a server that is not running.

    Raises MigrationError when no database is in service.
    """
    if settings is None:
        raise MigrationError(f'"{base}" has no database in service: let notes_store make one first')
    if start and settings["engine"] == "postgresql":
        Server(base).start()
    connection = connect(settings)
    if settings["engine"] == "postgresql":
        try:
            connection.rows(f"SELECT pg_advisory_lock({POSTGRES_LOCK})")
        except DatabaseError as error:
            connection.close()
            raise MigrationError(f"another migration is running: try again when it has ended ({error})") from error
    return connection


def target(module: AnsibleModule) -> int | None:
    """The last version to apply, None for all. Raises MigrationError when it is no number."""
    text = module.params["target"]
    if text != "latest" and not text.isdigit():
        raise MigrationError(f'migration_target is "{text}": give a version number, or "latest"')
    return None if text == "latest" else int(text)


def note_version(done: dict[str, Any], applied: list[Applied], first: bool = False) -> None:
    """Write the newest of the applied versions into what is reported."""
    done["to_version"] = max((step.version for step in applied), default=0)
    if first:
        done["from_version"] = done["to_version"]


if __name__ == "__main__":
    main()
