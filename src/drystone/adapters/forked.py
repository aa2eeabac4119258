"""Stands in the place of a program that is forked from a warm process: `python -I -S forked.py ADDRESS PROGRAM ARG…`.

Hands its own streams, folder, arguments and environment to the `forkserver` at that address, passes the first SIGINT on, and ends as the
program ends. What is wrong before the program begins makes it a cold start: PROGRAM is executed, and a line on standard error says why.
When this process is killed, its end of the connection closes, and the program is ended with all that it started.

As in `supervise`, almost nothing is imported: this start is paid by every task.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]
import _socket
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

ANSWER_S = 60.0
"""How long the imports may take. Ansible's take one second; a busy machine with a cold disk has been seen to need ten."""


def connect(address: str) -> _socket.socket:
    """A connection to a process of the same user; other users may have taken the name. Raises OSError."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0)
    connection.connect("\0" + address)
    credentials = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    if int.from_bytes(credentials[4:8], sys.byteorder) != os.getuid():
        raise OSError("it belongs to another user")
    return connection


def ask(connection: _socket.socket, argv: list[str]) -> None:
    """Hands over what a program is started with. Raises OSError."""
    streams = b"".join(fd.to_bytes(4, sys.byteorder) for fd in (0, 1, 2))
    connection.sendmsg([b"f"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
    environ = [name + b"=" + value for name, value in os.environb.items()]
    message = b"\0".join([os.getcwdb(), b"%d" % len(argv), *map(os.fsencode, argv), *environ])
    connection.sendall(b"%d\n" % len(message) + message)


def lines(connection: _socket.socket) -> Iterator[bytes]:
    """What is told, line by line, until the end. Raises OSError."""
    kept = b""
    while data := connection.recv(512):
        *whole, kept = (kept + data).split(b"\n")
        yield from whole


def begin(address: str, argv: list[str]) -> tuple[_socket.socket, Iterator[bytes]]:
    """The connection to a program that has begun, and what is told of it. Raises OSError: it has not, and will not."""
    connection = connect(address)
    ask(connection, argv)
    connection.settimeout(ANSWER_S)
    told = lines(connection)
    first = next(told, b"r the process to fork from was ended")
    if first != b"s":
        raise OSError(first[2:].decode("utf-8", "replace"))
    connection.settimeout(None)
    return connection, told


def main(address: str, *argv: str) -> None:
    """The life of this process: it does not return."""
    # One that comes early is kept until somebody can be told.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        connection, told = begin(address, list(argv))
    except OSError as error:
        os.write(2, f"drystone: not a warm start: {error.strerror or error}\n".encode())
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
        os.execvp(argv[0], argv)
    signal.signal(signal.SIGINT, lambda *_: connection.send(b"e"))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
    try:
        ended = next((int(line[2:]) for line in told if line.startswith(b"x ")), None)
    except OSError:
        ended = None
    # Without a word its guardian was killed, and the program with it.
    leave(signal.SIGKILL if ended is None else ended)


def leave(status: int) -> None:
    """Ends as a process with this wait status did."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))


if __name__ == "__main__":
    main(*sys.argv[1:])
