"""Stands between drystone and one child process, so that no child and no grandchild outlives drystone.

`adapters.process` starts this file as a program (`python -I -S supervise.py CONTROL STATUS PARENT`), one for each child, in a
session of its own. It becomes the reaper of everything below it, starts the child in another session, and then waits:

    control pipe   in: what to start; later `e` (end gracefully; the second one means at once) or `k` (end at once)
    its end        drystone is gone, kill -9 included: end gracefully, reading what the child still says
    SIGTERM        end gracefully, from a later drystone that found the record     SIGUSR1  end at once
    status pipe    out: `s PID` about to start, `f STAGE ERRNO` could not, `x STATUS` ended (wait status), all on a line of their own

To end gracefully is one SIGINT to the child's process group, as Ctrl-C in a terminal, never a second one (two make Terraform lose
its state), then the grace, then SIGKILL to every descendant, whatever session it has made for itself, until none is left. A child that
ends by itself with an exit status leaves its daemons alone, as they would be without drystone: what has a session of its own stays, the
rest of its session is ended. A process with DRYSTONE_KEEP=1 in its environment is never ended, nor is what it started: a lab's virtual
machine.

Nothing of drystone and almost nothing of the standard library is imported: this start is paid by every task.
"""

# ruff: noqa: SIM105  (contextlib takes as long to import as all of this together)
from __future__ import annotations

# Not the public modules: signal brings enum and ctypes its types, which would add half to the time that a start takes.
import _ctypes
import _signal as signal  # type: ignore[import-not-found]
import errno
import os
import select
import sys
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
SETTLE_S = 0.5
"""How long what a child left in its session may take to end by itself: a `tee` that writes its last line."""
CLEAR_S = 15.0
"""How long killed processes may take to go: one that hangs in the kernel must not hold the run for ever."""
KEEP = b"DRYSTONE_KEEP=1"


