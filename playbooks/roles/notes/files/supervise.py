"""Keeps the notes application running: starts it, and starts it again whenever it ends.

Started by the Ansible module `notes_service`, once per application, as `supervise.py BASE`. Holds the lock
`run/supervisor.lock` for as long as it lives, and writes its pid and the release that it started into that file.
Ends, with the application, on SIGTERM and when that file is taken away.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

# A crash at once is followed by a longer pause each time; an application that ran this long starts anew without one.
SHORTEST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
STEADY_SECONDS = 10.0

STOP_GRACE_SECONDS = 5.0
WATCH_SECONDS = 2.0
LARGEST_LOG_BYTES = 5_000_000

PR_SET_PDEATHSIG = 1
SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}


def main(base: Path) -> int:
    lock_path, log_path = base / "run" / "supervisor.lock", base / "log" / "app.log"
    lock = lock_path.open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print("supervisor: another one runs already", flush=True)
        return 1
    settings = json.loads((base / "etc" / "app.json").read_text())
    lock.truncate(0)
    lock.write(json.dumps({"pid": os.getpid(), "release": settings["release"]}) + "\n")
    lock.flush()
    # Blocked and waited for, so that none is lost between two looks.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    supervise(base, settings, lock, log_path)
    return 0


def supervise(base: Path, settings: dict[str, Any], lock: IO[str], log_path: Path) -> None:
    """Run the application until we are told to stop."""
    pause = SHORTEST_PAUSE_SECONDS
    while True:
        started = time.monotonic()
        app = start(base, settings)
        say(f"started release {settings['release'][:12]} as pid {app.pid}")
        while app.poll() is None:
            if is_over(lock, log_path, WATCH_SECONDS):
                stop(app)
                return
        say(f"pid {app.pid} ended with {app.returncode}")
        if time.monotonic() - started > STEADY_SECONDS:
            pause = SHORTEST_PAUSE_SECONDS
        until = time.monotonic() + pause
        while (left := until - time.monotonic()) > 0:
            if is_over(lock, log_path, left):
                return
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def start(base: Path, settings: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Start the application as its account."""
    account = pwd.getpwnam(settings["user"])
    as_account: dict[str, Any] = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    return subprocess.Popen(
        [sys.executable, "-B", str(base / "app" / "notes.py"), str(base / "etc" / "app.json")],
        stdin=subprocess.DEVNULL,
        preexec_fn=prepare,
        cwd="/",
        **(as_account if os.geteuid() == 0 else {}),
    )


def prepare() -> None:
    """In the child, between fork and exec: receive signals again, and die with the supervisor, however it dies."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def is_over(lock: IO[str], log_path: Path, wait_seconds: float) -> bool:
    """Wait for a signal, at most this long; whether it is time to stop."""
    received = signal.sigtimedwait(SIGNALS, wait_seconds)
    if log_path.exists() and log_path.stat().st_size > LARGEST_LOG_BYTES:
        shutil.copyfile(log_path, log_path.with_suffix(".log.1"))
        os.truncate(log_path, 0)
    if received is not None and received.si_signo != signal.SIGCHLD:
        return True
    # No name leads to our lock any more: the application's folder was taken away.
    return os.fstat(lock.fileno()).st_nlink == 0


def stop(app: subprocess.Popen[bytes]) -> None:
    """End the application: asked first, then made to."""
    app.terminate()
    try:
        app.wait(STOP_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        app.kill()
        app.wait()
    say(f"stopped pid {app.pid}")


def say(message: str) -> None:
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} supervisor: {message}", flush=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
