"""A measured figure: samples of drystone, samples of what the machine can do at best, and the budget between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter, process_time
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Rival:
    """Another engine's samples, of the same run of this program; `reason` says why there are none."""

    name: str
    samples: Sequence[float] = ()
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One row of the table.

    unit:    of all numbers: `tasks/s`, `s` or `MB`.
    budget:  of DESIGN §10; None when there is none.
    samples: one number for each repetition.
    limit:   the same work without drystone, taken in turn with `samples`; empty when nothing compares.
    against: what `limit` is.
    cpu:     the processor's seconds in each sample: far below the wall's when other programs had the processor.
    rivals:  other engines on the same work.
    """

    name: str
    unit: str
    samples: Sequence[float]
    budget: float | None = None
    limit: Sequence[float] = ()
    against: str = ""
    cpu: Sequence[float] = ()
    rivals: tuple[Rival, ...] = ()

    @property
    def more_is_better(self) -> bool:
        """True for rates."""
        return self.unit.endswith("/s")

    @property
    def is_met(self) -> bool | None:
        """Whether the median keeps the budget; None without one."""
        if self.budget is None:
            return None
        value = median(self.samples)
        return value >= self.budget if self.more_is_better else value <= self.budget

    def to_json(self) -> dict[str, Any]:
        """The shape of an entry of latest.json."""
        return {
            "name": self.name,
            "unit": self.unit,
            "budget": self.budget,
            "met": self.is_met,
            "median": median(self.samples),
            "samples": list(self.samples),
            "cpu_s": list(self.cpu),
            "limit": {"what": self.against, "median": median(self.limit), "samples": list(self.limit)} if self.limit else None,
            "peers": {rival.name: _rival_to_json(rival) for rival in self.rivals},
        }


HEAD = ("figure", "budget", "measured: median (min–max)", "the machine's limit", "")


def to_rows(figures: Sequence[Figure]) -> list[tuple[str, ...]]:
    """The table's cells, rivals below the figure that they belong to."""
    rows: list[tuple[str, ...]] = []
    for figure in figures:
        limit = f"{_spread(figure.limit, figure.unit)}: {figure.against}" if figure.limit else ""
        mark = {None: "", True: "met", False: "not met"}[figure.is_met]
        if figure.cpu:
            mark = f"{mark}; {_number(median(figure.cpu))} s of CPU".removeprefix("; ")
        rows.append((figure.name, _budget(figure), _spread(figure.samples, figure.unit), limit, mark))
        rows += [_rival_row(figure, rival) for rival in figure.rivals]
    return rows


def _rival_row(figure: Figure, rival: Rival) -> tuple[str, ...]:
    if not rival.samples:
        return f"  {rival.name}", "", f"not measured: {rival.reason}", "", ""
    ratio = median(figure.samples) / median(rival.samples)
    return f"  {rival.name}", "", _spread(rival.samples, figure.unit), "", f"drystone is {ratio:.0f} times as fast"


def _rival_to_json(rival: Rival) -> dict[str, Any]:
    if not rival.samples:
        return {"not_measured": rival.reason}
    return {"median": median(rival.samples), "samples": list(rival.samples)}


def _budget(figure: Figure) -> str:
    if figure.budget is None:
        return ""
    return f"{'≥' if figure.more_is_better else '≤'} {_number(figure.budget)} {figure.unit}"


def _spread(samples: Sequence[float], unit: str) -> str:
    if len(samples) == 1:
        return f"{_number(samples[0])} {unit}"
    return f"{_number(median(samples))} {unit} ({_number(min(samples))}–{_number(max(samples))})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


@dataclass(frozen=True)
class Taken:
    """Seconds by the clock on the wall, and of this process on the processor."""

    wall: float
    cpu: float


def timed(call: Callable[[], object]) -> Taken:
    """How long one call takes."""
    wall, cpu = perf_counter(), process_time()
    call()
    return Taken(perf_counter() - wall, process_time() - cpu)


def in_turn(times: int, *calls: Callable[[], T]) -> list[list[T]]:
    """Calls each of them `times` times, in turn: whatever else this machine does meets all of them alike."""
    samples: list[list[T]] = [[] for _ in calls]
    for _ in range(times):
        for call, found in zip(calls, samples, strict=True):
            found.append(call())
    return samples
