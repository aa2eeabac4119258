"""Secrets come from the project's sources at the moment of use, and are sealed with the project's key."""

from __future__ import annotations

import json
import logging
import secrets
import string
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from drystone.adapters.secrets import ProjectSecrets
from drystone.errors import NotFoundError, ProjectError
from drystone.settings import SecretSettings, SecretSource

Make = Callable[..., ProjectSecrets]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def build(*sources: SecretSource, environ: Mapping[str, str] | None = None) -> ProjectSecrets:
        settings = SecretSettings(sources=sources) if sources else SecretSettings()
        return ProjectSecrets(settings, home=tmp_path / ".drystone", root=tmp_path, environ=environ or {})

    return build


@pytest.fixture
def value() -> str:
    return "".join(secrets.choice(string.ascii_letters) for _ in range(20))


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


# ---- sources ----------------------------------------------------------------------------------------------------------


def test_environment_is_asked_unless_something_else_is_set(make: Make, value: str) -> None:
    assert make(environ={"DRYSTONE_SECRET_DB_PASSWORD": value}).resolve("db_password") == value


def test_prefix_can_be_another(make: Make, value: str) -> None:
    source = SecretSource(type="environment", prefix="CI_")
    assert make(source, environ={"CI_TOKEN": value}).resolve("token") == value


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("secrets.yaml", "db: {value}\nother: 5\n"),
        ("secrets.yml", "---\n# comment\ndb: '{value}'\n"),
        ("secrets.json", '{{"db": "{value}"}}'),
        (".env", "# comment\nexport db={value}\n\nquoted = \"x y\"\n"),
        ("secrets.env", "db='{value}'\n"),
    ],
)
def test_file_is_read_by_its_form(make: Make, tmp_path: Path, value: str, name: str, form: str) -> None:
    write(tmp_path / name, form.format(value=value))
    assert make(SecretSource(type="file", path=name)).resolve("db") == value


def test_first_source_that_has_it_wins(make: Make, tmp_path: Path, value: str) -> None:
    write(tmp_path / "a.yaml", "one: from-a\n")
    write(tmp_path / "b.yaml", f"one: from-b\ntwo: {value}\n")
    found = make(SecretSource(type="file", path="a.yaml"), SecretSource(type="file", path="b.yaml"))
    assert (found.resolve("one"), found.resolve("two")) == ("from-a", value)


def test_changed_file_is_read_again(make: Make, tmp_path: Path) -> None:
    write(tmp_path / "s.yaml", "db: first\n")
    found = make(SecretSource(type="file", path="s.yaml"))
    assert found.resolve("db") == "first"
    write(tmp_path / "s.yaml", "db: the-second\n")
    assert found.resolve("db") == "the-second"


def test_unknown_secret_names_the_places_that_were_asked(make: Make) -> None:
    with pytest.raises(NotFoundError, match='no secret "nothing"') as caught:
        make(SecretSource(type="environment"), SecretSource(type="file", path="s.yaml")).resolve("nothing")
    assert caught.value.hint == 'looked for: environment variable DRYSTONE_SECRET_NOTHING, key "nothing" in s.yaml'


def test_file_that_others_can_read_is_warned_of(make: Make, tmp_path: Path, value: str, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "s.yaml", f"db: {value}\n", mode=0o644)
    with caplog.at_level(logging.WARNING):
        assert make(SecretSource(type="file", path="s.yaml")).resolve("db") == value
    assert f'chmod 600 "{path}"' in caplog.text
    assert value not in caplog.text


@pytest.mark.parametrize("text", ["a: [", "- {value}\n", "{value}"])
def test_broken_file_is_told_without_what_is_in_it(make: Make, tmp_path: Path, value: str, text: str) -> None:
    write(tmp_path / "s.yaml", text.replace("{value}", value))
    with pytest.raises(ProjectError) as caught:
        make(SecretSource(type="file", path="s.yaml")).resolve("db")
    assert f'"{tmp_path}/s.yaml"' in caught.value.message
    assert value not in caught.value.message + caught.value.hint


