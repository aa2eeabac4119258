"""The program that makes the call, run by any Python from 3.7 on; nothing of drystone is imported, only the standard library.

    standard input   one JSON object: call, args, kwargs, path (folders for sys.path), limit_bytes
    standard output  one line of JSON: {"outputs": ...} or {"failure": {...}}, see `_failure`; nothing else gets there
    standard error   what the function writes, to standard output too

`task` starts it and reads the answer. Without an answer the exit code says what there is to say.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any

TAIL_LINES = 20
INTERRUPTED = 130


class NoCallError(Exception):
    """There is nothing to call: wrong names, or arguments that do not fit."""

    def __init__(self, message: str, hint: str = "", detail: str = "") -> None:
        super().__init__(message)
        self.failure = {"class": "invalid", "message": message, "hint": hint, "detail": detail, "permanent": True, "changed": False}


def main() -> int:
    """Reads the order, calls, answers; the exit code is 0 when there was an answer."""
    order = json.load(sys.stdin)
    answers = _take_standard_streams()
    _set_path(order["path"])
    sys.argv = [order["call"]]
    try:
        answer = _perform(order)
    except KeyboardInterrupt:
        traceback.print_exc()
        return INTERRUPTED
    sys.stdout.flush()
    _write(answers, json.dumps(answer).encode() + b"\n")
    return 0


def _take_standard_streams() -> int:
    """Keeps standard output for the answer, and leaves to the function an empty input and the log. Returns the kept descriptor."""
    answers = os.dup(1)
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  it lives as long as the process
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    return answers


def _set_path(folders: list[str]) -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    # The interpreter puts the folder of this file first, unless it was told to be safe.
    if sys.path and os.path.abspath(sys.path[0]) == here:
        del sys.path[0]
    sys.path[:0] = folders
    # The project is read only: no __pycache__ in it.
    sys.dont_write_bytecode = True


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _perform(order: dict[str, Any]) -> dict[str, Any]:
    try:
        function = _find(order["call"], order["path"])
        _check_arguments(function, order)
        result = function(*order["args"], **order["kwargs"])
        if inspect.iscoroutine(result):
            # Only here: it takes longer to import than everything above together.
            import asyncio

            result = asyncio.run(result)
        return _answer(order, result)
    except NoCallError as error:
        return {"failure": error.failure}
    except SystemExit as error:
        return _exited(order, error.code)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return {"failure": _failure(order["call"], error)}


def _answer(order: dict[str, Any], result: Any) -> dict[str, Any]:
    problem = _not_json(result, "the result")
    if not problem and len(json.dumps(result)) > order["limit_bytes"]:
        problem = f"the result is larger than the store takes ({order['limit_bytes']:,} bytes)"
    if problem:
        hint = "return maps, lists, text, numbers, truth values or None, and large data as the path of a file"
        return {"failure": {"class": "invalid", "message": f'"{order["call"]}": {problem}', "hint": hint, "permanent": True}}
    return {"outputs": result}


def _not_json(value: Any, place: str, depth: int = 0) -> str:
    """What stands in the way of `value` being JSON, with its place; empty when nothing does."""
    if value is None or isinstance(value, (str, bool, int)):
        return ""
    if isinstance(value, float):
        return "" if value - value == 0 else f"{place} is {value}, which JSON does not have"
    if depth > 100:
        return f"{place} is nested too deeply, or holds itself"
    if isinstance(value, dict):
        odd = [key for key in value if not isinstance(key, str)]
        if odd:
            return f"{place} has the key {odd[0]!r}; keys must be text"
        return _first(_not_json(item, f'{place}["{key}"]', depth + 1) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return _first(_not_json(item, f"{place}[{index}]", depth + 1) for index, item in enumerate(value))
    return f'{place} is of type "{type(value).__name__}", which is not JSON'


def _first(problems: Iterable[str]) -> str:
    return next(filter(None, problems), "")


# ---- finding the function --------------------------------------------------------------------------------------------


def _find(call: str, folders: list[str]) -> Callable[..., Any]:
    module_name, _, path = call.partition(":")
    found: Any = _import(module_name, folders)
    place = f'module "{module_name}"'
    for name in path.split("."):
        if not hasattr(found, name):
            raise NoCallError(f'{place} has no "{name}"', _near(name, [known for known in dir(found) if not known.startswith("_")]))
        found = getattr(found, name)
        place = f'"{name}"'
    if not callable(found):
        raise NoCallError(f'"{call}" is of type "{type(found).__name__}", which cannot be called')
    return found  # type: ignore[no-any-return]


def _import(name: str, folders: list[str]) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if name != missing and not name.startswith(missing + "."):
            hint = f'install it for "{sys.executable}", or name another interpreter with "python"'
            raise NoCallError(f'module "{name}" needs "{missing}", which is not there', hint, _traceback(error)) from error
        raise NoCallError(f'there is no module "{missing}"', _near_module(missing, folders)) from error
    except (SyntaxError, ImportError) as error:
        raise NoCallError(f'module "{name}" cannot be imported: {_in_words(error)}', detail=_traceback(error)) from error


def _near_module(name: str, folders: list[str]) -> str:
    package, _, last = name.rpartition(".")
    places = list(getattr(sys.modules[package], "__path__", ())) if package else folders
    names = {entry.partition(".")[0] for place in places if os.path.isdir(place) for entry in os.listdir(place)}
    default = f'"{package}" is not a package' if package and not places else f"looked in {', '.join(places)}"
    return _near(last, names, f"{package}." if package else "") or default


def _near(name: str, known: Iterable[str], prefix: str = "") -> str:
    import difflib

    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f'did you mean "{prefix}{near[0]}"?' if near else ""


def _check_arguments(function: Callable[..., Any], order: dict[str, Any]) -> None:
    """Arguments that do not fit are the plan's mistake, and found before anything is called."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*order["args"], **order["kwargs"])
    except TypeError as error:
        hint = f"it takes {signature}"
        for name in order["kwargs"]:
            if name not in signature.parameters:
                hint = _near(name, signature.parameters) or hint
        raise NoCallError(f'"{order["call"]}": {error}', hint) from error


