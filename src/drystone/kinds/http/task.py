"""The attempt: sends the request, follows the job it started, and ends at once when it should.

    request -> status in `ok`? --- no --> answers.failure
                    | yes
                    v
    `async` given: handle -> ask every ... until done, failed or out of time -> outcome

Requests run on asyncio in the attempt's own thread: that makes them cancellable, whatever the server does. All but GET,
HEAD and OPTIONS carry the attempt's token as `Idempotency-Key`: the same across retries and restarts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from urllib.parse import quote, urlencode, urljoin, urlsplit

from drystone.errors import AttemptError, FailureClass, PermanentError, TemporaryError
from drystone.kinds.http import answers
from drystone.kinds.http.answers import Answer, Progress
from drystone.kinds.http.config import REPEATABLE_METHODS, SAFE_METHODS, HttpConfig, Job, method_of
from drystone.plugin import api
from drystone.plugin.fields import written

if TYPE_CHECKING:
    import httpx

_CHECK_SECONDS = 0.1
_CANCEL_SECONDS = 10.0

T = TypeVar("T")


class Http(api.Kind):
    """Outputs status, headers (names in lower case, no cookies) and body (parsed when it is JSON, at most 512 KiB)."""

    name: ClassVar[str] = "http"
    Config = HttpConfig
    idempotent: ClassVar[bool] = False
    outputs: ClassVar[tuple[str, ...] | None] = ("status", "headers", "body")

    @classmethod
    def outline(cls, config: Mapping[str, Any], source: Path) -> api.Preview:
        """The request."""
        url = config.get("url")
        asked = f"{method_of(config)} {url if isinstance(url, str) else 'a URL that is not known yet'}"
        changes = (api.Change(action=api.Action.RUN, what=asked),) if cls.changes_things(config) else ()
        return api.Preview(
            certainty=api.Certainty.PARTIAL, summary=f"would {asked}", changes=changes, outputs=api.UNKNOWN, result=api.UNKNOWN
        )

    @classmethod
    def changes_things(cls, config: Mapping[str, Any]) -> bool:
        """What only asks changes nothing."""
        return method_of(config) not in SAFE_METHODS

    @classmethod
    def is_idempotent(cls, config: Mapping[str, Any]) -> bool:
        """As RFC 9110 says of the method, or as the plan says of the server."""
        return method_of(config) in REPEATABLE_METHODS or written(config, "idempotent") is True

    def run(self, ctx: api.Context, config: HttpConfig) -> api.Outcome:
        """One request; with `async`, also the wait for what it started."""
        answer = asyncio.run(_while_allowed(ctx, _attempt(ctx, config)))
        return api.Outcome(
            outputs={"status": answer.status, "headers": dict(answer.headers), "body": answer.body},
            result={"status": answer.status, "truncated": answer.truncated},
            changed=config.verb not in SAFE_METHODS,
            sensitive=frozenset({"headers", "body"} if config.sensitive else ()),
        )


async def _while_allowed(ctx: api.Context, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled as soon as the attempt should end."""
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=_CHECK_SECONDS))[0]:
            ctx.check()
        return task.result()
    finally:
        if task.cancel():
            await asyncio.wait({task})


async def _attempt(ctx: api.Context, config: HttpConfig) -> Answer:
    # httpx costs a tenth of a second to import, which runs without a request do not pay.
    from drystone.kinds.http.exchange import body_of, client_for, endpoint_of, exchange

    arguments = body_of(config)
    ours = {**arguments.get("headers", {}), **({} if config.verb in SAFE_METHODS else {"Idempotency-Key": ctx.token})}
    theirs = {name.lower() for name in config.headers}
    arguments["headers"] = {name: value for name, value in ours.items() if name.lower() not in theirs}
    async with client_for(_with_paths(ctx, config)) as client:
        with ctx.endpoint(endpoint_of(config.verb, config.url)):
            answer = await exchange(client, config.verb, _with_params(config.url, config.params), **arguments)
            ctx.log(f"{answer.method} {answer.url}: {answer.status}")
            failure = None if answers.is_ok(config, answer.status) else answers.failure(config, answer)
            if isinstance(failure, TemporaryError):
                raise failure
        # A request that is wrong was answered all the same.
        if failure is not None:
            raise failure
        if config.job is None:
            return answer
        return await _follow(ctx, config, config.job, client, answer)


