"""The trigger `schedule`: cron on the wall clock of a time zone, with a declared policy for the days on which that clock jumps.

`config` is what a plan says, `cron` and `wall` map wall time to instants, `calendar` makes ticks of these.
No clock of its own: it is asked for windows.
"""

from drystone.triggers.schedule.trigger import Schedule

__all__ = ["Schedule"]
