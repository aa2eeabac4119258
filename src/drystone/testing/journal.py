"""Journals for tests: in memory, with every rule of the one in a database, and one whose process dies at a given event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from drystone.core.events import Event
from drystone.ports import Batch, Journal
from drystone.stores.memory import MemoryJournal

__all__ = ["Died", "DyingJournal", "MemoryJournal"]


class Died(BaseException):
    """The process is gone. Nothing that catches errors must catch it."""


class DyingJournal:
    """Passes everything on to another journal, until events are on disk after which the process dies."""

    def __init__(self, journal: Journal, is_the_end: Callable[[Event], bool]) -> None:
        self._journal = journal
        self._is_the_end = is_the_end

    def append(self, batches: Sequence[Batch]) -> None:
        """Writes, and then dies when one of the events is the end. Raises Died."""
        self._journal.append(batches)
        for batch in batches:
            for event in batch.events:
                if self._is_the_end(event):
                    raise Died(f"after event {event.seq}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)
