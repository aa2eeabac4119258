"""Secrets that stand nowhere else are looked for, in every form, wherever drystone writes, speaks or starts a program: none is found.

A secret input, a sensitive output of Terraform, a variable that Ansible must not log and a value that a playbook publishes under a name
such as api_token. While Terraform is at work its state and its plan are in clear (docs/decisions/0018): only then, and only there.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from e2e_support import Done, Following, Project, kill, wait_until

PLAN = """\
drystone: 1
name: site
inputs:
  password: {type: string, secret: true}
  broken: {type: boolean, default: false}
environment: live
tasks:
  base:
    terraform:
      module: modules/base
      vars: {password: "{{ inputs.password }}", token_file: TOKEN_FILE, hold: HOLD, mark: "{{ 'b' if inputs.broken else 'a' }}"}
    undo: auto
  app:
    ansible:
      playbook: playbooks/app.yaml
      hosts: [{name: here, vars: {ansible_connection: local}}]
      vars: {token: "{{ tasks.base.outputs.token }}", password: "{{ inputs.password }}", quiet_file: QUIET_FILE, api_file: API_FILE}
    undo: none
  told:
    command: {argv: [cat], stdin: "{{ inputs.password }} {{ tasks.base.outputs.token }} {{ tasks.app.outputs.api_token }}"}
    undo: none
  last:
    needs: [told]
    command: {shell: "echo {{ 'cannot' if inputs.broken else 'can' }} go on; {{ 'false' if inputs.broken else 'true' }}"}
    undo: none
outputs: {token: "{{ tasks.base.outputs.token }}", api: "{{ tasks.app.outputs.api_token }}", told: "{{ tasks.told.outputs.stdout }}"}
"""
MODULE = """\
variable "password" {
  type      = string
  sensitive = true
}
variable "token_file" {}
variable "hold" {}
variable "mark" {}

resource "terraform_data" "base" {
  input = { password = var.password, token = trimspace(file(var.token_file)), mark = var.mark }
}
resource "terraform_data" "slow" {
  triggers_replace = [terraform_data.base.output]
  provisioner "local-exec" {
    command     = "while test -e '${var.hold}'; do sleep 0.05; done; echo made with $PASSWORD"
    environment = { PASSWORD = var.password }
  }
}
output "token" {
  value     = trimspace(file(var.token_file))
  sensitive = true
}
"""
PLAYBOOK = """\
- hosts: all
  gather_facts: false
  tasks:
    - name: Learn what must not be told
      ansible.builtin.set_fact: {quiet: "{{ lookup('file', quiet_file) }}"}
      no_log: true
    - name: Use it
      ansible.builtin.command: {argv: [cat], stdin: "{{ quiet }} {{ token }} {{ password }}"}
      no_log: true
      changed_when: true
    - name: Tell what drystone knows
      ansible.builtin.debug: {msg: "the token is {{ token }}, the password {{ password }}"}
    - name: Publish
      ansible.builtin.set_stats: {data: {api_token: "{{ lookup('file', api_file) }}"}}
      no_log: true
