"""Drystone: dependency graphs of Terraform, Ansible and SSH tasks that end either done or undone.

Nothing is imported here: the lab's provider process and `drystone --help` start from this package, and both must
start quickly.
"""

__version__ = "0.1.0"
