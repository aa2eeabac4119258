"""The python kind: a function of the project, called in a supervised child process.

config (what may be written) -> task (starts the child, understands what it tells) -> child (the program that makes the call)
"""

from drystone.kinds.python.task import Python

__all__ = ["Python"]
