"""Files made from Jinja2 templates: the template kind and the uploads of the ssh kind.

Not the expressions of a plan: those are `core.values`. The sandbox is the same idea, the whitespace rules are Ansible's
(a line that holds only a block leaves nothing behind, the last newline stays), and what is not defined is an error with
its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined, TemplateError, TemplateSyntaxError, select_autoescape
from jinja2.sandbox import ImmutableSandboxedEnvironment

from drystone.errors import FailureClass, PermanentError
from drystone.plugin import sources

_ESCAPED = ("html", "htm", "xml", "xhtml")
_LOOKS = re.compile(rb"\{%[-+]?\s*(include|import|from|extends)\b")


def render(source: str, name: str, variables: Mapping[str, Any], folders: Sequence[Path] = ()) -> str:
    """The text that the template gives.

    name:    the template's path, for messages; in `*.html`, `*.xml` (also with `.j2` behind) values are escaped.
    folders: where `include`, `import` and `extends` look.
    Raises PermanentError(invalid) naming file and line.
    """
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        loader=FileSystemLoader([str(folder) for folder in folders]),
        autoescape=select_autoescape([*_ESCAPED, *(f"{ending}.j2" for ending in _ESCAPED)], default_for_string=False),
    )
    try:
        # Compiled by hand, because from_string knows no name: neither messages nor escaping would have one.
        code = environment.compile(source, name, name)
        template = environment.template_class.from_code(environment, code, environment.make_globals(None))
        return template.render(variables)
    except TemplateSyntaxError as error:
        raise _invalid(f"{error.filename or name}:{error.lineno}: {error.message}") from error
    except RecursionError as error:
        raise _invalid(f"{name}: the template includes itself without end") from error
    # A template may run into any error that Python has: dividing by zero, adding text to a number.
    except Exception as error:
        raise _invalid(f"{name}:{_line_of(error, name)}: {_reason(error)}") from error


def sources_of(value: Any, source: Path) -> Iterator[Path]:
    """The files of a template (`src` of a config) for a bundle: with the folder that it is in, when it looks for others."""
    for path in sources.paths(value, source):
        yield path
        if path.is_file() and path.parent != source and _LOOKS.search(path.read_bytes()):
            yield path.parent


def _invalid(message: str) -> PermanentError:
    return PermanentError(
        FailureClass.INVALID,
        f"template {message}",
        changed=False,
        hint="correct the template, or give it the value in `vars`",
    )


def _reason(error: Exception) -> str:
    return error.message or type(error).__name__ if isinstance(error, TemplateError) else f"{type(error).__name__}: {error}"


def _line_of(error: BaseException, name: str) -> int:
    """Line of the template in which it went wrong; Jinja2 rewrites tracebacks so that they name it."""
    line = 1
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == name:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
