"""Sends a file as a mail, with nothing but Python's standard library.

    send:
      python:
        call: jobs.mail:send
        kwargs: {path: "{{ tasks.report.outputs.path }}", to: ops@example.org, subject: Sales, smtp: "mail.example.org:587", starttls: true,
                 user: batch, password: "{{ secrets.smtp_password }}"}
"""

from __future__ import annotations

import hashlib
import os
import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate
from pathlib import Path
from typing import Any

_TIMEOUT_SECONDS = 60.0
_SMTPS_PORT = 465


class MailError(Exception):
    """A mail that did not go out; `failure_class`, `permanent` and `changed` tell drystone what that means."""

    def __init__(self, failure_class: str, message: str, hint: str = "", *, permanent: bool = False, changed: bool = False) -> None:
        super().__init__(message)
        self.failure_class = failure_class
        self.hint = hint
        self.permanent = permanent
        self.changed = changed


def send(
    path: str,
    to: str,
    subject: str,
    sender: str = "drystone@localhost",
    smtp: str = "localhost:25",
    user: str = "",
    password: str = "",
    starttls: bool = False,
) -> dict[str, Any]:
    """Mails the file at `path`: HTML as the mail itself, anything else attached. Returns {message_id, recipients, refused}.

    to:       addresses with commas between them.
    smtp:     HOST:PORT; port 465 speaks TLS from the first byte, any other one after `starttls`.
    password: only ever sent over TLS.
    Recipients that the server does not take are in `refused`, address -> its answer; when it takes none, that is a failure.
    """
    message = _message(Path(path), to, subject, sender)
    host, _, port = smtp.rpartition(":")
    if not host or not port.isdigit():
        raise MailError("invalid", f'"{smtp}" is no mail server', "write it as HOST:PORT", permanent=True)
    if password and not starttls and int(port) != _SMTPS_PORT:
        raise MailError("invalid", "a password would go over the network in clear", "say starttls: true, or use port 465", permanent=True)
    try:
        with _connect(host, int(port), starttls=starttls) as server:
            if user:
                server.login(user, password)
            refused = server.send_message(message)
    except (smtplib.SMTPException, OSError) as error:
        raise _failure(smtp, error) from error
    answers = {address: f"{code} {text.decode(errors='replace')}" for address, (code, text) in refused.items()}
    for address, answer in answers.items():
        print(f"{address} was refused: {answer}")
    return {"message_id": message["Message-ID"], "recipients": len(to.split(",")) - len(answers), "refused": answers}


def _message(path: Path, to: str, subject: str, sender: str) -> EmailMessage:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MailError("invalid", f'"{path}" cannot be read: {error.strerror}', permanent=True) from error
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, to, subject
    message["Date"] = formatdate(localtime=True)
    # The same for every try with the same content: who gets it twice sees it once.
    token = os.environ.get("DRYSTONE_TOKEN", "")
    message["Message-ID"] = f"<{hashlib.sha256(token.encode() + content).hexdigest()[:32]}@drystone>"
    if path.suffix in (".html", ".htm"):
        message.set_content(f"{subject}\n\nThis mail is a page in HTML.\n")
        message.add_alternative(content.decode(), subtype="html")
    else:
        message.set_content(f"{subject}\n")
        message.add_attachment(content, maintype="application", subtype="octet-stream", filename=path.name)
    return message


def _connect(host: str, port: int, *, starttls: bool) -> smtplib.SMTP:
    if port == _SMTPS_PORT:
        return smtplib.SMTP_SSL(host, port, timeout=_TIMEOUT_SECONDS, context=ssl.create_default_context())
    server = smtplib.SMTP(host, port, timeout=_TIMEOUT_SECONDS)
    if starttls:
        server.starttls(context=ssl.create_default_context())
    return server


def _failure(smtp: str, error: smtplib.SMTPException | OSError) -> MailError:
    """A refusal with 5xx is for good, one with 4xx may pass; a server that is not there is `unreachable`."""
    match error:
        case smtplib.SMTPRecipientsRefused():
            answers = error.recipients.values()
            text = "; ".join(f"{address}: {code} {_text(answer)}" for address, (code, answer) in error.recipients.items())
            permanent = all(code >= 500 for code, _ in answers)
            return MailError("refused", f'{smtp} took none of the recipients: {text}', "check the addresses", permanent=permanent)
        case smtplib.SMTPResponseException():
            permanent = error.smtp_code >= 500
            message = f"{smtp} answered {error.smtp_code} {_text(error.smtp_error)}"
            return MailError("refused" if permanent else "failed", message, permanent=permanent)
        case smtplib.SMTPNotSupportedError():
            return MailError("invalid", f"{smtp}: {error}", "check `starttls`, and whether a login is needed", permanent=True)
        case TimeoutError():
            # Whether a mail that nobody confirmed went out is not known.
            return MailError("timeout", f"{smtp} did not answer in {_TIMEOUT_SECONDS:g} s", changed=True)
        case _:
            return MailError("unreachable", f"{smtp}: {error}", "is the mail server up, and its address right?")


def _text(answer: bytes | str) -> str:
    return answer.decode(errors="replace") if isinstance(answer, bytes) else answer
