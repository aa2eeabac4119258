"""Ctrl-C and SIGTERM while a run is driven: the first asks for a graceful end, the second ends at once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from types import FrameType
from typing import TYPE_CHECKING

from drystone.cli import exit_codes, words

if TYPE_CHECKING:
    from drystone.app.runs import Hand
    from drystone.cli.live import Watcher

SHOW_CURSOR = "\x1b[?25h"
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def graceful(hand: Hand, watcher: Watcher) -> Iterator[None]:
    """Installs the handlers, and puts back those that were there."""
    asked: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if asked and number == signal.SIGINT:
            _end_at_once(hand)
        if not asked:
            asked.append(number)
            name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
            hand.cancel(f"cancelled by {name}")
            watcher.notice("cancelling: what runs is ended first; Ctrl-C again ends at once")

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_at_once(hand: Hand) -> None:
    # In a thread, because this handler may have interrupted the very code that holds the lock which is needed.
    ending = Thread(target=hand.world.end_children, daemon=True)
    ending.start()
    ending.join(timeout=1)
    # No other clean-up, on purpose: what still lives is ended by its supervisor, and the journal knows the rest.
    cursor = SHOW_CURSOR if sys.stderr.isatty() else ""
    text = f"{cursor}\nended at once; run {hand.run.id} was left half-way. to go on: drystone resume {words.short(hand.run.id)}\n"
    os.write(2, text.encode())
    os._exit(exit_codes.CANCELLED)
