"""The parts of the plan language that say how a task, or a run among others, goes: retry, poll, fan-out, concurrency.

`planfile` calls these with the fields of the map that they stand in. A mistake is recorded, and reads as what would be without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from drystone.core import values
from drystone.core.fields import Fields
from drystone.core.nodes import Node, describe, stripped
from drystone.core.plan import CONCURRENCY_TIMEOUT, POLL_EVERY, Concurrency, Fanout, OnConflict, Poll, Value
from drystone.core.retry import Backoff, RetryPolicy
from drystone.errors import FailureClass

FANOUT_KEYS = ("max_parallel", "max_failures", "max_items")
RETRY_KEYS = ("attempts", "delay", "backoff", "max_delay", "jitter", "on")
POLL_KEYS = ("until", "every", "timeout")
CONCURRENCY_KEYS = ("key", "on_conflict", "timeout")


def concurrency(fields: Fields) -> Concurrency | None:
    """A map, or the key alone."""
    node = fields.get("concurrency")
    if node is None:
        return None
    if not isinstance(node.value, Mapping):
        return Concurrency(key=_concurrency_key(node, fields, "concurrency"))
    given = Fields(node, '"concurrency"', fields.diagnostics)
    given.check_keys(CONCURRENCY_KEYS)
    key = given.get("key")
    if key is None:
        hint = 'such as key: "{{ inputs.name }}"'
        fields.diagnostics.error('"concurrency" needs "key": runs with the same key go one after the other', node.where, hint=hint)
    return Concurrency(
        key=values.UNKNOWN if key is None else _concurrency_key(key, given, "key"),
        on_conflict=given.choice("on_conflict", OnConflict, OnConflict.WAIT),
        timeout=given.duration("timeout", CONCURRENCY_TIMEOUT) or CONCURRENCY_TIMEOUT,
    )


def _concurrency_key(node: Node, fields: Fields, name: str) -> Value:
    value = values.compile_value(node, fields.diagnostics)
    if not isinstance(value, str | values.Template | values.Unknown) or value == "":
        fields.refuse(name, "text, or an expression that gives it")
        return values.UNKNOWN
    return value


def fanout(fields: Fields) -> Fanout | None:
    """What stands behind `for_each`, with its limits beside it."""
    node = fields.get("for_each")
    if node is None:
        for key in FANOUT_KEYS:
            if key in fields:
                fields.diagnostics.error(f'"{key}" of {fields.what} needs "for_each" beside it', fields.key_where(key), length=len(key))
        return None
    items = values.compile_value(stripped(node), fields.diagnostics)
    if isinstance(items, bool | str | float) or items is None or (isinstance(items, int) and items < 0):
        hint = f'write "{{{{ {items} }}}}" when it is an expression' if isinstance(items, str) else ""
        summary = f'"for_each" of {fields.what} must be a list, a map, a number or an expression, not {describe(node.value)}'
        fields.diagnostics.error(summary, node.where, hint=hint)
        items = values.UNKNOWN
    return Fanout(
        items=items,
        max_parallel=fields.integer("max_parallel", 0, least=1) or None,
        max_failures=fields.integer("max_failures", 0, least=0),
        max_items=fields.integer("max_items", 10_000, least=1),
        where=node.where,
    )


def retry(fields: Fields, base: RetryPolicy, *, partial: bool = False) -> RetryPolicy:
    """A number of attempts, or a map that is laid over `base`; only a `partial` one need not say how many attempts there are."""
    node = fields.get("retry")
    if node is None:
        return base
    if not isinstance(node.value, Mapping):
        return replace(base, attempts=fields.integer("retry", base.attempts, least=1, most=1000))
    given = Fields(node, f"the retry of {fields.what}", fields.diagnostics)
    given.check_keys(RETRY_KEYS)
    if "attempts" not in given and base.attempts == 1 and not partial:
        hint = "attempts counts every try, the first too"
        fields.diagnostics.error(f'the retry of {fields.what} needs "attempts"', node.where, hint=hint)
    return RetryPolicy(
        attempts=given.integer("attempts", base.attempts, least=1, most=1000),
        delay=given.duration("delay", base.delay, may_be_zero=True) or timedelta(0),
        backoff=given.choice("backoff", Backoff, base.backoff),
        max_delay=given.duration("max_delay", base.max_delay) or base.max_delay,
        jitter=given.flag("jitter", base.jitter),
        on=_failure_classes(given, base),
    )


def _failure_classes(fields: Fields, base: RetryPolicy) -> frozenset[FailureClass] | None:
    node = fields.get("on")
    if node is None:
        return base.on
    if not isinstance(node.value, tuple):
        fields.refuse("on", "a list of failure classes")
        return base.on
    words = [item.value for item in FailureClass if item is not FailureClass.CANCELLED]
    found = set()
    for item in node.value:
        if isinstance(item.value, str) and item.value in words:
            found.add(FailureClass(item.value))
        else:
            hint = f"there are {', '.join(words)}"
            fields.diagnostics.error(f"{describe(item.value)} is not a failure class", item.where, hint=hint)
    return frozenset(found)


def poll(fields: Fields) -> Poll | None:
    """A map with a condition."""
    node = fields.get("poll")
    if node is None:
        return None
    given = Fields(node, f"the poll of {fields.what}", fields.diagnostics)
    given.check_keys(POLL_KEYS)
    until = given.get("until")
    value: Value = values.UNKNOWN
    if until is None:
        hint = 'such as until: "{{ result.status == 200 }}"'
        fields.diagnostics.error(f'the poll of {fields.what} needs "until"', node.where, hint=hint)
    else:
        value = values.compile_value(stripped(until), fields.diagnostics)
        if not isinstance(value, values.Template | values.Unknown):
            given.refuse("until", "an expression")
    every = given.duration("every", POLL_EVERY)
    return Poll(until=value, every=every or POLL_EVERY, timeout=given.duration("timeout", None))
