import pytest

from drystone.errors import CancelledError, FailureClass, PermanentError, TemporaryError
from drystone.kinds.http import Http

http = Http()


def run(attempt, **config):
    return http.run(attempt.ctx, Http.Config.model_validate(config))


def test_a_job_is_followed_from_202_to_its_end(attempt, server):
    server.on("POST", "/jobs", (202, "", {"location": "/jobs/7"}))
    server.on("GET", "/jobs/7", (202, ""), (202, ""), (200, {"rows": 3}))
    outcome = run(attempt, url=f"{server.url}/jobs", method="POST", **{"async": {"every": "10ms"}})
    assert outcome.outputs["body"] == {"rows": 3}
    assert len(server.requests) == 4


def test_an_answer_that_is_done_already_is_not_followed(attempt, server):
    server.on("POST", "/jobs", (200, {"rows": 3}))
    outcome = run(attempt, url=f"{server.url}/jobs", method="POST", **{"async": {}})
    assert outcome.outputs["body"] == {"rows": 3}


BODY_JOB = {
    "handle": "body:job.id",
    "url": "/jobs/{handle}/state",
    "state": "body:state",
    "pending": ["queued", "running"],
    "success": ["done"],
    "failure": ["failed"],
    "every": "10ms",
}


def test_handle_and_state_may_stand_in_the_body(attempt, server):
    server.on("POST", "/jobs", (201, {"job": {"id": "a/b"}}))
    server.on("GET", "/jobs/a%2Fb/state", (200, {"state": "queued"}), (200, {"state": "running"}), (200, {"state": "done"}))
    run(attempt, url=f"{server.url}/jobs", method="POST", **{"async": BODY_JOB})
    assert [data["state"] for _, data in attempt.progress] == ["queued", "running", "done"]


@pytest.mark.parametrize("state", ["failed", "unheard-of"])
def test_a_job_that_fails_or_is_in_an_unknown_state_has_failed(attempt, server, state):
    server.on("POST", "/jobs", (201, {"job": {"id": 7}}))
    server.on("GET", "/jobs/7/state", (200, {"state": state, "reason": "disk full"}))
    with pytest.raises(TemporaryError, match=f'ended as "{state}"') as caught:
        run(attempt, url=f"{server.url}/jobs", method="POST", **{"async": BODY_JOB})
    assert caught.value.failure_class is FailureClass.FAILED
    assert "disk full" in caught.value.detail


def test_trouble_on_the_way_is_no_end_of_the_job(attempt, server):
    server.on("POST", "/jobs", (202, "", {"location": "/jobs/7"}))
    server.on("GET", "/jobs/7", 503, 429, (200, "done"))
    assert run(attempt, url=f"{server.url}/jobs", method="POST", **{"async": {"every": "10ms"}}).outputs["body"] == "done"


def test_a_job_that_is_gone_has_failed(attempt, server):
    server.on("POST", "/jobs", (202, "", {"location": "/jobs/7"}))
    with pytest.raises(TemporaryError, match="answered 404"):
        run(attempt, url=f"{server.url}/jobs", method="POST", **{"async": {"every": "10ms"}})


def test_the_deadline_ends_the_wait_and_cancels_the_job(attempt, server):
    server.on("POST", "/jobs", (202, "", {"location": "/jobs/7"}))
    server.on("GET", "/jobs/7", 202)
    server.on("DELETE", "/jobs/7", 204)
    job = {"every": "10ms", "timeout": "300ms", "cancel": {}}
    with pytest.raises(TemporaryError, match="not done") as caught:
        run(attempt, url=f"{server.url}/jobs", method="POST", **{"async": job})
    assert caught.value.failure_class is FailureClass.TIMEOUT
    assert server.requests[-1]["method"] == "DELETE"


def test_cancel_ends_the_job_at_the_server_too(attempt, server, in_background, eventually):
    server.on("POST", "/jobs", (202, "", {"location": "/jobs/7"}))
    server.on("GET", "/jobs/7", 202)
    server.on("DELETE", "/jobs/7", 204)
    config = {"url": f"{server.url}/jobs", "method": "POST", "async": {"every": "1h", "cancel": {}}}
    work = in_background(lambda: run(attempt, **config))
    eventually(lambda: "POST" in attempt.log)
    attempt.stop()
    work.join(10)
    assert isinstance(work.error, CancelledError)
    assert server.requests[-1]["method"] == "DELETE"


def test_credentials_do_not_follow_a_job_to_another_server(attempt, server):
    server.on("POST", "/jobs", (202, "", {"location": "http://127.0.0.9:1/jobs/7"}))
    with pytest.raises(PermanentError, match="another server") as caught:
        run(attempt, url=f"{server.url}/jobs", method="POST", **{"async": {"every": "10ms"}})
    assert caught.value.failure_class is FailureClass.REFUSED


def test_a_place_that_is_none_is_told_how_places_are_written():
    with pytest.raises(ValueError, match=r'"body.state" is no place in an answer; write header:NAME, or body:PATH'):
        Http.Config.model_validate({"url": "http://x", "async": {"state": "body.state"}})
