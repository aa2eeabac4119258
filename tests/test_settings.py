"""Settings: from the file, over it the environment; every mistake at once, with a way out."""

from __future__ import annotations

import ast
from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import pytest

from drystone import settings
from drystone.errors import ProjectError
from drystone.settings import SECTIONS, SecretSettings, SecretSource, Settings, load


def refused(text: str, **environ: str) -> ProjectError:
    with pytest.raises(ProjectError) as caught:
        load(environ, text)
    return caught.value


def test_nothing_set_is_the_defaults() -> None:
    found = load({}, "")
    assert found == Settings(origins=found.origins)
    assert set(found.origins.values()) == {"default"}


def test_file_sets_values_in_their_own_forms() -> None:
    found = load({}, '[engine]\nmax_parallel = 3\nfinish_grace = "1m30s"\nlease = 45\n[terraform]\nreattach = false\n[store]\nurl = "x"\n')
    assert (found.engine.max_parallel, found.engine.finish_grace) == (3, timedelta(seconds=90))
    assert (found.engine.lease, found.terraform.reattach, found.store.url) == (timedelta(seconds=45), False, "x")


def test_environment_wins_over_the_file_and_is_noted() -> None:
    found = load({"DRYSTONE_ENGINE_MAX_PARALLEL": "7"}, '[engine]\nmax_parallel = 3\nlease = "1m"\n')
    assert found.engine.max_parallel == 7
    assert found.origins["engine.max_parallel"] == "DRYSTONE_ENGINE_MAX_PARALLEL"
    assert found.origins["engine.lease"] == "drystone.toml"
    assert found.origins["engine.finish_grace"] == "default"


@pytest.mark.parametrize(("text", "flag"), [("0", False), ("no", False), ("False", False), ("1", True), ("yes", True), ("on", True)])
def test_flags_in_the_environment_are_written_as_people_do(text: str, flag: bool) -> None:
    assert load({"DRYSTONE_TERRAFORM_REATTACH": text}, "").terraform.reattach is flag


def test_other_variables_of_drystone_are_not_settings() -> None:
    environ = {"DRYSTONE_PROJECT": "/srv", "DRYSTONE_SECRET_A": "x", "DRYSTONE_INPUT_a": "y", "DRYSTONE_LAB_ROOT": "/lab"}
    assert set(load(environ, "").origins.values()) == {"default"}


def test_unknown_section_is_refused_with_what_was_meant() -> None:
    error = refused("[engin]\n")
    assert (error.message, error.hint) == ('drystone.toml: there is no section "engin"', 'did you mean "engine"?')


def test_unknown_setting_is_refused_with_what_there_is() -> None:
    error = refused("[engine]\nspeed = 1\n")
    assert error.message == 'drystone.toml: there is no setting "engine.speed"'
    assert error.hint.startswith("there are max_parallel, finish_grace, lease, ")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[engine]\nmax_parallel = 0", "the least is 1"),
        ("[engine]\nmax_parallel = true", "it is a whole number"),
        ('[engine]\nmax_parallel = "4"', "it is a whole number"),
        ('[engine]\nlease = "1s"', "the least is 3s"),
        ('[engine]\nlease = "soon"', "a duration is written like"),
        ("[store]\nurl = 5", "it is a text in quotes"),
        ("[terraform]\nreattach = 1", "it is true or false"),
        ("[pools]\ndatabase = 0", "the least is 1"),
        ('[pools]\ndatabase = "4"', "it is a whole number"),
        ("[pools]\ndatabase = true", "it is a whole number"),
        ("[pools.database]\nsize = 1", "it is a whole number"),
        ('[pools]\n"data base" = 1', "letters, digits, dashes and underscores"),
        ("pools = 5", "write [pools] on a line of its own"),
        ("engine = 5", "write [engine] on a line of its own"),
        ("[secrets]\nsources = 5", "write each source as [[secrets.sources]] with its type"),
        ('[[secrets.sources]]\ntype = "magic"', "its type is one of environment, file, vault"),
        ('[[secrets.sources]]\ntype = "file"', 'a source of type file needs "path"'),
        ('[[secrets.sources]]\ntype = "file"\npath = "x"\nprefix = "y"', '"prefix" is not for a source of type file'),
        ('[[secrets.sources]]\ntype = "vault"\npath = 5', "the values of a source are texts"),
    ],
)
def test_wrong_value_is_refused_with_its_form(text: str, told: str) -> None:
    assert told in refused(text).hint