class Supervisor:
    """The child, what it was told, and how it ended."""

    def __init__(self, control: int, status: int, grace_s: float) -> None:
        self.control, self.status, self.grace_s = control, status, grace_s
        self.outputs = output_ends()
        self.child = 0
        self.ended: int | None = None
        self.alone = False
        self.orders = 0
        self.deadline: float | None = None
        self.wakeup, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, lambda *_: None)
        self.poll = select.poll()
        self.poll.register(self.wakeup, select.POLLIN)
        self.poll.register(control, select.POLLIN)

    def tell(self, text: str) -> None:
        """A line for drystone, if it still listens."""
        try:
            os.write(self.status, text.encode() + b"\n")
        except OSError:
            pass

    def order(self, *, now: bool) -> None:
        """Ends the child: with SIGINT and grace the first time, at once when `now`."""
        if now:
            self.deadline = 0.0
        elif self.deadline is None:
            self.deadline = monotonic() + self.grace_s
            if self.child and self.ended is None:
                # As a terminal does: a shell that waits for a program ends only when the program was interrupted too.
                kill(-self.child, signal.SIGINT)

    def listen(self, timeout_s: float | None) -> None:
        """Waits for orders and for ends of children, at most `timeout_s` seconds."""
        for fd, _ in self.poll.poll(None if timeout_s is None else max(0, int(timeout_s * 1000) + 1)):
            if fd == self.wakeup:
                self._take_signals()
            elif fd == self.control:
                self._take_orders()
            elif fd in self.outputs:
                self._discard(fd)
            else:
                self._lost_drystone(fd)
        self.reap()

    def _take_signals(self) -> None:
        for number in os.read(self.wakeup, 512):
            if number == signal.SIGTERM:
                self.order(now=False)
            elif number == signal.SIGUSR1:
                self.order(now=True)

    def _take_orders(self) -> None:
        data = os.read(self.control, 512)
        if not data:
            self._lost_drystone(self.control)
        for letter in data:
            self.orders += 1
            self.order(now=letter == ord("k") or self.orders > 1)

    def _lost_drystone(self, fd: int) -> None:
        self.poll.unregister(fd)
        if not self.alone:
            self.alone = True
            for output in self.outputs:
                self.poll.register(output, select.POLLIN)
        self.order(now=False)

    def _discard(self, fd: int) -> None:
        try:
            if os.read(fd, 1 << 16):
                return
        except BlockingIOError:
            return
        self.poll.unregister(fd)

    def reap(self) -> bool:
        """Takes the ends of children. False when there are no children any more."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return True
                if pid == self.child:
                    self.ended = status
        except ChildProcessError:
            return False

    def watch(self) -> None:
        """From the start of the child to the end of everything below it."""
        while self.ended is None:
            left_s = None if self.deadline is None else self.deadline - monotonic()
            if left_s is not None and left_s <= 0:
                break
            self.listen(left_s)
        if self.deadline is not None or self.ended is None or os.WIFSIGNALED(self.ended):
            self.clear(lambda _: True, CLEAR_S)
        elif self.reap():
            session = self.child
            self._settle(lambda process: process.session == session)

    def _settle(self, doomed: Callable[[Process], bool]) -> None:
        until = monotonic() + SETTLE_S
        while self.reap() and monotonic() < until and any(doomed(each) for each in descendants()):
            self.listen(0.02)
        self.clear(doomed if self.deadline is None else lambda _: True, CLEAR_S)

    def clear(self, doomed: Callable[[Process], bool], limit_s: float) -> None:
        """Kills the descendants that `doomed` names until none is left; those that may not be killed are left."""
        until = monotonic() + limit_s
        refused: set[int] = set()
        while self.reap() and monotonic() < until:
            targets = [each.pid for each in descendants() if doomed(each) and each.pid not in refused]
            if not targets:
                break
            refused.update(pid for pid in targets if not kill(pid, signal.SIGKILL))
            self.listen(0.01)


class Process:
    """One line of the process table."""

    __slots__ = ("parent", "pid", "session", "start", "state")

    def __init__(self, pid: int) -> None:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            # The name is in parentheses and may hold anything, parentheses too.
            fields = file.read().rpartition(b")")[2].split()
        self.pid, self.state = pid, fields[0]
        self.parent, self.session, self.start = int(fields[1]), int(fields[3]), int(fields[19])


def descendants() -> list[Process]:
    """All living processes below this one, parents first, without those that asked to be kept and what is below them."""
    below: dict[int, list[Process]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                process = Process(int(name))
            except OSError:
                continue
            below.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    stack = [os.getpid()]
    while stack:
        for process in below.get(stack.pop(), ()):
            if not is_kept(process.pid):
                stack.append(process.pid)
                if process.state not in b"ZX":
                    found.append(process)
    return found


def is_kept(pid: int) -> bool:
    """True when the process was started with DRYSTONE_KEEP=1."""
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            return KEEP in file.read().split(b"\0")
    except OSError:
        return False


def kill(pid: int, number: int) -> bool:
    """Signals a process, or with -pid its group. False when this process may not do it."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        return False
    return True


def read_header(control: int) -> list[bytes]:
    """The first message on the control pipe: its size on a line, then fields with a NUL between. Empty when drystone died."""
    size = b""
    while not size.endswith(b"\n"):
        byte = os.read(control, 1)
        if not byte:
            return []
        size += byte
    left, parts = int(size), []
    while left:
        part = os.read(control, min(left, 1 << 16))
        if not part:
            return []
        parts.append(part)
        left -= len(part)
    return b"".join(parts).split(b"\0")