"""
WHILE_TERRAFORM_WORKS = re.compile(r"(?:.*/)?\.?(?:terraform\.tfstate(?:\.backup|\.\w{8})?|plan\.bin(?:\.\w{8})?)\Z")


class Canaries:
    """Values that stand nowhere else, by name, and all their forms. They have what is written differently in URLs, JSON and HTML."""

    def __init__(self, folder: Path) -> None:
        self.values = {name: f'{name}-{os.urandom(9).hex()}/"+é&<z>' for name in ("password", "token", "quiet", "api")}
        self.files = {name: folder / name for name in ("token", "quiet", "api")}
        folder.mkdir()
        for name, file in self.files.items():
            file.write_text(self.values[name])
        self.forms = {form: name for name, value in self.values.items() for form in forms_of(value)}
        self._pattern = re.compile(b"|".join(re.escape(form) for form in self.forms))

    def found(self, data: bytes) -> set[str]:
        """Names of those that are in the data."""
        return {self.forms[match] for match in self._pattern.findall(data)}

    def below(self, folder: Path, *, but: re.Pattern[str] | None = None) -> set[str]:
        """`FILE: NAME` of the files below a folder, and of the rows of each store."""
        found = set()
        for path in folder.rglob("*"):
            name = str(path.relative_to(folder))
            if path.is_file() and not path.is_symlink() and (but is None or not but.match(name)):
                with suppress(FileNotFoundError):
                    found |= {f"{name}: {hit}" for hit in self.found(path.read_bytes())}
        for store in folder.rglob("drystone.db"):
            found |= {f"{store.name}, a row: {hit}" for hit in self.found(rows_of(store))}
        return found


def forms_of(value: str) -> Iterator[bytes]:
    """The secret itself, and as it is written in other texts."""
    json_forms = [json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]]
    html_safe = [text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e") for text in json_forms]
    twice = [json.dumps(text)[1:-1] for text in [*json_forms, *html_safe]]
    urls = [quote(value), quote(value, safe=""), quote_plus(value)]
    yield from {text.encode() for text in (value, *json_forms, *html_safe, *twice, *urls)}
    for shift in range(3):
        yield base64.b64encode(b"." * shift + value.encode())[4:-4]
        yield base64.urlsafe_b64encode(b"." * shift + value.encode())[4:-4]


def rows_of(store: Path) -> bytes:
    """All that stands in a store, row by row: on its pages a long text may be in pieces."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        values = [value for table in tables for row in database.execute(f'SELECT * FROM "{table}"') for value in row]
    return b"\n".join(value if isinstance(value, bytes) else str(value).encode() for value in values)


class Watch:
    """Looks again and again at the processes of this machine and at what lies below a folder."""

    def __init__(self, canaries: Canaries, home: Path) -> None:
        self.canaries, self.home = canaries, home
        self.argv: set[str] = set()
        self.environ: set[str] = set()
        self.files: set[str] = set()
        self.programs: set[str] = set()
        self.rounds = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.05):
            for folder in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    line = (folder / "cmdline").read_bytes()
                    words = line.replace(b"\0", b" ").decode(errors="replace")
                    self.programs.add(words)
                    self.argv |= {f"{name}: {words}" for name in self.canaries.found(line)}
                    self.environ |= {f"{name}: {words}" for name in self.canaries.found((folder / "environ").read_bytes())}
            with suppress(OSError, sqlite3.Error):
                self.files |= self.canaries.below(self.home, but=WHILE_TERRAFORM_WORKS)
            self.rounds += 1


@pytest.fixture
def canaries(short_folder: Path) -> Canaries:
    return Canaries(short_folder / "outside")


@pytest.fixture
def site(project: Project, canaries: Canaries, short_folder: Path) -> Project:
    places = {"HOLD": short_folder / "hold"} | {f"{name.upper()}_FILE": file for name, file in canaries.files.items()}
    project.write("plans/site.yaml", re.sub("|".join(places), lambda found: str(places[found[0]]), PLAN))
    project.write("modules/base/main.tf", MODULE)
    project.write("playbooks/app.yaml", PLAYBOOK)
    project.environ["DRYSTONE_INPUT_password"] = canaries.values["password"]
    return project


@pytest.fixture
def hold(short_folder: Path) -> Path:
    """While it is there, the apply does not end."""
    return short_folder / "hold"


Clean = Callable[[Sequence[Done]], None]


@pytest.fixture
def clean(site: Project, canaries: Canaries) -> Clean:
    """Nothing was said, and nothing lies anywhere."""
    shared = set(Path("/dev/shm").rglob("*"))

    def check(answers: Sequence[Done]) -> None:
        said = {f"{number}: {name}" for number, answer in enumerate(answers) for name in canaries.found(answer.said.encode())}
        assert said == set()
        for folder in (site.folder, Path(site.environ["HOME"]), Path(site.environ["TMPDIR"])):
            assert canaries.below(folder) == set()
        for path in set(Path("/dev/shm").rglob("*")) - shared:
            with suppress(OSError):
                assert not path.is_file() or not canaries.found(path.read_bytes()), path

    return check