def _with_params(url: str, params: Mapping[str, str]) -> str:
    """The URL with the parameters behind those that it has already: httpx would put them in their place."""
    if not params:
        return url
    address, mark, fragment = url.partition("#")
    return f"{address}{'&' if '?' in address else '?'}{urlencode(params)}{mark}{fragment}"


def _with_paths(ctx: api.Context, config: HttpConfig) -> HttpConfig:
    if isinstance(config.verify, bool):
        return config
    return config.model_copy(update={"verify": str(ctx.path(config.verify))})


# ---- a job that goes on after the first answer -----------------------------------------------------------------------


async def _follow(ctx: api.Context, config: HttpConfig, job: Job, client: httpx.AsyncClient, first: Answer) -> Answer:
    handle = answers.find(first, job.handle)
    if handle is None and first.status != 202:
        return first
    if handle is None:
        raise PermanentError(
            FailureClass.INVALID,
            f'the answer has nothing at "{job.handle}"',
            hint="say under `async.handle` where the job's handle is",
        )
    url = _url_of(config, job.url, str(handle))
    try:
        async with asyncio.timeout(job.timeout.total_seconds()):
            return await _poll(ctx, config, job, client, url, first)
    except TimeoutError as error:
        await _cancel(config, job, client, str(handle))
        raise TemporaryError(FailureClass.TIMEOUT, f"the job at {first.url} was not done after {job.timeout}") from error
    except asyncio.CancelledError:
        await _cancel(config, job, client, str(handle))
        raise


def _url_of(config: HttpConfig, pattern: str, handle: str) -> str:
    """`{handle}` alone is a URL, absolute or relative; within a longer pattern it is one part of a path.

    Raises PermanentError(refused) when the server points to another one: the config's credentials are not meant for it.
    """
    if pattern != "{handle}":
        return urljoin(config.url, pattern.replace("{handle}", quote(handle, safe="")))
    url = urljoin(config.url, handle)
    if urlsplit(url)[:2] != urlsplit(config.url)[:2]:
        raise PermanentError(
            FailureClass.REFUSED,
            f'the job is at another server: "{url}"',
            hint="say under `async.url` where to ask for the job",
        )
    return url


async def _poll(ctx: api.Context, config: HttpConfig, job: Job, client: httpx.AsyncClient, url: str, first: Answer) -> Answer:
    from drystone.kinds.http.exchange import exchange

    told = ""
    wait = answers.retry_after(first.headers)
    while True:
        await asyncio.sleep(max(job.every, min(wait or job.every, job.max_every)).total_seconds())
        try:
            answer = await exchange(client, "GET", url)
        except TemporaryError as error:
            ctx.log(f"asking again: {error.message}")
            continue
        wait = answers.retry_after(answer.headers)
        if answers.is_passing(answer.status):
            ctx.log(f"asking again: {answer.url} answered {answer.status}")
            continue
        if answer.status != 202 and not answers.is_ok(config, answer.status):
            raise answers.failure(config, answer)
        progress, state = answers.progress(config, job, answer)
        if state != told:
            ctx.emit(f"the job is {state}", state=state)
            told = state
        match progress:
            case Progress.DONE:
                return answer
            case Progress.FAILED:
                raise answers.job_failed(answer, state, sensitive=config.sensitive)
            case Progress.PENDING:
                continue


async def _cancel(config: HttpConfig, job: Job, client: httpx.AsyncClient, handle: str) -> None:
    """Asks the server to end the job. That it may fail changes nothing: the attempt ends anyway."""
    from drystone.kinds.http.exchange import exchange

    if job.cancel is None:
        return
    try:
        async with asyncio.timeout(_CANCEL_SECONDS):
            await exchange(client, job.cancel.method, _url_of(config, job.cancel.url, handle))
    except (AttemptError, TimeoutError):
        return
