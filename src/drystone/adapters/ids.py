"""Fresh names and chance: `ports.Ids`.

A run's id is a ULID: 48 bits of milliseconds and 80 random bits in Crockford's base 32, so that ids sort by time.
"""

from __future__ import annotations

import random
import secrets
import threading
import time

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class SystemIds:
    """Ids of one object also sort by time within a millisecond, and when the clock is set back."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._last = 0

    def run_id(self) -> str:
        """A new ULID, 26 characters."""
        fresh = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
        with self._guard:
            self._last = max(fresh, self._last + 1)
            return _to_text(self._last)

    def jitter(self) -> float:
        """A number from 0.0 up to 1.0."""
        return random.random()


def _to_text(number: int) -> str:
    return "".join(ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
