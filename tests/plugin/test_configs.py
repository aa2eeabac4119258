"""A kind's config in a plan: what is certainly wrong is told once, in plain words; what is open is let through."""

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, field_validator, model_validator

from drystone.core.graph import Problem
from drystone.core.values import UNKNOWN
from drystone.plugin.api import Config
from drystone.plugin.configs import problems_of
from drystone.plugin.fields import Duration


class Host(Config):
    name: str
    port: int = 22


class Guards(Config):
    max_destroy: int | None = None
    deny_replace: bool = False


class Sample(Config):
    module: str
    forks: int = 5
    mode: Literal["fast", "safe"] = "fast"
    hosts: str | list[str | Host] | dict[str, list[str | Host]] | None = None
    guards: Guards = Guards()
    extra: dict[str, Any] = Field(default_factory=dict)
    wait: Duration | None = None
    tags: tuple[str, ...] = ()

    @field_validator("tags", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return value.split(",") if not isinstance(value, list) else value

    @model_validator(mode="after")
    def _one(self) -> "Sample":
        if self.module == "none" and self.forks:
            raise ValueError("module none takes no forks")
        return self


def told(config: Any) -> list[str]:
    return [problem.message + (f" | {problem.hint}" if problem.hint else "") for problem in problems_of(Sample, config)]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"module": "m"}, []),
        ({}, ['"module" is missing']),
        ({"modul": "m"}, ['unknown key "modul" | did you mean "module"?']),
        ({"module": "m", "zz": 1}, ['unknown key "zz" | known keys: extra, forks, guards, hosts, mode, module, tags, wait']),
        ({"module": 5}, ['"module" must be text, not the number 5']),
        ({"module": "m", "forks": "many"}, ['"forks" must be a whole number, not "many"']),
        ({"module": "m", "forks": 1.5}, ['"forks" must be a whole number, not the number 1.5']),
        ({"module": "m", "mode": "fats"}, ["\"mode\" must be 'fast' or 'safe', not \"fats\""]),
        ({"module": "m", "extra": []}, ['"extra" must be a map, not a list']),
        ({"module": "m", "guards": {"deny_replaced": 1}}, ['unknown key "guards.deny_replaced" | did you mean "deny_replace"?']),
        ({"module": "m", "guards": {"max_destroy": "x"}}, ['"guards.max_destroy" must be a whole number, not "x"']),
        ({"module": "m", "wait": "soon"}, ['"wait": "soon" is not a duration; a duration is written like 500ms, 30s, 15m, 1h30m or 2d']),
        ({"module": "none"}, ["module none takes no forks"]),
        ("text", ['its config must be a map, not "text"']),
        ([], ["its config must be a map, not a list"]),
    ],
)
def test_mistakes_are_told_in_the_words_of_the_plan_language(config, expected):
    assert told(config) == expected


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        (["a", {"name": "b"}], []),
        ({"web": ["a"]}, []),
        (5, ['"hosts" must be text or a list or a map, not the number 5']),
        (["a", {"nam": "b"}], ['unknown key "hosts[1].nam" | did you mean "name"?']),
        (["a", {"name": "b", "port": "ssh"}], ['"hosts[1].port" must be a whole number, not "ssh"']),
        ({"web": [{"name": "a", "prt": 1}]}, ['unknown key "hosts.web[0].prt" | did you mean "port"?']),
    ],
)
def test_of_a_union_the_alternative_that_came_nearest_speaks(hosts, expected):
    assert told({"module": "m", "hosts": hosts}) == expected


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (UNKNOWN, []),
        ({"module": UNKNOWN, "forks": UNKNOWN, "mode": UNKNOWN, "guards": UNKNOWN, "wait": UNKNOWN, "tags": UNKNOWN}, []),
        ({"module": "m", "hosts": UNKNOWN}, []),
        ({"module": "m", "hosts": [UNKNOWN, {"name": UNKNOWN}]}, []),
        ({"module": "m", "hosts": {"web": UNKNOWN}}, []),
        ({"module": "none", "forks": UNKNOWN}, []),
        ({"forks": UNKNOWN, "zz": UNKNOWN}, ['"module" is missing', 'unknown key "zz"']),
        ({"module": "m", "hosts": [UNKNOWN, {"name": UNKNOWN, "prt": 1}]}, ['unknown key "hosts[1].prt"']),
        ({"module": UNKNOWN, "forks": "many"}, ['"forks" must be a whole number, not "many"']),
        ({"module": UNKNOWN, "guards": {"max_destroy": UNKNOWN, "deny": 1}}, ['unknown key "guards.deny"']),
    ],
)
def test_what_depends_on_an_expression_is_left_open(config, expected):
    assert [line.partition(" |")[0] for line in told(config)] == expected


def test_the_path_leads_to_the_value_and_says_when_it_is_the_key():
    assert problems_of(Sample, {"module": "m", "hosts": [{"name": "a", "prt": 1}]}) == [
        Problem(("hosts", 0, "prt"), 'unknown key "hosts[0].prt"', 'did you mean "port"?', at_key=True)
    ]


def test_a_validator_that_stumbles_is_told_when_nothing_is_open():
    (line,) = told({"module": "m", "tags": 5})
    assert line.startswith("its config cannot be checked: AttributeError")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(UNKNOWN),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "port", "a", "max_destroy"]), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*Sample.model_fields, "zz"]), JSON))
def test_no_config_makes_the_check_raise(config):
    problems_of(Sample, config)


@given(st.dictionaries(st.sampled_from(sorted(Sample.model_fields)), st.just(UNKNOWN)).map(lambda config: {"module": UNKNOWN, **config}))
def test_a_config_of_expressions_only_is_never_wrong(config):
    assert problems_of(Sample, config) == []
