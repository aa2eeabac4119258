"""A schedule on the days on which the clock jumps, in five zones; and no tick is lost or doubled, however the time line is cut."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drystone.triggers.schedule import Schedule
from drystone.triggers.schedule.config import ScheduleConfig

TRIGGER = Schedule()


def config(**written) -> ScheduleConfig:
    return ScheduleConfig.model_validate(written)


def on(day: str, days: int = 1, **written):
    """The ticks of one local day, or several, as `local time with offset`; those that do not fire in brackets."""
    made = config(**written)
    begin = datetime.fromisoformat(day)
    after, until = (day.replace(tzinfo=made.zone).astimezone(UTC) for day in (begin, begin + timedelta(days=days)))
    moment = timedelta(microseconds=1)
    ticks = TRIGGER.ticks("p/s", made, after - moment, until - moment)
    return [f"({tick.local:%H:%M%z})" if tick.skip else f"{tick.local:%H:%M%z}" for tick in ticks]


DAYS = [
    # Europe/Berlin: 02:00 -> 03:00 on 29 March 2026, 03:00 -> 02:00 on 25 October 2026.
    ("Europe/Berlin", "2026-03-29", "30 2 * * *", None, ["03:00+0200"]),
    ("Europe/Berlin", "2026-03-29", "30 2 * * *", {"gap": "shift"}, ["03:30+0200"]),
    ("Europe/Berlin", "2026-03-29", "30 2 * * *", {"gap": "skip"}, ["(03:00+0200)"]),
    ("Europe/Berlin", "2026-03-29", "0,30 2,3 * * *", None, ["03:00+0200", "03:30+0200"]),
    ("Europe/Berlin", "2026-10-25", "30 2 * * *", None, ["02:30+0200"]),
    ("Europe/Berlin", "2026-10-25", "30 2 * * *", {"overlap": "second"}, ["02:30+0100"]),
    ("Europe/Berlin", "2026-10-25", "30 2 * * *", {"overlap": "both"}, ["02:30+0200", "02:30+0100"]),
    ("Europe/Berlin", "2026-10-25", "0 1-3 * * *", {"overlap": "both"}, ["01:00+0200", "02:00+0200", "02:00+0100", "03:00+0100"]),
    ("America/New_York", "2026-03-08", "15 2 * * *", None, ["03:00-0400"]),
    ("America/New_York", "2026-11-01", "15 1 * * *", None, ["01:15-0400"]),
    ("America/New_York", "2026-11-01", "15 1 * * *", {"overlap": "second"}, ["01:15-0500"]),
    # Australia/Lord_Howe moves by half an hour: 02:00 -> 02:30 on 4 October, 02:00 -> 01:30 on 5 April.
    ("Australia/Lord_Howe", "2026-10-04", "15 2 * * *", None, ["02:30+1100"]),
    ("Australia/Lord_Howe", "2026-10-04", "15 2 * * *", {"gap": "shift"}, ["02:45+1100"]),
    ("Australia/Lord_Howe", "2026-10-04", "45 2 * * *", None, ["02:45+1100"]),
    ("Australia/Lord_Howe", "2026-04-05", "45 1 * * *", {"overlap": "both"}, ["01:45+1100", "01:45+1030"]),
    ("Australia/Lord_Howe", "2026-04-05", "15 1 * * *", {"overlap": "both"}, ["01:15+1100"]),
    # Africa/Cairo jumps at midnight: 24 April 2026 begins at 01:00, and 29 October has 23:00 twice.
    ("Africa/Cairo", "2026-04-24", "0 0 * * *", None, ["01:00+0300"]),
    ("Africa/Cairo", "2026-10-29", "30 23 * * *", {"overlap": "both"}, ["23:30+0300", "23:30+0200"]),
    # Asia/Kolkata never jumps.
    ("Asia/Kolkata", "2026-03-29", "30 2 * * *", {"gap": "skip", "overlap": "both"}, ["02:30+0530"]),
]  # fmt: skip


@pytest.mark.parametrize(("zone", "day", "cron", "dst", "expected"), DAYS)
def test_a_day_on_which_the_clock_jumps(zone, day, cron, dst, expected):
    written = {"cron": cron, "timezone": zone} | ({"dst": dst} if dst else {})
    assert on(day, **written) == expected


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)])
def test_every_five_minutes_stays_every_five_minutes(day, hours):
    made = config(cron="*/5 * * * *", timezone="Europe/Berlin")
    begin = datetime.fromisoformat(day).replace(tzinfo=made.zone).astimezone(UTC)
    ticks = [tick.at for tick in TRIGGER.ticks("p/s", made, begin, begin + timedelta(hours=hours))]
    assert ticks == [begin + timedelta(minutes=5 * number) for number in range(1, 12 * hours + 1)]


def test_an_odd_tick_says_what_is_odd():
    made = config(cron="30 2 * * *", timezone="Europe/Berlin")
    (tick,) = TRIGGER.ticks("p/s", made, datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 3, 30, tzinfo=UTC))
    assert tick.note == "02:30 does not exist: fires at 03:00"
    (tick,) = TRIGGER.ticks("p/s", made, datetime(2026, 10, 25, tzinfo=UTC), datetime(2026, 10, 26, tzinfo=UTC))
    assert tick.note == "02:30 comes twice: this is the first"


def test_start_and_end_bound_a_schedule_the_last_day_included():
    written = {"cron": "0 2 * * *", "timezone": "Europe/Berlin", "start": "2026-01-10", "end": "2026-01-12"}
    made = config(**written)
    ticks = TRIGGER.ticks("p/s", made, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
    assert [tick.local.day for tick in ticks] == [10, 11, 12]


def test_a_blackout_keeps_its_ticks_from_firing_and_says_why():
    blackout = [{"from": "2026-12-24T18:00", "to": "2026-12-26", "reason": "holidays"}]
    made = config(cron="0 2 * * *", timezone="Europe/Berlin", blackout=blackout)
    ticks = list(TRIGGER.ticks("p/s", made, datetime(2026, 12, 23, 12, tzinfo=UTC), datetime(2026, 12, 27, 12, tzinfo=UTC)))
    assert [(tick.local.day, tick.skip) for tick in ticks] == [
        (24, ""), (25, "blackout: holidays"), (26, "blackout: holidays"), (27, ""),
    ]  # fmt: skip


def test_jitter_is_the_same_on_every_server_and_differs_between_ticks():
    made = config(cron="0 * * * *", jitter="5m")
    window = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
    first, again = ([tick.due - tick.at for tick in Schedule().ticks("p/s", made, *window)] for _ in range(2))
    assert first == again and len(set(first)) > 20
    assert all(timedelta(0) <= delay < timedelta(minutes=5) for delay in first)
    assert [tick.due - tick.at for tick in TRIGGER.ticks("p/other", made, *window)] != first


@pytest.mark.parametrize(
    ("cron", "message"),
    [
        ("0 2 31 2 *", "names no day that ever comes"),
        ("0 2 30,31 2 *", "names no day that ever comes"),
        ("61 * * * *", 'the minute cannot be "61"'),
        ("0 2 * * FUNDAY", 'the day of the week cannot be "FUNDAY"'),
        ("0 2 * *", "has 4 fields, not 5"),
        ("@dayly", "there are @yearly"),
    ],
)
def test_an_impossible_cron_is_refused(cron, message):
    with pytest.raises(ValueError, match=message):
        config(cron=cron)


def test_an_unknown_zone_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match='did you mean "Europe/Berlin"'):
        config(cron="@daily", timezone="Europe/Berln")


def test_an_event_tells_the_tick_in_its_zone_and_the_one_before():
    made = config(cron="30 2 * * *", timezone="Europe/Berlin")
    event = TRIGGER.event_of("nightly/schedule", made, datetime(2026, 3, 29, 1, tzinfo=UTC))
    assert event == {
        "schedule": {
            "id": "nightly/schedule",
            "name": "schedule",
            "tick": "2026-03-29T03:00:00+02:00",
            "utc": "2026-03-29T01:00:00Z",
            "local_date": "2026-03-29",
            "local_time": "03:00:00",
            "timezone": "Europe/Berlin",
            "previous": "2026-03-28T02:30:00+01:00",
        }
    }


ZONES = [
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kolkata", "UTC", "Antarctica/Troll", "Pacific/Apia",
]  # fmt: skip
CRONS = ["*/7 * * * *", "30 2 * * *", "0,15,30,45 0-3 * * *", "30 */2 * * *", "0 0 1 * *", "15 1 * * SUN", "59 23 * * *"]
DST = st.fixed_dictionaries({"gap": st.sampled_from(["next", "shift", "skip"]), "overlap": st.sampled_from(["first", "second", "both"])})
# Days around jumps of these zones, one of which left a whole day out (Apia, December 2011).
DATES = ["2011-12-29", "2026-03-28", "2026-10-24", "2026-03-07", "2026-10-31", "2026-10-03", "2026-04-04", "2026-04-23", "2026-10-29"]


@settings(max_examples=150, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    cron=st.sampled_from(CRONS),
    dst=st.none() | DST,
    day=st.sampled_from(DATES),
    cuts=st.lists(st.integers(0, 3 * 1440), max_size=6),
)
def test_windows_end_to_end_have_the_ticks_of_the_whole(zone, cron, dst, day, cuts):
    made = config(cron=cron, timezone=zone, **({"dst": dst} if dst else {}))
    begin = datetime.fromisoformat(day).replace(tzinfo=UTC)
    edges = [begin, *(begin + timedelta(minutes=cut) for cut in sorted(cuts)), begin + timedelta(days=3)]
    whole = list(TRIGGER.ticks("p/s", made, edges[0], edges[-1]))
    parts = [tick for after, until in pairwise(edges) for tick in TRIGGER.ticks("p/s", made, after, until)]
    assert parts == whole
    instants = [tick.at for tick in whole]
    assert instants == sorted(set(instants)) and all(edges[0] < at <= edges[-1] for at in instants)


@settings(max_examples=60, deadline=None)
@given(zone=st.sampled_from(ZONES), cron=st.sampled_from(CRONS[:4]), dst=st.none() | DST, day=st.sampled_from(DATES))
def test_the_tick_before_one_is_the_one_that_came_before_it(zone, cron, dst, day):
    made = config(cron=cron, timezone=zone, **({"dst": dst} if dst else {}))
    begin = datetime.fromisoformat(day).replace(tzinfo=UTC)
    fired = [tick for tick in TRIGGER.ticks("p/s", made, begin, begin + timedelta(days=2)) if not tick.skip]
    for before, tick in pairwise(fired):
        previous = TRIGGER.event_of("p/s", made, tick.at)["schedule"]["previous"]
        assert datetime.fromisoformat(previous) == before.at
