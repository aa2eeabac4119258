"""The http kind: one request, and the wait for the job it started when the server answers that it is not done yet.

config (what may be written) -> task (sends, waits) -> exchange (one request) -> answers (pure: what the answer means)
"""

from drystone.kinds.http.task import Http

__all__ = ["Http"]
