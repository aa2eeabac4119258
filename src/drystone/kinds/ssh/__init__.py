"""The ssh kind: files to hosts, commands on hosts, files from hosts, and the wait until hosts are ready.

config (what may be written) -> task (one thread a host) -> session (files, commands) -> plugin.ssh (trust, login) -> paramiko
"""

from drystone.kinds.ssh.task import Ssh

__all__ = ["Ssh"]
