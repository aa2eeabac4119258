"""The stage between the driver and a namespaces VM. Run as a script of its own, `python -I -S stage.py SPEC`.

It leaves the host's namespaces, forks, prints the host's pid of the child, and ends. The child is process 1 of the VM:
it builds the file system by mount(2), waits at the gate (a pipe) until the driver has plugged in its network, drops
capabilities and becomes tini with sshd. When the driver dies before that, the gate closes and the VM is gone; all
mounts, namespaces and cables hang on process 1 alone. Standard library only, and all imports at the top: after
pivot_root the interpreter's own files may be out of sight.
"""

import ctypes
import json
import os
import socket
import subprocess
import sys
import tempfile
from typing import Any

NEWNS, NEWUTS, NEWIPC, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x20000000, 0x40000000
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
DETACH = 2
PR_CAPBSET_DROP = 24
KEEP_CAPABILITIES = {0, 1, 3, 4, 5, 6, 7, 8, 10, 12, 13, 18, 29}
"""chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_admin net_raw sys_chroot
audit_write.

What container engines leave, with net_admin and without mknod: no mounts, no device nodes, no other VM's processes.
"""
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
READ_ONLY_PROC = ("sys", "sysrq-trigger", "irq", "bus")
HIDDEN_PROC = ("kcore", "keys", "timer_list")

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    result = libc.mount(source.encode(), target.encode(), kind.encode() or None, ctypes.c_ulong(flags), options.encode() or None)
    check(result, target)


def leave_host() -> None:
    check(libc.unshare(NEWNS | NEWUTS | NEWIPC | NEWPID | NEWNET), "unshare")


def mount_overlay(lower: str, upper: str, work: str, target: str) -> None:
    mount("lab", target, "overlay", 0, f"lowerdir={lower},upperdir={upper},workdir={work},xino=off")


def build_root(spec: dict[str, Any]) -> str:
    """Mount the VM's file system; returns where."""
    folder = spec["folder"]
    root = f"{folder}/root"
    mount("none", "/", flags=REC | PRIVATE)
    mount_overlay(spec["base"], f"{folder}/upper", f"{folder}/work", root)
    mount_overlay("/usr", f"{folder}/usr-upper", f"{folder}/usr-work", f"{root}/usr")
    for name in spec["system_folders"]:
        if not os.path.islink(f"{root}/{name}") and os.path.isdir(f"{root}/{name}"):
            bind_read_only(f"/{name}", f"{root}/{name}")
    mount("proc", f"{root}/proc", "proc", NOSUID | NODEV | NOEXEC)
    for name in READ_ONLY_PROC:
        bind_read_only(f"{root}/proc/{name}", f"{root}/proc/{name}")
    for name in HIDDEN_PROC:
        if os.path.exists(f"{root}/proc/{name}"):
            mount("/dev/null", f"{root}/proc/{name}", flags=BIND)
    mount("sysfs", f"{root}/sys", "sysfs", RDONLY | NOSUID | NODEV | NOEXEC)
    build_dev(f"{root}/dev")
    mount("run", f"{root}/run", "tmpfs", NOSUID | NODEV, "mode=755")
    for name, mode, uid, gid in spec["runtime_folders"]:
        os.mkdir(f"{root}/run/{name}")
        os.chown(f"{root}/run/{name}", uid, gid)
        os.chmod(f"{root}/run/{name}", mode)
    return root


def bind_read_only(source: str, target: str) -> None:
    if os.path.exists(source):
        mount(source, target, flags=BIND | REC)
        mount(source, target, flags=BIND | REMOUNT | RDONLY | NOSUID | NODEV)


def build_dev(dev: str) -> None:
    mount("dev", dev, "tmpfs", NOSUID, "mode=755")
    for name in DEVICES:
        with open(f"{dev}/{name}", "w"):
            mount(f"/dev/{name}", f"{dev}/{name}", flags=BIND)
    os.mkdir(f"{dev}/pts")
    os.mkdir(f"{dev}/shm")
    mount("devpts", f"{dev}/pts", "devpts", NOSUID | NOEXEC, "newinstance,ptmxmode=0666,mode=620,gid=5")
    mount("shm", f"{dev}/shm", "tmpfs", NOSUID | NODEV, "mode=1777")
    links = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
    for name, target in links.items():
        os.symlink(target, f"{dev}/{name}")


def enter(root: str) -> None:
    os.chdir(root)
    check(libc.pivot_root(b".", b"."), "pivot_root")
    check(libc.umount2(b".", DETACH), "the host's root")
    os.chdir("/")


def configure_network(spec: dict[str, Any]) -> None:
    # The network's whole range is on the same bridge, so VMs of its other subnets are neighbours, not behind a router.
    commands = f"""\
link set lo up
link set {spec["link"]} name eth0
address add {spec["address"]}/{spec["prefix"]} dev eth0
link set eth0 up
route replace {spec["network"]} dev eth0 src {spec["address"]}
route add default via {spec["gateway"]}
"""
    subprocess.run([spec["ip"], "-batch", "-"], input=commands.encode(), check=True)


def drop_capabilities() -> None:
    for capability in range(64):
        if capability not in KEEP_CAPABILITIES and libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            return


def become_vm(spec: dict[str, Any]) -> None:
    """Process 1 of the VM; does not come back."""
    os.dup2(2, 1)
    root = build_root(spec)
    socket.sethostname(spec["name"])
    enter(root)
    if os.read(spec["gate"], 1) != b"g":
        os._exit(1)
    os.close(spec["gate"])
    configure_network(spec)
    drop_capabilities()
    os.execv(spec["tini"], ["tini", "-g", "--", spec["sshd"], "-D", "-e"])


def probe(parent: str, ip: str) -> int:
    """Do once, with nothing at stake, what a VM needs; says on standard error what the kernel refuses."""
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        pid = os.fork()
        if pid:
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        try:
            leave_host()
            # The new pid namespace begins with the next child: only that one may mount its /proc.
            inner = os.fork()
            if inner:
                os._exit(os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]))
            try_everything(folder, ip)
            os._exit(0)
        except BaseException as error:
            os.write(2, f"{error}\n".encode())
            os._exit(1)


def try_everything(folder: str, ip: str) -> None:
    for name in ("root", "upper", "work"):
        os.mkdir(f"{folder}/{name}")
    mount("none", "/", flags=REC | PRIVATE)
    mount_overlay("/usr", f"{folder}/upper", f"{folder}/work", f"{folder}/root")
    with open(f"{folder}/root/probe", "w") as file:
        file.write("goes to the upper layer")
    mount("proc", "/proc", "proc", NOSUID | NODEV | NOEXEC)
    commands = b"link add lb0 type bridge\nlink add lv0 type veth peer name lv1\nlink set lv0 master lb0 up\n"
    subprocess.run([ip, "-batch", "-"], input=commands, check=True)


def main() -> None:
    if sys.argv[1] == "--probe":
        sys.exit(probe(*sys.argv[2:]))
    spec = json.loads(sys.argv[1])
    leave_host()
    pid = os.fork()
    if pid:
        os.write(1, b"%d\n" % pid)
        os._exit(0)
    try:
        become_vm(spec)
    except BaseException as error:
        os.write(2, f"the VM could not be built: {error}\n".encode())
    os._exit(1)


if __name__ == "__main__":
    main()
