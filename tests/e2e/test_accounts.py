"""Accounts, all or none: on real VMs of the lab, in a real PostgreSQL, in a directory behind an HTTP API."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from directory import TOKEN, Directory
from e2e_support import COMMAND, Done, Project, statuses
from tests.postgres import Server

MACHINES = """\
drystone: 1
name: machines
inputs: {cidr: {type: string}}
environment: demo
tasks:
  network: {terraform: {module: modules/network, vars: {name: demo, cidr: "{{ inputs.cidr }}"}}}
  subnet: {terraform: {module: modules/subnet, vars: {network: "{{ tasks.network.outputs.id }}", cidr: "{{ inputs.cidr }}"}}}
  vm:
    for_each: 2
    terraform: {module: modules/vm, vars: {subnet: "{{ tasks.subnet.outputs.id }}", name: "demo-{{ each.key }}"}}
  ready: {ssh: {hosts: "{{ tasks.vm.outputs | hosts }}", wait: 60s}}
"""
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL2sAdLyfEFAOB+LMDTdfjCZiNuCjXYdFuiMgEhQtoiR"
PASSWORD = "first-password-of-ada"


@dataclass
class Office:
    """Two VMs, a database, a directory; `found` tells what of a person is where, seen without drystone."""

    project: Project
    server: Server
    directory: Directory
    addresses: list[str]
    key_file: str

    def on(self, number: int, command: str) -> str:
        """What a command on a VM prints, by the ssh client that everybody has; the exit code does not matter."""
        options = ["-i", self.key_file, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        words = ["ssh", *options, f"root@{self.addresses[number]}", command]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False).stdout.strip()

    def hosts(self, name: str) -> list[bool]:
        return [bool(self.on(number, f"getent passwd {name}")) for number in range(2)]

    def role(self, name: str) -> str:
        """`t` or `f`: whether it can log in; empty when there is none."""
        return self.server.ask(f"SELECT rolcanlogin FROM pg_roles WHERE rolname = '{name}'")

    def found(self, name: str = "ada") -> tuple[list[bool], str, str]:
        return self.hosts(name), self.role(name), self.directory.accounts.get(name, {}).get("status", "")

    def run(self, plan: str, *more: str, code: int = 0) -> Done:
        words = ["-iname=ada", "-iinventory=inventories/demo", f"-idatabase=127.0.0.1:{self.server.port}/postgres", "-idb_admin=keeper"]
        words += [f"-iaccounts_url={self.directory.url}", *([f"-ipublic_key={KEY}"] if plan == "onboard-user" else [])]
        return self.project.run("run", plan, *words, *more, code=code)


NOBODY = ([False, False], "", "")
EVERYWHERE = ([True, True], "t", "active")


@pytest.fixture
def directory() -> Iterator[Directory]:
    directory = Directory()
    yield directory
    directory.close()


@pytest.fixture
def office(shop: Project, block: str, postgres: Server, directory: Directory) -> Iterator[Office]:
    """The VMs come from a plan; the inventory asks drystone for them."""
    shop.write("plans/machines.yaml", MACHINES)
    shop.run("run", "machines", f"-icidr={block}.0/24")
    script = shop.write("inventories/demo", f'#!/bin/sh\nexec {" ".join(COMMAND)} env inventory demo "$@"\n')
    script.chmod(0o755)
    # Who makes roles is no superuser.
    password = secrets.token_hex(8)
    postgres.ask(f"CREATE ROLE keeper LOGIN CREATEROLE PASSWORD '{password}'; GRANT pg_signal_backend TO keeper")
    shop.environ |= {
        "DRYSTONE_SECRET_ACCOUNTS_DB_PASSWORD": password,
        "DRYSTONE_SECRET_ACCOUNTS_API_TOKEN": TOKEN,
        "DRYSTONE_SECRET_INITIAL_PASSWORD": PASSWORD,
    }
    found = json.loads(shop.run("env", "inventory", "demo").out)["_meta"]["hostvars"]
    hosts = [found[name] for name in sorted(found)]
    addresses = [host["ansible_host"] for host in hosts]
    yield Office(shop, postgres, directory, addresses, hosts[0]["ansible_ssh_private_key_file"])
    for role in ("ada", "keeper"):
        if postgres.ask(f"SELECT 1 FROM pg_roles WHERE rolname = '{role}'"):
            postgres.ask(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


def test_a_person_comes_everywhere_and_goes_everywhere(office: Office) -> None:
    office.run("onboard-user", "-ifull_name=Ada Lovelace")
    assert office.found() == EVERYWHERE
    assert KEY in office.on(1, "cat ~ada/.ssh/authorized_keys")
    first = office.project.show()
    assert first["outputs"] == {"role_is_new": True, "entry_is_new": True}
    assert PASSWORD.encode() not in b"".join(path.read_bytes() for path in office.project.home.rglob("*") if path.is_file())

    office.run("onboard-user")
    assert office.project.show()["outputs"] == {"role_is_new": False, "entry_is_new": False}
    office.project.run("undo", "last", "--yes")
    assert office.found() == EVERYWHERE, "the second run had made nothing"

    office.run("offboard-user")
    assert office.found() == ([True, True], "f", "disabled")
    assert office.on(0, "getent shadow ada | cut -d: -f8") == "1"
    office.project.run("undo", "last", "--yes")
    assert office.found() == EVERYWHERE and office.on(0, "getent shadow ada | cut -d: -f8") == ""

    office.run("offboard-user", "-iremove=true")
    assert office.found() == NOBODY
    assert office.on(0, "test -d /home/ada && echo stays") == "stays"


def test_whatever_fails_nobody_has_anything(office: Office) -> None:
    office.directory.failures["POST"] = [422]
    office.run("onboard-user", code=3)
    assert office.found() == NOBODY and ("DELETE", "/accounts/ada") not in office.directory.requests

    office.directory.failures["POST"] = [0, 500]
    office.run("onboard-user", code=3)
    assert office.found() == NOBODY, "an answer that never came: the entry had been made, and is taken back"

    office.run("onboard-user", "-idb_group=no_such_role", code=3)
    assert office.found() == NOBODY and statuses(office.project.show())["entry"] == "blocked"

    office.on(1, "rm /usr/sbin/useradd")
    office.run("onboard-user", code=3)
    assert office.project.show()["error"]["task"] == "hosts" and office.found() == NOBODY


def test_what_was_there_before_stays_whatever_fails(office: Office) -> None:
    office.on(0, f"useradd --create-home --comment 'Ada, of old' ada; mkdir ~ada/.ssh; echo '{OTHER_KEY} old' > ~ada/.ssh/authorized_keys")
    office.server.ask("CREATE ROLE ada LOGIN; COMMENT ON ROLE ada IS 'of old'")
    office.directory.failures["POST"] = [500]
    office.run("onboard-user", code=3)
    assert office.found() == ([True, False], "t", "")
    assert office.on(0, "cat ~ada/.ssh/authorized_keys") == f"{OTHER_KEY} old"
    assert office.on(0, "getent passwd ada | cut -d: -f5") == "Ada, of old"
    assert office.server.ask("SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = 'ada'") == "of old"

    office.directory.accounts["ada"] = {"name": "ada", "status": "active"}
    office.run("onboard-user")
    office.project.run("undo", "last", "--yes")
    assert office.found() == ([True, False], "t", "active")


def test_a_failed_offboarding_opens_again_only_what_it_had_closed(office: Office) -> None:
    office.run("onboard-user")
    office.on(0, "chage --expiredate 2 ada")
    office.on(1, "chage --expiredate 30000 ada; rm /usr/bin/pkill")
    office.run("offboard-user", code=3)
    assert office.found() == EVERYWHERE
    assert [office.on(number, "getent shadow ada | cut -d: -f8") for number in range(2)] == ["2", "30000"]


def test_past_the_point_of_no_return_it_only_goes_forward(office: Office) -> None:
    office.run("onboard-user")
    office.server.ask("GRANT ALL ON SCHEMA public TO ada; SET ROLE ada; CREATE TABLE of_ada (n int)")
    office.run("offboard-user", "-iremove=true", code=4)
    assert "owner of table of_ada" in office.project.run("show").out
    assert office.role("ada") == "f"
    office.server.ask("DROP OWNED BY ada CASCADE")
    office.project.run("resume", "last")
    assert office.found() == NOBODY