def write_record(path: bytes, child: int, grace_s: float) -> None:
    """Who supervises what, for a later drystone; complete or not there at all."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        boot = file.read().strip()
    me = os.getpid()
    temporary = path + b".%d" % me
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(fd, f"{me} {Process(me).start} {boot} {child} {Process(child).start} {grace_s}\n".encode())
    os.close(fd)
    os.rename(temporary, path)


def prctl(option: int, value: int) -> None:
    """The system call of that name, which Python does not wrap."""
    function = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")  # type: ignore[arg-type]
    _ctypes.call_function(function, (option, value, 0, 0, 0))


def start(supervisor: Supervisor, cwd: bytes, argv: list[bytes], environ: list[bytes]) -> tuple[int, int]:
    """Forks the child, which waits at the gate. Returns (gate to write to, pipe on which it says why it could not start)."""
    gate_out, gate = os.pipe()
    trouble, trouble_in = os.pipe()
    me = os.getpid()
    supervisor.child = os.fork()
    if supervisor.child == 0:
        stage = "start"
        try:
            os.close(gate)
            # Should this supervisor be killed itself, the child goes with it.
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            os.setsid()
            restore_signals()
            if os.getppid() == me and os.read(gate_out, 1):
                stage = "cwd"
                os.chdir(cwd)
                stage = "exec"
                execute(argv, dict(pair.split(b"=", 1) for pair in environ))
        except OSError as error:
            os.write(trouble_in, f"{stage} {error.errno}".encode())
        finally:
            os._exit(127)
    os.close(gate_out)
    os.close(trouble_in)
    return gate, trouble


def restore_signals() -> None:
    """What Python ignores, and what whoever started drystone ignored (nohup), must not reach the child."""
    for number in range(1, signal.NSIG):
        try:
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):
            pass
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def execute(argv: list[bytes], environ: dict[bytes, bytes]) -> None:
    """Becomes the program, looked up on the PATH of its own environment. Raises OSError."""
    program = argv[0]
    if b"/" in program:
        os.execve(program, argv, environ)
    refused: OSError | None = None
    for folder in environ.get(b"PATH", b"/usr/local/bin:/usr/bin:/bin").split(b":"):
        try:
            os.execve((folder or b".") + b"/" + program, argv, environ)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            refused = error
    raise refused or FileNotFoundError(errno.ENOENT, "no such program")


def output_ends() -> list[int]:
    """Ends to read the child's output from, for when drystone is gone: without a reader its next word would be the child's end."""
    found = []
    for fd in (1, 2):
        if os.fstat(fd).st_mode & 0o170000 == 0o010000:
            found.append(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    return found


def hide_streams() -> None:
    """The child has them now; a copy here would keep its readers waiting for an end."""
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


def watch_parent(supervisor: Supervisor, parent: int) -> None:
    """Sees drystone's end also when another process of its own has inherited the control pipe."""
    try:
        supervisor.poll.register(os.pidfd_open(parent), select.POLLIN)
    except (AttributeError, OSError):
        pass  # An old kernel or Python, or drystone is gone: the control pipe says so.


def supervise(control: int, status: int, parent: int) -> None:
    """The life of this process."""
    for fd in (control, status):
        os.set_inheritable(fd, False)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    header = read_header(control)
    if not header:
        return
    grace_s, record, cwd, count = float(header[0]), header[1], header[2], int(header[3])
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    supervisor = Supervisor(control, status, grace_s)
    watch_parent(supervisor, parent)
    gate, trouble = start(supervisor, cwd, header[4 : 4 + count], header[4 + count :])
    hide_streams()
    try:
        if record:
            write_record(record, supervisor.child, grace_s)
    except OSError as error:
        os.close(gate)
        supervisor.tell(f"f record {error.errno}")
        return
    _begin(supervisor, gate, trouble)
    if record:
        try:
            os.unlink(record)
        except OSError:
            pass
    if supervisor.ended is not None:
        supervisor.tell(f"x {supervisor.ended}")


def _begin(supervisor: Supervisor, gate: int, trouble: int) -> None:
    # Only now, with the record in place, is it safe to look whether drystone lives: one that comes later finds the record.
    supervisor.listen(0)
    supervisor.tell(f"s {supervisor.child}")
    if not supervisor.alone:
        os.write(gate, b"g")
    os.close(gate)
    reason = os.read(trouble, 64)
    os.close(trouble)
    if reason:
        supervisor.tell("f " + reason.decode())
    supervisor.watch()


if __name__ == "__main__":
    supervise(*map(int, sys.argv[1:4]))
    os._exit(0)
