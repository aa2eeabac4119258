"""What tests of several folders share."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest


@pytest.fixture
def person() -> pwd.struct_passwd:
    """Who we are when we are not root; else a user of this machine who may log in."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    shells = Path("/etc/shells").read_text().split()
    found = [user for user in pwd.getpwall() if user.pw_uid not in (0, 65534) and user.pw_shell in shells]
    if not found:
        pytest.skip("ORDINARY USER NOT TESTED: we are root, and nobody else has a shell")
    return found[0]