# ---- telling what went wrong -----------------------------------------------------------------------------------------


def _exited(order: dict[str, Any], code: Any) -> dict[str, Any]:
    """`sys.exit()` and `sys.exit(0)` are a success without a result, a number is an exit code, anything else a last word."""
    if code is None or code == 0:
        return {"outputs": None}
    if isinstance(code, int):
        return {"failure": {"class": "failed", "message": f'"{order["call"]}" ended with exit code {code}'}}
    return {"failure": {"class": "failed", "message": f'"{order["call"]}" ended: {code}', "type": "SystemExit"}}


def _failure(call: str, error: BaseException) -> dict[str, Any]:
    """What `task` makes an error of. An exception with a `failure_class`, as drystone's own have it, says itself what it is.

    Only one that does not was unforeseen, and needs its traceback.
    """
    told = getattr(error, "failure_class", None)
    if told is None:
        text = _traceback(error)
        sys.stderr.write(text)
        detail = "\n".join(text.splitlines()[-TAIL_LINES:])
        return {"class": "failed", "message": f'"{call}" raised {_in_words(error)}', "type": type(error).__name__, "detail": detail}
    wait: Any = getattr(error, "retry_in", None)
    return {
        "class": str(getattr(told, "value", told)),
        "message": str(error) or type(error).__name__,
        "type": type(error).__name__,
        "detail": str(getattr(error, "detail", "")),
        "hint": str(getattr(error, "hint", "")),
        "permanent": bool(getattr(error, "permanent", False)),
        "changed": bool(getattr(error, "changed", True)),
        "retry_in_s": wait.total_seconds() if hasattr(wait, "total_seconds") else wait,
    }


def _in_words(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()[-1]


def _traceback(error: BaseException) -> str:
    """The traceback, from the first line that is the user's."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in (__file__, importlib.__file__):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))


if __name__ == "__main__":
    sys.exit(main())
