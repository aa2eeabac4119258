"""Cron expressions on naive wall time: checked, and walked in both directions. cronsim does the arithmetic.

Five fields (minute, hour, day of the month, month, day of the week), six with seconds in front, or a word such as `@daily`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from cronsim import CronSim, CronSimError

WORDS = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0", "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip
_FIELDS = ("second", "minute", "hour", "day-of-month", "month", "day-of-week")
_ANY_DAY = datetime.fromisoformat("2000-01-01")


def fields(text: str) -> list[str]:
    """The expression's fields, seconds first when it has them; a word is spelt out."""
    return WORDS.get(text.strip().lower(), text).split()


def check(text: str) -> str:
    """The expression itself. Raises ValueError, with the field that is wrong, when it is none or names no day that ever comes."""
    parts = fields(text)
    if text.strip().startswith("@") and len(parts) == 1:
        raise ValueError(f'there is no "{text.strip()}"; there are {", ".join(WORDS)}')
    if len(parts) not in (5, 6):
        raise ValueError(f'"{text}" has {len(parts)} fields, not 5: minute, hour, day of the month, month, day of the week')
    try:
        next(CronSim(" ".join(parts), _ANY_DAY))
    except CronSimError as error:
        raise ValueError(_in_words(text, parts, str(error))) from None
    except StopIteration:
        raise ValueError(f'"{text}" names no day that ever comes') from None
    return text


def _in_words(text: str, parts: list[str], message: str) -> str:
    name = message.removeprefix("Bad ").lower()
    number = _FIELDS.index(name) - (6 - len(parts)) if name in _FIELDS else -1
    if number < 0:
        return f'"{text}" is not a cron expression'
    written = parts[number].split(",")
    if name == "day-of-month" and all(day.isdigit() and 1 <= int(day) <= 31 for day in written):
        return f'"{text}" names no day that ever comes'
    return f'"{text}": the {name.replace("-of-", " of the ")} cannot be "{parts[number]}"'


def keeps_real_time(text: str) -> bool:
    """Whether minute or hour begins with a star: such a schedule means "every so often", and goes on through a jump of the clock."""
    return any(part.startswith("*") for part in fields(text)[-5:-3])


def walls(text: str, after: datetime) -> Iterator[datetime]:
    """Wall times later than `after`, in order."""
    yield from CronSim(" ".join(fields(text)), after)


def walls_back(text: str, before: datetime) -> Iterator[datetime]:
    """Wall times earlier than `before`, the latest first."""
    yield from CronSim(" ".join(fields(text)), before, reverse=True)
