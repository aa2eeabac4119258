"""Threads for attempts: started on demand, used again, never more than there are attempts at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue


class Pool:
    """Runs calls in threads. Unlike an executor of the standard library it does not hold up the end of the process."""

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._threads: list[threading.Thread] = []

    def submit(self, call: Callable[[], None]) -> None:
        """Runs `call` soon; it must not raise."""
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
            else:
                thread = threading.Thread(target=self._serve, name=f"attempt-{len(self._threads) + 1}", daemon=True)
                self._threads.append(thread)
                thread.start()
        self._work.put(call)

    def _serve(self) -> None:
        while (call := self._work.get()) is not None:
            call()
            with self._lock:
                self._idle += 1

    def close(self) -> None:
        """Lets the threads end when their calls have; does not wait for them."""
        for _ in self._threads:
            self._work.put(None)
