"""The machine's time: `ports.Clock`."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class SystemClock:
    """As the kernel tells it."""

    def now(self) -> datetime:
        """The present moment, UTC; it may be set back while a program runs."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some moment in the past; never set back."""
        return time.monotonic()
