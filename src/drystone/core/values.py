"""Values with expressions in them: found, checked and evaluated.

`planfile` makes a `Template` of every string that holds an expression, `compile` looks at what it refers to, and `run` and the engines
render it. A string that is one expression gives that expression's value with its type; text around it makes the result text, always:
what was rendered is never read again as if it were a literal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from jinja2 import TemplateSyntaxError, nodes
from jinja2.environment import TemplateExpression

from drystone.core.diagnostics import Diagnostics, Where, did_you_mean
from drystone.core.filters import FilterError
from drystone.core.nodes import Node, inside
from drystone.core.opaque import UNKNOWN, Secret, SecretNames, Unknown, find, is_opaque
from drystone.core.plan import Value
from drystone.core.sandbox import ENVIRONMENT, FORBIDDEN_STATEMENTS, MISSING, lookup, missing, to_data, to_text
from drystone.errors import DrystoneError

__all__ = [
    "UNKNOWN", "ExpressionError", "PlainMap", "Reference", "Secret", "SecretNames", "Template", "Unknown", "compile_value",
    "condition",
    "has_secret", "kind_of", "references", "render", "reveal", "templates", "without_expressions",
]  # fmt: skip

_RAW_HINT = "to write braces as text, put {% raw %} before and {% endraw %} behind them"
_PATH = re.compile(
    r"""\{\{\s*([A-Za-z]\w*)((?:\.[A-Za-z_]\w*|\[(?:\d{1,9}|'[^'\\{}]*'|"[^"\\{}]*")\])*)\s*\}\}""", re.ASCII
)
_STEP = re.compile(r"""\.(\w+)|\[(\d+)\]|\[['"]([^\]]*)['"]\]""", re.ASCII)
_WORDS = frozenset({"true", "false", "none", "True", "False", "None", "not", "and", "or", "if", "else", "in", "is", "range", "dict"})


class ExpressionError(DrystoneError):
    """An expression cannot be evaluated with the values it was given. `where` is its place in the plan."""

    def __init__(self, where: Where, message: str, *, hint: str = "") -> None:
        super().__init__(f"{where}: {message}", hint=hint)
        self.where = where


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """What an expression looks at: `tasks.vm.outputs[0]` is root `tasks`, path `("vm", "outputs", 0)`.

    The path ends where it is not constant any more.
    """

    root: str
    path: tuple[str | int, ...] = ()

    def __str__(self) -> str:
        return self.root + "".join(_step_text(part) for part in self.path)


def _step_text(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if part.isidentifier() else f'["{part}"]'


@dataclass(frozen=True, slots=True)
class Template:
    """A string with expressions. `where` is where the string stands, `references` everything it looks at."""

    source: str
    where: Where
    references: frozenset[Reference]
    text_at: Where | None = field(default=None, compare=False, repr=False)

    def place_of(self, reference: Reference) -> tuple[Where, int]:
        """Where in the string the reference is written, and how long it is; the string's own place when that cannot be said."""
        steps = "".join(_step_pattern(part) for part in reference.path)
        found = re.search(rf"(?<![\w.]){reference.root}{steps}", self.source)
        if found is None:
            return self.where, 1
        length = 1 if self.text_at is None else found.end() - found.start()
        return inside(self.where, self.text_at, self.source, found.start()), length


def _step_pattern(part: str | int) -> str:
    text = re.escape(str(part))
    return rf"\s*(?:\.\s*{text}\b|\[\s*['\"]?{text}['\"]?\s*\])"


class PlainMap(dict[str, Any]):
    """A map that holds no expression: `render` gives it back as it is."""

    __slots__ = ()


class PlainList(list[Any]):
    """A list that holds no expression: `render` gives it back as it is."""

    __slots__ = ()


# ---- compiling --------------------------------------------------------------------------------------------------------


def compile_value(node: Node, diagnostics: Diagnostics) -> Value:
    """A tree from the plan file -> data whose leaves may be templates. A broken expression becomes UNKNOWN, with a diagnostic."""
    value = node.value
    if isinstance(value, str):
        return _template(node, value, diagnostics) if "{{" in value or "{%" in value else value
    if isinstance(value, Mapping):
        mapped = {key: compile_value(child, diagnostics) for key, (_, child) in value.items()}
        return PlainMap(mapped) if all(_is_plain(item) for item in mapped.values()) else mapped
    if isinstance(value, tuple):
        listed = [compile_value(child, diagnostics) for child in value]
        return PlainList(listed) if all(_is_plain(item) for item in listed) else listed
    return value


_PLAIN_TYPES = frozenset({str, int, float, bool, type(None), PlainMap, PlainList})


def _is_plain(value: Any) -> bool:
    return type(value) in _PLAIN_TYPES


def _template(node: Node, source: str, diagnostics: Diagnostics) -> Template | Unknown:
    parsed = _parse(source)
    if parsed.problem:
        where = inside(node.where, node.text_at, source, max(0, source.find(parsed.culprit))) if parsed.culprit else node.where
        diagnostics.error(parsed.problem, where, hint=parsed.hint, length=len(parsed.culprit) or 1)
        return UNKNOWN
    return Template(source, node.where, parsed.references, node.text_at)


@dataclass(frozen=True, slots=True)
class _Parsed:
    """What the text of a template says by itself.

    parts:   text and paths in turn when there is nothing else in it: then it needs no Jinja2 to be evaluated.
    problem: why it is no template; `culprit` is the part of the text to point at.
    """

    references: frozenset[Reference] = frozenset()
    parts: tuple[str | Reference, ...] = ()
    problem: str = ""
    hint: str = ""
    culprit: str = ""


@lru_cache(maxsize=32_768)
def _parse(source: str) -> _Parsed:
    if parts := _simple_parts(source):
        return _Parsed(references=frozenset(part for part in parts if isinstance(part, Reference)), parts=parts)
    try:
        tree = ENVIRONMENT.parse(source)
    except TemplateSyntaxError as error:
        return _Parsed(problem=f"not a valid expression: {error.message}", hint=_RAW_HINT)
    except RecursionError:
        return _Parsed(problem="the expression is nested too deeply")
    return _check_names(tree) or _Parsed(references=frozenset(_references(tree)))


def _simple_parts(source: str) -> tuple[str | Reference, ...]:
    """Text and paths in turn; nothing when there is more in it than these."""
    parts: list[str | Reference] = []
    end = 0
    for found in _PATH.finditer(source):
        text = source[end : found.start()]
        if found[1] in _WORDS or "{{" in text or "{%" in text:
            return ()
        if text:
            parts.append(text)
        parts.append(Reference(found[1], tuple(_step(*step) for step in _STEP.findall(found[2]))))
        end = found.end()
    rest = source[end:]
    if "{{" in rest or "{%" in rest:
        return ()
    return (*parts, rest) if rest else tuple(parts)


def _step(name: str, index: str, quoted: str) -> str | int:
    return int(index) if index else name or quoted


def _check_names(tree: nodes.Template) -> _Parsed | None:
    """The first unknown filter or test, or a statement that reaches for other files."""
    for node in _all_nodes(tree):
        match node:
            case nodes.Filter() if node.name not in ENVIRONMENT.filters:
                return _unknown("filter", node.name, ENVIRONMENT.filters)
            case nodes.Test() if node.name not in ENVIRONMENT.tests:
                return _unknown("test", node.name, ENVIRONMENT.tests)
            case _ if isinstance(node, FORBIDDEN_STATEMENTS):
                word = type(node).__name__.lower()
                return _Parsed(problem=f'"{word}" is not part of expressions', hint="an expression sees only the values of the run")
    return None


def _all_nodes(node: nodes.Node) -> Iterator[nodes.Node]:
    for child in node.iter_child_nodes():
        yield child
        yield from _all_nodes(child)


def _unknown(what: str, name: str, known: Mapping[str, Any]) -> _Parsed:
    return _Parsed(problem=f'there is no {what} "{name}"', hint=did_you_mean(name, known), culprit=name)


def _references(tree: nodes.Template) -> Iterator[Reference]:
    local = {node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"}
    if local or tree.find(nodes.For) or tree.find(nodes.Macro):
        local |= {"loop", "caller", "varargs", "kwargs"}
    return (ref for ref in _collect(tree) if ref.root not in local and ref.root not in ENVIRONMENT.globals)


def _collect(node: nodes.Node) -> Iterator[Reference]:
    """References in the order of the text; a chain of attributes and items counts once, as long as it is constant."""
    match node:
        case nodes.Getattr() | nodes.Getitem() | nodes.Name():
            steps: list[str | int | None] = []
            inner: nodes.Node = node
            while isinstance(inner, nodes.Getattr | nodes.Getitem):
                steps.append(inner.attr if isinstance(inner, nodes.Getattr) else _constant(inner.arg))
                if isinstance(inner, nodes.Getitem) and steps[-1] is None:
                    yield from _collect(inner.arg)
                inner = inner.node
            if isinstance(inner, nodes.Name):
                yield Reference(inner.name, _constant_part(steps[::-1]))
            else:
                yield from _collect(inner)
        case nodes.Call(node=nodes.Getattr() as method):
            # The last name of `inputs.name.upper()` is a method, not data.
            yield from _collect(method.node)
            for child in node.iter_child_nodes(exclude=("node",)):
                yield from _collect(child)
        case _:
            for child in node.iter_child_nodes():
                yield from _collect(child)


def _constant(node: nodes.Node) -> str | int | None:
    if isinstance(node, nodes.Const) and isinstance(node.value, str | int) and not isinstance(node.value, bool):
        return node.value
    return None


def _constant_part(steps: list[str | int | None]) -> tuple[str | int, ...]:
    constant: list[str | int] = []
    for step in steps:
        if step is None:
            break
        constant.append(step)
    return tuple(constant)


# ---- looking at values ------------------------------------------------------------------------------------------------


def templates(value: Value) -> Iterator[Template]:
    """All templates in a value, in order."""
    if isinstance(value, Template):
        yield value
    elif isinstance(value, PlainMap | PlainList):
        return
    elif isinstance(value, dict):
        for item in value.values():
            yield from templates(item)
    elif isinstance(value, list):
        for item in value:
            yield from templates(item)


def references(value: Value) -> frozenset[Reference]:
    """Everything that the expressions in a value look at."""
    return frozenset(reference for template in templates(value) for reference in template.references)


def without_expressions(value: Value) -> Any:
    """The value with UNKNOWN in the place of each expression."""
    return _mapped(value, lambda leaf: UNKNOWN if isinstance(leaf, Template) else leaf)


def has_secret(value: Any) -> bool:
    """True when there is a Secret in this data."""
    return find(value, Secret)


def reveal(value: Any, how: Callable[[Secret], Any]) -> Any:
    """The data with every Secret replaced by what `how` makes of it; the very same object when it holds none."""
    return _mapped(value, lambda leaf: how(leaf) if isinstance(leaf, Secret) else leaf) if has_secret(value) else value


def _mapped(value: Any, leaf: Callable[[Any], Any]) -> Any:
    if isinstance(value, Mapping):
        return {key: _mapped(item, leaf) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(item, leaf) for item in value]
    return leaf(value)


def kind_of(value: Any) -> str:
    """The name of a value's type, as plans and JSON Schema call it."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case Mapping():
            return "map"
        case Secret():
            return "secret"
        case Unknown():
            return "unknown"
        case _:
            return "list"


# ---- evaluating -------------------------------------------------------------------------------------------------------


def render(value: Value, scope: Mapping[str, Any]) -> Any:
    """The value with every expression evaluated: JSON data, in which a Secret may stand where one was looked at.

    scope: the roots, such as `inputs` and `tasks`; `secrets` gives handles unless the scope has it.
    Raises ExpressionError when something is not defined, or a filter or operator cannot use what it gets.
    """
    if type(value) in _PLAIN_TYPES:
        return value
    if isinstance(value, Template):
        return _evaluate(value, scope if "secrets" in scope else {**scope, "secrets": SecretNames()})
    if isinstance(value, dict):
        return {key: render(item, scope) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [render(item, scope) for item in value]
    return value


def beginning(template: Template, scope: Mapping[str, Any]) -> str:
    """The text at the beginning of a template whose value is not known: up to the first expression that is not known either."""
    known = ""
    for part in _parse(template.source).parts or (re.split(r"\{[{%#]", template.source, maxsplit=1)[0], Reference("")):
        value = part if isinstance(part, str) else _reached(part, scope)
        if not isinstance(value, str | int):
            break
        known += str(value)
    return known


def condition(value: Value, scope: Mapping[str, Any]) -> bool:
    """Whether a `when` is true. Raises ExpressionError when it gives neither true nor false: the text "false" is neither."""
    result = render(value, scope)
    if isinstance(result, bool):
        return result
    assert isinstance(value, Template)
    shown = f'"{result}"' if isinstance(result, str) else kind_of(result)
    raise ExpressionError(
        value.where, f'"{_shortened(value.source)}" gives {shown}, not true or false', hint="compare it with something, as in x == 1"
    )


def _evaluate(template: Template, scope: Mapping[str, Any]) -> Any:
    parts = _parse(template.source).parts
    if parts:
        return _joined(template, parts, scope)
    reached = [_reached(reference, scope) for reference in template.references]
    if any(value is UNKNOWN for value in reached):
        return UNKNOWN
    try:
        result = _calculated(template.source)(scope)
    # Whatever an operator, a method or a filter raises is a mistake in the expression or its values.
    except Exception as error:
        if any(find(value, Unknown) for value in reached):
            return UNKNOWN
        if any(find(value, Secret) for value in reached):
            return Secret()
        raise ExpressionError(template.where, f'"{_shortened(template.source)}": {_in_words(error)}') from error
    # What was compared with or counted from a handle says nothing of the secret itself.
    if isinstance(result, int | float) and any(isinstance(value, Secret) for value in reached):
        return Secret()
    return result


def _joined(template: Template, parts: tuple[str | Reference, ...], scope: Mapping[str, Any]) -> Any:
    found = [_follow(template, part, scope) if isinstance(part, Reference) else part for part in parts]
    if len(parts) == 1:
        return found[0]
    try:
        return "".join([str(to_text(value)) for value in found])
    except (FilterError, TypeError) as error:
        if any(find(value, Unknown) for value in found):
            return UNKNOWN
        raise ExpressionError(template.where, f'"{_shortened(template.source)}": {error}') from error


def _follow(template: Template, path: Reference, scope: Mapping[str, Any]) -> Any:
    value: Any = scope
    for part in (path.root, *path.path):
        found = lookup(value, part)
        if found is MISSING:
            message, hint = _missing(value, part, scope)
            raise ExpressionError(template.where, f'"{_shortened(template.source)}": {message}', hint=hint)
        value = found
    return value


def _missing(value: Any, part: str | int, scope: Mapping[str, Any]) -> tuple[str, str]:
    return (f'"{part}" is not defined here', "") if value is scope else missing(value, part)


@lru_cache(maxsize=2_048)
def _calculated(source: str) -> Callable[[Mapping[str, Any]], Any]:
    """The compiled template. Bounded: a compiled template takes some kilobytes, and most are rendered once."""
    tree = ENVIRONMENT.parse(source)
    match tree.body:
        case [nodes.Output(nodes=[expression])] if not isinstance(expression, nodes.TemplateData):
            result = nodes.Assign(nodes.Name("result", "store"), expression, lineno=1)
            template = ENVIRONMENT.from_string(nodes.Template([result], lineno=1))
            native = TemplateExpression(template, undefined_to_none=False)
            return lambda scope: to_data(native(scope))
        case _:
            return ENVIRONMENT.from_string(tree).render


def _reached(reference: Reference, scope: Mapping[str, Any]) -> Any:
    value: Any = scope
    for part in (reference.root, *reference.path):
        if is_opaque(found := lookup(value, part)) or found is MISSING:
            return found
        value = found
    return value


def _in_words(error: Exception) -> str:
    match error:
        case ZeroDivisionError():
            return "division by zero"
        case RecursionError():
            return "it is nested too deeply"
        case _:
            return str(error).rstrip(".") or type(error).__name__


def _shortened(source: str) -> str:
    line = " ".join(source.split())
    return line if len(line) <= 80 else f"{line[:77]}..."