def test_wrong_value_in_the_environment_names_the_variable() -> None:
    assert '"DRYSTONE_ENGINE_LEASE" cannot be "x"' in refused("", DRYSTONE_ENGINE_LEASE="x").message
    assert '"DRYSTONE_POOLS_DB" cannot be "0"' in refused("[pools]\ndb = 1", DRYSTONE_POOLS_DB="0").message


def test_all_mistakes_are_told_at_once() -> None:
    message = refused("[engine]\nspeed = 1\nlease = true\n[stor]\n").message
    assert "3 mistakes" in message
    assert all(part in message for part in ("engine.speed", "engine.lease", '"stor"'))


def test_broken_file_is_told_with_its_line() -> None:
    assert "at line 2" in refused("[engine]\nmax_parallel =\n").message


def test_secret_sources_keep_their_order() -> None:
    text = """
        [[secrets.sources]]
        type = "vault"
        path = "v"
        password_file = "p"
        [[secrets.sources]]
        type = "environment"
        prefix = "CI_"
    """
    assert load({}, text).secrets.sources == (
        SecretSource(type="vault", path="v", password_file="p"),
        SecretSource(type="environment", prefix="CI_"),
    )


def test_pools_have_free_names_and_a_size_each() -> None:
    assert load({}, "").pools == {}
    found = load({}, "[pools]\ndatabase = 1\nbig-hosts = 20\n")
    assert found.pools == {"database": 1, "big-hosts": 20}
    assert found.origins["pools.big-hosts"] == "drystone.toml"


def test_environment_changes_the_size_of_a_pool_and_makes_none() -> None:
    found = load({"DRYSTONE_POOLS_BIG_HOSTS": "3", "DRYSTONE_POOLS_OTHER": "4"}, "[pools]\nbig-hosts = 20\n")
    assert found.pools == {"big-hosts": 3}
    assert found.origins["pools.big-hosts"] == "DRYSTONE_POOLS_BIG_HOSTS"


def test_programs_of_tasks_get_no_secrets_and_no_inputs() -> None:
    given = {"PATH": "/bin", "DRYSTONE_SECRET_A": "x", "DRYSTONE_INPUT_b": "y", "DRYSTONE_VAULT_PASSWORD": "z", "CI_A": "1"}
    told = {"DRYSTONE_TERRAFORM_REATTACH": "1", "DRYSTONE_ANSIBLE_WARM": "1"}
    assert settings.child_environ(Settings(), given) == {"PATH": "/bin", "CI_A": "1", **told}
    other = Settings(secrets=SecretSettings(sources=(SecretSource(type="environment", prefix="CI_"),)))
    assert "CI_A" not in settings.child_environ(other, given)
    none = Settings(secrets=SecretSettings(sources=(SecretSource(type="environment", prefix=""),)))
    assert "PATH" in settings.child_environ(none, given)


def test_settings_of_kinds_reach_them() -> None:
    found = load({}, '[terraform]\nbinary = "/opt/tofu"\nreattach = false\n\n[ansible]\nwarm = false\n')
    told = {"DRYSTONE_TERRAFORM": "/opt/tofu", "DRYSTONE_TERRAFORM_REATTACH": "0", "DRYSTONE_ANSIBLE_WARM": "0"}
    assert settings.child_environ(found, {}) == told


def test_every_setting_says_what_it_is() -> None:
    tree = ast.parse(Path(settings.__file__).read_text())
    documented = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for field, text in zip(node.body, node.body[1:], strict=False):
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
                    documented.add((node.name, field.target.id))
    wanted = {("Settings", "pools")} | {(kind.__name__, each.name) for kind in (*SECTIONS.values(), SecretSource) for each in fields(kind)}
    assert wanted <= documented


def test_drift_rules_need_their_last_day_and_take_it_as_a_text_or_a_date() -> None:
    found = load({}, '[[drift.ignore]]\ntask = "vm[*]"\nuntil = "2027-01-31"\n[[drift.ignore]]\nuntil = 2027-02-01\n')
    assert [(rule.task, rule.until.isoformat()) for rule in found.drift.ignore] == [("vm[*]", "2027-01-31"), ("*", "2027-02-01")]
    assert 'rule 1 needs "until"' in refused('[[drift.ignore]]\ntask = "vm"\n').hint
    assert "is a day" in refused('[[drift.ignore]]\nuntil = "soon"\n').hint
    assert 'there is no setting "drift.ignore[0].taks"' in refused('[[drift.ignore]]\nuntil = "2027-01-31"\ntaks = "vm"\n').message