LOOKS = ("show", "show --json", "logs", "logs --json", "events", "runs --json", "env show live", "env show live --json", "env list --json")


def test_no_secret_is_found_after_or_during_runs_and_previews(site: Project, canaries: Canaries, clean: Clean) -> None:
    with Watch(canaries, site.home) as watch:
        answers = [site.run("preview", "site", *words) for words in ((), ("--json",), ("--out", "first.preview"))]
        clean(answers)
        answers.append(site.run("run", "--preview", "first.preview", "--approve-deferred", "--json"))
        clean(answers)
        answers += [site.run(*words.split()) for words in LOOKS]
        assert '"token": "***"' in answers[-8].out
        # An update that fails is taken back.
        answers.append(site.run("run", "site", "-i", "broken=true", "--json", code=3))
        answers += [site.run(*words.split()) for words in LOOKS]
        answers += [site.run("diff", *(run["id"] for run in json.loads(site.run("runs", "--json").out)["runs"]))]
        answers += [site.run("preview", "site"), site.run("preview", "site", "-i", "broken=true")]
        clean(answers)
        answers.append(site.run("env", "destroy", "live", "--yes"))
        clean(answers)
    assert watch.rounds > 10 and any("ansible" in line for line in watch.programs) and any("apply" in line for line in watch.programs)
    assert watch.argv == set()
    assert watch.files == set()
    # Who gave an input in the environment of `drystone` has it there; and a provisioner gets what the module gives it.
    own = re.compile(r"\w+: \S*python\S* -m drystone |password: /bin/sh -c while test -e|password: sleep ")
    assert {line for line in watch.environ if not own.match(line)} == set()


def test_what_kill_9_leaves_in_clear_in_the_middle_of_an_apply_is_gone_after_resume(
    site: Project, canaries: Canaries, clean: Clean, hold: Path
) -> None:
    hold.touch()
    running = site.start("run", "site", "--json")
    Following(running).until("task.progress", "base", "terraform_data.slow: creating")
    kill(running)
    # The working state of Terraform, and nothing else.
    assert {name for name in canaries.below(site.home) if not WHILE_TERRAFORM_WORKS.match(name.partition(": ")[0])} == set()
    hold.unlink()
    clean([site.run("resume", "last"), site.run("show"), site.run("logs")])


def test_a_killed_preview_leaves_nothing_that_the_next_command_does_not_clear_away(
    site: Project, canaries: Canaries, clean: Clean
) -> None:
    site.run("run", "site")
    running = site.start("preview", "site", "-i", "broken=true")
    wait_until(lambda: list(site.home.rglob("plan.bin")) or running.poll() is not None, "a plan file")
    kill(running)
    clean([site.run("preview", "site")])


def test_the_look_finds_what_it_looks_for(canaries: Canaries, tmp_path: Path) -> None:
    texts: Mapping[str, bytes] = {
        "plain": b"x%sx" % canaries.values["token"].encode(),
        "base64": base64.b64encode(b"user:" + canaries.values["quiet"].encode() + b"@host"),
        "json": json.dumps({"a": json.dumps({"b": canaries.values["api"]})}).encode(),
        "url": b"http://u:%s@h" % quote(canaries.values["password"], safe="").encode(),
    }
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text)
    with closing(sqlite3.connect(tmp_path / "drystone.db")) as database:
        database.execute("CREATE TABLE t (a)")
        database.execute("INSERT INTO t VALUES (?)", (canaries.values["token"],))
        database.commit()
    found = canaries.below(tmp_path)
    assert found >= {"plain: token", "base64: quiet", "json: api", "url: password", "drystone.db, a row: token"}
