"""playbooks/migration.yaml and its rollback, played against real hosts with both kinds of database."""

from pathlib import Path


def test_second_run_changes_nothing(host, engine):
    first = host.play("migration.yaml", db_engine=engine)

    assert first.changed == 2
    assert first.published == {"from_version": 0, "to_version": 3, "applied": [1, 2, 3]}
    second = host.play("migration.yaml", db_engine="auto")
    assert second.changed == 0
    assert second.published == {"from_version": 3, "to_version": 3, "applied": []}


def test_failed_run_is_taken_back_exactly_and_its_data_kept(host, engine):
    host.play("software.yaml")
    host.play("migration.yaml", db_engine=engine, drystone_run="run-a", migration_target=1)
    note = host.ask("/notes", {"text": "written between the runs"})[1]

    failed = host.play("migration.yaml", drystone_run="run-b", fail_migration=True)

    assert failed.exit == 2
    assert 'migration 9999 "deliberate-failure" failed' in failed.messages[host.name]
    assert host.health()["schema_version"] == 3
    assert host.ask("/notes")[1] == {"notes": [note | {"author": "unknown"}]}

    undone = host.play("rollback/migration.yaml", drystone_run="run-b")
    assert undone.changed == 1
    assert undone.published == {"from_version": 3, "to_version": 1, "undone": [3, 2]}
    assert host.play("rollback/migration.yaml", drystone_run="run-b").changed == 0
    assert (host.health()["status"], host.health()["schema_version"]) == ("ok", 1)
    assert host.ask("/notes")[1] == {"notes": [note]}


def test_run_that_made_the_database_takes_it_out_of_service_and_keeps_its_files(host, engine):
    host.play("migration.yaml", db_engine=engine, drystone_run="run-a", fail_migration=True)

    assert host.play("rollback/migration.yaml", drystone_run="run-a").changed == 2

    assert not host.processes()
    assert not (host.base / "db" / "database.json").exists()
    assert any((host.base / "db" / engine).iterdir())
    assert host.play("rollback/migration.yaml", drystone_run="run-a").changed == 0
    assert host.play("migration.yaml", drystone_run="run-b").published["applied"] == [1, 2, 3]


def test_root_gives_application_and_database_accounts_of_their_own(root_host, engine):
    root_host.play("software.yaml")
    root_host.play("migration.yaml", db_engine=engine)

    assert root_host.ask("/notes", {"text": "hello"})[0] == 201
    owners = [Path(f"/proc/{pid}").owner() for word in ("notes.py", "postgres") for pid in root_host.processes(word)]
    assert owners == ["www-data", "postgres"] if engine == "postgresql" else ["www-data"]
    assert root_host.play("migration.yaml").changed == 0
    assert root_host.ask("/notes", {"text": "hello"})[0] == 201


def test_database_that_is_down_stops_neither_an_upgrade_nor_a_rollback(host, server):
    host.play("migration.yaml", db_engine="postgresql", drystone_run="run-a")
    host.stop_database()

    assert host.play("software.yaml").changed == 2
    status, health = host.ask("/health")
    assert (status, health["status"], health["database"]["state"]) == (503, "failing", "unreachable")
    assert host.play("rollback/migration.yaml", drystone_run="run-a").published["undone"] == [3, 2, 1]


def test_changed_file_of_an_applied_migration_is_refused(host, migrations):
    host.play("migration.yaml", db_engine="sqlite", migration_files=str(migrations))
    (migrations / "0001-notes.up.sql").write_text("CREATE TABLE notes (id text);")

    refused = host.play("migration.yaml", migration_files=str(migrations))

    assert refused.exit == 2
    assert 'migration 1 "notes" has changed since batch "manual" applied it' in refused.messages[host.name]


def test_rollbacks_on_an_untouched_host_change_nothing(host):
    assert host.play("rollback/migration.yaml", drystone_run="run-a").changed == 0
    assert host.play("rollback/software.yaml").changed == 0
    assert not list(host.root.iterdir())


def test_check_mode_tells_what_is_pending_and_applies_nothing(host):
    assert host.play("migration.yaml", "--check").published["applied"] == [1, 2, 3]
    assert not list(host.root.iterdir())


def test_folder_that_is_not_ours_is_refused_with_advice(host):
    (host.root / "opt").mkdir(mode=0o555)

    refused = host.play("migration.yaml", db_engine="sqlite")

    assert refused.exit == 2
    assert "set app_base to a folder that you may write to" in refused.messages[host.name]