def test_file_that_cannot_be_read_is_told(make: Make, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").mkdir()
    with pytest.raises(ProjectError, match="secrets cannot be read"):
        make(SecretSource(type="file", path="s.yaml")).resolve("db")


# ---- vaults -----------------------------------------------------------------------------------------------------------


def vault(text: str, password: str) -> str:
    from ansible.parsing.vault import VaultLib, VaultSecret

    return str(VaultLib([("default", VaultSecret(password.encode()))]).encrypt(text).decode())


def test_vault_is_opened_with_its_password_file(make: Make, tmp_path: Path, value: str) -> None:
    write(tmp_path / "vault.yaml", vault(f"db: {value}\n", "correct horse"))
    write(tmp_path / "pass", "correct horse\n")
    assert make(SecretSource(type="vault", path="vault.yaml", password_file="pass")).resolve("db") == value


def test_vault_password_may_come_from_the_environment(make: Make, tmp_path: Path, value: str) -> None:
    write(tmp_path / "vault.yaml", vault(f"db: {value}\n", "correct horse"))
    environ = {"DRYSTONE_VAULT_PASSWORD": "correct horse"}
    assert make(SecretSource(type="vault", path="vault.yaml"), environ=environ).resolve("db") == value


def test_single_values_may_be_encrypted(make: Make, tmp_path: Path, value: str) -> None:
    lines = vault(value, "correct horse").strip().replace("\n", "\n  ")
    write(tmp_path / "vars.yaml", f"plain: visible\ndb: !vault |\n  {lines}\n")
    environ = {"DRYSTONE_VAULT_PASSWORD": "correct horse"}
    found = make(SecretSource(type="vault", path="vars.yaml"), environ=environ)
    assert (found.resolve("db"), found.resolve("plain")) == (value, "visible")


def test_wrong_vault_password_is_told(make: Make, tmp_path: Path) -> None:
    write(tmp_path / "vault.yaml", vault("db: x\n", "correct horse"))
    with pytest.raises(ProjectError, match="cannot be opened with the password given"):
        make(SecretSource(type="vault", path="vault.yaml"), environ={"DRYSTONE_VAULT_PASSWORD": "wrong"}).resolve("db")


def test_vault_without_a_password_says_where_to_put_it(make: Make, tmp_path: Path) -> None:
    write(tmp_path / "vault.yaml", vault("db: x\n", "correct horse"))
    with pytest.raises(ProjectError) as caught:
        make(SecretSource(type="vault", path="vault.yaml")).resolve("db")
    assert "password_file" in caught.value.hint


def test_password_program_is_refused_with_a_way_out(make: Make, tmp_path: Path) -> None:
    write(tmp_path / "vault.yaml", vault("db: x\n", "correct horse"))
    write(tmp_path / "pass", "#!/bin/sh\necho correct horse\n")
    with pytest.raises(ProjectError) as caught:
        make(SecretSource(type="vault", path="vault.yaml", password_file="pass")).resolve("db")
    assert "DRYSTONE_VAULT_PASSWORD" in caught.value.hint


# ---- sealing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ["text", 5, None, {"a": ["ü", 1.5, True]}, ""])
def test_sealed_value_comes_back(make: Make, data: object) -> None:
    assert make().unseal(make().seal(data)) == data


def test_sealed_text_shows_nothing_and_is_never_the_same(make: Make, value: str) -> None:
    store = make()
    sealed = store.seal({"password": value})
    assert value not in sealed
    assert sealed != store.seal({"password": value})


def test_key_is_made_once_for_its_owner_only(make: Make, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        sealed = list(pool.map(lambda number: make().seal(number), range(8)))
    assert [make().unseal(text) for text in sealed] == list(range(8))
    assert (tmp_path / ".drystone").stat().st_mode & 0o777 == 0o700
    assert [(file.name, file.stat().st_mode & 0o777) for file in (tmp_path / ".drystone").iterdir()] == [("key", 0o600)]


def test_nothing_is_made_before_something_is_sealed(make: Make, tmp_path: Path) -> None:
    make(environ={"DRYSTONE_SECRET_A": "x"}).resolve("a")
    assert list(tmp_path.iterdir()) == []


def test_other_key_does_not_open_it(make: Make, tmp_path: Path) -> None:
    sealed = make().seal("x")
    (tmp_path / ".drystone" / "key").unlink()
    make().seal("y")
    with pytest.raises(ProjectError, match="sealed with another key"):
        make().unseal(sealed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda key: key.unlink(), "cannot be read: no such file"),
        (lambda key: key.write_text("nonsense"), "is not a key"),
        (lambda key: key.chmod(0o644), "can be read by others"),
    ],
    ids=["gone", "broken", "open"],
)
def test_key_that_cannot_be_used_is_told(make: Make, tmp_path: Path, change: Callable[[Path], object], message: str) -> None:
    sealed = make().seal("x")
    change(tmp_path / ".drystone" / "key")
    with pytest.raises(ProjectError, match=message) as caught:
        make().unseal(sealed)
    assert caught.value.hint
    assert "nonsense" not in caught.value.message


@pytest.mark.parametrize("text", ["5432", "007", "yes", "1e3", "null", "~", "2026-01-01", "1_000"])
def test_value_is_what_is_written(make: Make, tmp_path: Path, text: str) -> None:
    write(tmp_path / "s.yaml", f"db: {text}\n")
    assert make(SecretSource(type="file", path="s.yaml")).resolve("db") == text


def test_list_becomes_json(make: Make, tmp_path: Path) -> None:
    write(tmp_path / "s.yaml", "hosts: [a, b]\n")
    assert json.loads(make(SecretSource(type="file", path="s.yaml")).resolve("hosts")) == ["a", "b"]
