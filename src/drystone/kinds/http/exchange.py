"""One HTTP exchange: request out, answer read up to a limit, httpx's errors turned into ours."""

from __future__ import annotations

import json
from typing import Any

import httpx

from drystone.errors import AttemptError, FailureClass, PermanentError, TemporaryError
from drystone.kinds.http.answers import Answer
from drystone.kinds.http.config import SAFE_METHODS, HttpConfig

BODY_LIMIT_BYTES = 1 << 19
"""What is kept of a body: outputs go into the store, which is no place for files."""
_PORTS = {"http": 80, "https": 443}


def client_for(config: HttpConfig) -> httpx.AsyncClient:
    """A client with the config's trust, patience and credentials. Raises PermanentError(invalid) for a bad `verify`."""
    headers = dict(config.headers)
    auth = None
    if config.auth is not None and config.auth.bearer is not None:
        headers["Authorization"] = f"Bearer {config.auth.bearer}"
    if config.auth is not None and config.auth.basic is not None:
        auth = httpx.BasicAuth(config.auth.basic.user, config.auth.basic.password)
    try:
        return httpx.AsyncClient(
            auth=auth,
            headers=headers,
            timeout=config.timeout.total_seconds(),
            follow_redirects=config.follow_redirects,
            verify=_trust(config.verify),
        )
    except (OSError, ValueError) as error:
        raise PermanentError(FailureClass.INVALID, f"the request cannot be made: {error}", changed=False) from error


def _trust(verify: bool | str) -> Any:
    if isinstance(verify, bool):
        return verify
    import ssl

    return ssl.create_default_context(cafile=verify)


def endpoint_of(method: str, url: str) -> str:
    """Whom the request goes to, as `http://host:port`. Raises PermanentError(invalid) when the URL cannot be used."""
    try:
        found = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise _failure(method, url, error) from error
    host = f"[{found.host}]" if ":" in found.host else found.host
    return f"{found.scheme}://{host}:{found.port or _PORTS[found.scheme]}"


def body_of(config: HttpConfig) -> dict[str, Any]:
    """The body as httpx's arguments."""
    if config.has_json:
        # By hand, because httpx takes null for no body.
        return {"content": json.dumps(config.json_body).encode(), "headers": {"Content-Type": "application/json"}}
    match config.data:
        case None:
            return {}
        case str():
            return {"content": config.data.encode()}
        case _:
            return {"data": config.data}


async def exchange(client: httpx.AsyncClient, method: str, url: str, **arguments: Any) -> Answer:
    """Sends one request and reads the answer. Raises AttemptError when there is none; any status returns."""
    try:
        async with client.stream(method, url, **arguments) as response:
            content, truncated = await _read(response)
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError) as error:
        raise _failure(method, url, error) from error
    # A cookie is a credential: it has no place among outputs.
    headers = {name.lower(): value for name, value in response.headers.items() if name.lower() != "set-cookie"}
    return Answer(
        method=method,
        url=_shown(response.url),
        status=response.status_code,
        headers=headers,
        body=_parsed(response, content, truncated),
        truncated=truncated,
    )


async def _read(response: httpx.Response) -> tuple[bytes, bool]:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > BODY_LIMIT_BYTES:
            return bytes(content[:BODY_LIMIT_BYTES]), True
    return bytes(content), False


def _parsed(response: httpx.Response, content: bytes, truncated: bool) -> Any:
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not truncated and (kind == "application/json" or kind.endswith("+json")):
        try:
            return json.loads(content)
        except ValueError:
            pass
    try:
        return content.decode(response.charset_encoding or "utf-8", errors="replace")
    except LookupError:
        return content.decode("utf-8", errors="replace")


def _shown(url: httpx.URL) -> str:
    """A URL for messages: the query and the user part may hold secrets."""
    return str(url.copy_with(userinfo=b"", query=None, fragment=None))


def _failure(method: str, url: str, error: Exception) -> AttemptError:
    try:
        target = f"{method} {_shown(httpx.URL(url))}"
    except (httpx.InvalidURL, UnicodeError):
        target = method
    sent = method not in SAFE_METHODS
    said = str(error) or type(error).__name__
    match error:
        case httpx.InvalidURL() | httpx.UnsupportedProtocol() | UnicodeError():
            return PermanentError(FailureClass.INVALID, f"{target}: the URL cannot be used: {said}", changed=False)
        case httpx.TooManyRedirects():
            return PermanentError(FailureClass.INVALID, f"{target}: redirected without end", changed=sent)
        case httpx.ConnectError() if "CERTIFICATE_VERIFY_FAILED" in said:
            return PermanentError(
                FailureClass.REFUSED,
                f"{target}: the server's certificate is not trusted: {said}",
                changed=False,
                hint="name the file of its certificate authority under `verify`",
            )
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return TemporaryError(FailureClass.TIMEOUT, f"{target}: no connection in time", changed=False)
        case httpx.TimeoutException():
            return TemporaryError(FailureClass.TIMEOUT, f"{target}: no answer in time", changed=sent)
        case httpx.ConnectError() | httpx.ProxyError():
            return TemporaryError(FailureClass.UNREACHABLE, f"{target}: cannot be reached: {said}", changed=False)
        case _:
            return TemporaryError(FailureClass.UNREACHABLE, f"{target}: the connection broke: {said}", changed=sent)
