"""Kinds are found by their entry points, loaded on use, and a broken one harms no other."""

import sys
from importlib.metadata import EntryPoint

import pytest

from drystone.core.plan import UndoWhen
from drystone.core.planfile import TASK_KEYS
from drystone.core.values import UNKNOWN
from drystone.errors import NotFoundError, PluginError
from drystone.plugin.registry import KINDS, PROVIDERS, Registry

STRANGER = """
from drystone.plugin.api import Config, Kind, Outcome, UndoWhen

class MotdConfig(Config):
    text: str
    read_only: bool = False

class Motd(Kind):
    name = "motd"
    Config = MotdConfig
    undo_when = UndoWhen.ATTEMPTED
    outputs = ("length",)
    closed = 0

    @classmethod
    def changes_things(cls, config):
        return config.get("read_only") is not True

    def run(self, ctx, config):
        return Outcome(outputs={"length": len(config.text)})

    def undo(self, ctx, config):
        return Outcome()

    def close(self):
        Motd.closed += 1

class NoKind:
    pass

class Breaks(Kind):
    Config = MotdConfig
    def __init__(self):
        raise RuntimeError("no licence\\nfound")

class Provider:
    source = "example.org/lab/lab"
    version = "1"
"""


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """Makes a module with kinds importable; gives its name."""
    name = f"stranger_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(STRANGER)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)


@pytest.fixture
def registry(stranger):
    values = {"motd": "Motd", "nokind": "NoKind", "breaks": "Breaks", "needs": "Motd", "gone": "Gone"}
    points = [EntryPoint(name, f"{stranger}:{value}", KINDS) for name, value in values.items()]
    twice = [EntryPoint("twice", f"{stranger}:Motd", KINDS), EntryPoint("twice", f"{stranger}:NoKind", KINDS)]
    return Registry([*points, *twice, EntryPoint("lab", f"{stranger}:Provider", PROVIDERS), EntryPoint("x", "absent:X", KINDS)])


def test_names_are_known_without_loading_anything(registry, stranger):
    assert registry.names() == ("breaks", "gone", "motd", "needs", "nokind", "twice", "x")
    assert list(registry) == list(registry.names()) and len(registry) == 7
    assert "motd" in registry and "lab" not in registry
    assert set(registry.versions()) == set(registry.names())
    assert stranger not in sys.modules


def test_a_kind_is_one_object_in_a_registry_and_another_in_the_next(registry, stranger):
    assert registry.get("motd") is registry.get("motd")
    other = Registry([EntryPoint("motd", f"{stranger}:Motd", KINDS)])
    assert other.get("motd") is not registry.get("motd")


def test_nothing_is_shared_between_registries(registry):
    assert Registry([]).names() == ()


def test_info_says_what_the_kind_says(registry):
    info = registry.info("motd")
    assert info is not None
    assert (info.name, info.has_undo, info.undo_when, info.outputs) == ("motd", True, UndoWhen.ATTEMPTED, ("length",))
    assert info.changes_with({"text": UNKNOWN}) and not info.changes_with({"read_only": True})
    assert [problem.message for problem in info.check({"txt": "a"})] == ['unknown key "txt"']


def test_a_kind_that_is_not_installed_is_nothing_to_the_compiler_and_an_error_to_the_engine(registry):
    assert registry.info("absent") is None
    with pytest.raises(NotFoundError) as caught:
        registry.get("absent")
    assert caught.value.hint == "installed are breaks, gone, motd, needs, nokind, twice, x"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x", 'plugin "x" cannot be loaded: ModuleNotFoundError: No module named \'absent\''),
        ("gone", 'plugin "gone" cannot be loaded: AttributeError: '),
        ("breaks", 'plugin "breaks" cannot be loaded: RuntimeError: no licence found'),
        ("nokind", "is not a subclass of drystone.plugin.api.Kind"),
        ("needs", 'kind "needs" has the name of a key of the plan language'),
        ("twice", 'kind "twice" is there twice'),
    ],
)
def test_a_kind_that_cannot_be_used_is_named_and_the_others_go_on(registry, name, message):
    with pytest.raises(PluginError) as caught:
        registry.info(name)
    assert message in caught.value.message
    assert caught.value.plugin == name
    assert registry.get("motd").name == "motd"


def test_the_same_entry_point_seen_twice_is_one(stranger):
    registry = Registry([EntryPoint("motd", f"{stranger}:Motd", KINDS)] * 2)
    assert registry.get("motd").name == "motd"


def test_closing_tells_the_kinds_that_were_used(registry):
    kind = registry.get("motd")
    registry.close()
    registry.close()
    assert kind.closed == 1


def test_terraform_providers_have_a_group_of_their_own(registry):
    assert {name: provider.source for name, provider in registry.providers().items()} == {"lab": "example.org/lab/lab"}


def test_the_shipped_kinds_come_through_entry_points():
    registry = Registry()
    assert {"terraform", "ansible", "ssh", "template", "command", "http", "noop"} <= set(registry.names())
    assert not set(registry.names()) & set(TASK_KEYS)
    assert registry.origin("noop")[0] == "drystone"
    assert registry.versions()["noop"].startswith("drystone ")
